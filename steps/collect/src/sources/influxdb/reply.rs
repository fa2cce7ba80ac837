//! The body of a chunked `/query` reply: one JSON object per line.
//!
//! The status 200 does not mean success: errors are in the body, and a truncated reply is valid
//! JSON up to the end. A reply is complete if its last line is not marked `partial`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A longer line is refused.
const LONGEST_LINE_BYTES: usize = 256 << 20;

/// Rows of one series, or a part of them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Series {
    /// Values of the tags that the query groups by.
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    /// Names of the cells of a row; the first is `time`.
    #[serde(default)]
    pub(crate) columns: Vec<String>,
    #[serde(default)]
    pub(crate) values: Vec<Vec<Option<Cell>>>,
    /// True if the series continues in the next line.
    #[serde(default)]
    partial: bool,
}

impl Series {
    /// Adds rows to a run of rows of the same tags and columns, or starts another run and passes on
    /// the previous one.
    pub(super) fn extend(run: &mut Option<Self>, next: Self, take: &mut dyn FnMut(Self)) {
        match run {
            Some(run) if run.tags == next.tags && run.columns == next.columns => {
                run.values.extend(next.values);
            }
            _ => run.replace(next).into_iter().for_each(take),
        }
    }

    /// Makes a complete series.
    pub(crate) fn new(
        tags: BTreeMap<String, String>,
        columns: Vec<String>,
        values: Vec<Vec<Option<Cell>>>,
    ) -> Self {
        Self { tags, columns, values, partial: false }
    }
}

/// A value.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Number(f64),
    Flag(bool),
    Text(String),
}

impl Cell {
    /// Returns the text if the value is a text, otherwise `None`.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Flag(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    results: Vec<Statement>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(default)]
    series: Vec<Series>,
    /// Whether more lines of this statement follow.
    #[serde(default)]
    partial: bool,
    error: Option<String>,
}

/// Reason why a body is not a valid reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The server reported an error.
    Said(String),
    /// It is not JSON, or is truncated.
    Broken(String),
    /// It is a web page.
    WebPage,
}

/// Reads a body incrementally.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
    seen: usize,
    goes_on: bool,
}

impl Lines {
    /// Takes bytes, and passes the series of each complete line to `take`.
    pub(crate) fn push(&mut self, bytes: &[u8], take: &mut dyn FnMut(Series)) -> Result<(), Wrong> {
        // The earlier bytes were already searched.
        let mut from = self.rest.len();
        self.rest.extend_from_slice(bytes);
        let mut begin = 0;
        while let Some(length) = self.rest[from..].iter().position(|byte| *byte == b'\n') {
            let end = from + length;
            let line = self.rest[begin..end].to_vec();
            self.line(&line, take)?;
            begin = end + 1;
            from = begin;
        }
        self.rest.drain(..begin);
        if self.rest.len() > LONGEST_LINE_BYTES {
            return Err(Wrong::Broken(format!("a line is longer than {LONGEST_LINE_BYTES} bytes")));
        }
        Ok(())
    }

    /// Takes the end of the body.
    pub(crate) fn finish(mut self, take: &mut dyn FnMut(Series)) -> Result<(), Wrong> {
        let line = std::mem::take(&mut self.rest);
        self.line(&line, take)?;
        if self.seen == 0 {
            return Err(Wrong::Broken("the reply is empty".to_owned()));
        }
        if self.goes_on {
            return Err(Wrong::Broken(
                "the reply ends although more rows were to follow".to_owned(),
            ));
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], take: &mut dyn FnMut(Series)) -> Result<(), Wrong> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        if line.starts_with(b"<") {
            return Err(Wrong::WebPage);
        }
        let parsed: Line = serde_json::from_slice(line)
            .map_err(|error| Wrong::Broken(format!("the reply is cut or no JSON: {error}")))?;
        let of_statements = parsed.results.iter().find_map(|statement| statement.error.clone());
        if let Some(error) = parsed.error.or(of_statements) {
            return Err(Wrong::Said(error));
        }
        self.seen += 1;
        self.goes_on = parsed.results.iter().any(|statement| {
            statement.partial || statement.series.iter().any(|series| series.partial)
        });
        parsed.results.into_iter().flat_map(|statement| statement.series).for_each(take);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body in pieces of every size, which must all give the same result.
    fn read(body: &str) -> Result<Vec<Series>, Wrong> {
        let whole = read_by(body, body.len().max(1));
        for size in [1, 2, 7] {
            assert_eq!(read_by(body, size), whole);
        }
        whole
    }

    fn read_by(body: &str, size: usize) -> Result<Vec<Series>, Wrong> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for bytes in body.as_bytes().chunks(size) {
            lines.push(bytes, &mut |series| all.push(series))?;
        }
        lines.finish(&mut |series| all.push(series))?;
        Ok(all)
    }

    const FIRST: &str = r#"{"results":[{"statement_id":0,"series":[{"name":"m","tags":{"p":"a"},"columns":["time","x","s"],"values":[[1,2,"on"],[2,null,true]],"partial":true}],"partial":true}]}"#;
    const LAST: &str = r#"{"results":[{"statement_id":0,"series":[{"name":"m","tags":{"p":"a"},"columns":["time","x","s"],"values":[[3,9223372036854775807,null]]}]}]}"#;

    #[test]
    fn lines_of_a_chunked_reply_are_read_in_pieces_of_any_size() {
        let series = read(&format!("{FIRST}\n{LAST}\n")).unwrap();
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].tags["p"], "a");
        let text = Some(Cell::Text("on".to_owned()));
        assert_eq!(series[0].values[0], [Some(Cell::Number(1.0)), Some(Cell::Number(2.0)), text]);
        assert_eq!(series[0].values[1], [Some(Cell::Number(2.0)), None, Some(Cell::Flag(true))]);
        assert_eq!(series[1].values[0][1], Some(Cell::Number(9_223_372_036_854_776_000.0)));
    }

    #[test]
    fn a_reply_that_ends_where_more_was_announced_is_broken() {
        for body in [FIRST.to_owned(), format!("{FIRST}\n"), String::new(), "\n".to_owned()] {
            assert!(matches!(read(&body), Err(Wrong::Broken(_))), "{body}");
        }
        let cut = &format!("{FIRST}\n{LAST}")[..FIRST.len() + 40];
        assert!(matches!(read(cut), Err(Wrong::Broken(_))));
    }

    #[test]
    fn errors_are_read_at_every_level_and_a_web_page_is_not_one() {
        let said = |text: &str| Err(Wrong::Said(text.to_owned()));
        assert_eq!(read(r#"{"error":"bad"}"#), said("bad"));
        assert_eq!(
            read(r#"{"results":[{"statement_id":0,"error":"database not found: x"}]}"#),
            said("database not found: x")
        );
        let late = format!("{FIRST}\n{{\"error\":\"timeout\"}}\n");
        assert_eq!(read(&late), said("timeout"));
        assert_eq!(read("<html>"), Err(Wrong::WebPage));
        assert_eq!(read(r#"{"results":[{"statement_id":0}]}"#), Ok(Vec::new()));
    }
}
