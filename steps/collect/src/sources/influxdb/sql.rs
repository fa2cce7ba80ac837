//! SQL, as 3.x accepts it at `/api/v3/query_sql`, and its replies: one JSON object per line.

use std::collections::BTreeMap;

use contract::TimeRange;
use serde_json::{Map, Value};

use super::flux::milliseconds;
use super::question::Rows;
use super::reply::{Cell, Series, Wrong};

/// Name of the column of times.
const TIME: &str = "time";

/// Returns the text of rows of a measurement, those of a set of tags together.
pub(super) fn rows(rows: &Rows<'_>) -> String {
    let names = [TIME.to_owned()];
    let names = names.iter().chain(rows.tags).chain(rows.fields).map(|name| name_of(name));
    let names: Vec<String> = names.collect();
    let order = rows.tags.iter().map(String::as_str).chain([TIME]).map(name_of);
    let order: Vec<String> = order.collect();
    let conditions =
        rows.conditions(|tag, text| format!("{} = '{}'", name_of(tag), text.replace('\'', "''")));
    let selected = match conditions.as_slice() {
        [] => String::new(),
        conditions => format!(" AND ({})", conditions.join(" OR ")),
    };
    let TimeRange { after, until } = rows.range;
    format!(
        "SELECT {} FROM {} WHERE \"time\" > '{after}' AND \"time\" <= '{until}'{selected} ORDER BY {}",
        names.join(", "),
        name_of(rows.measurement),
        order.join(", ")
    )
}

/// Asks for the measurements of a database.
pub(super) fn measurements() -> String {
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'iox' ORDER BY table_name"
        .to_owned()
}

/// Asks for tags and fields of a measurement.
pub(super) fn fields(measurement: &str) -> String {
    let name = measurement.replace('\'', "''");
    format!(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'iox' AND table_name = '{name}' ORDER BY column_name"
    )
}

/// Asks for the oldest or the newest row of a measurement.
pub(super) fn end(measurement: &str, is_newest: bool) -> String {
    let which = if is_newest { "max" } else { "min" };
    format!("SELECT {which}(\"time\") AS \"time\" FROM {}", name_of(measurement))
}

/// Quotes a name: in SQL a quote is doubled.
fn name_of(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Reads a body of JSON lines; passes each run of rows with the same tags to `take`. A value that
/// is neither a tag nor a time is a field.
pub(super) fn read(
    body: &[u8],
    fields: &[String],
    tags: &[String],
    take: &mut dyn FnMut(Series),
) -> Result<(), Wrong> {
    if body.trim_ascii_start().starts_with(b"<") {
        return Err(Wrong::WebPage);
    }
    let mut run = None::<Series>;
    for line in body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if line.is_empty() {
            continue;
        }
        let row: Map<String, Value> = serde_json::from_slice(line)
            .map_err(|error| Wrong::Broken(format!("the reply is cut or no JSON: {error}")))?;
        if let (Some(Value::String(error)), false) =
            (row.get("error"), fields.iter().any(|field| field == "error"))
        {
            return Err(Wrong::Said(error.clone()));
        }
        let of_tag = |name: &String| Some((name.clone(), row.get(name)?.as_str()?.to_owned()));
        let tags: BTreeMap<String, String> = tags.iter().filter_map(of_tag).collect();
        let mut values = Vec::with_capacity(fields.len() + 1);
        let mut columns = Vec::with_capacity(fields.len() + 1);
        if let Some(time) = row.get(TIME) {
            let ms = time.as_str().and_then(milliseconds);
            let ms = ms.ok_or_else(|| Wrong::Broken(format!("`{time}` is not a time")))?;
            values.push(Some(Cell::Number(ms)));
            columns.push(TIME.to_owned());
        }
        for field in fields {
            values.push(row.get(field).and_then(cell));
            columns.push(field.clone());
        }
        Series::extend(&mut run, Series::new(tags, columns, vec![values]), take);
    }
    run.into_iter().for_each(take);
    Ok(())
}

fn cell(value: &Value) -> Option<Cell> {
    match value {
        Value::Number(number) => number.as_f64().map(Cell::Number),
        Value::Bool(flag) => Some(Cell::Flag(*flag)),
        Value::String(text) => Some(Cell::Text(text.clone())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use contract::Timestamp;
    use document::shards::Selection;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn all(body: &str) -> Result<Vec<Series>, Wrong> {
        let mut all = Vec::new();
        let (fields, tags) = (names(&["x", "y"]), names(&["pod"]));
        read(body.as_bytes(), &fields, &tags, &mut |series| all.push(series))?;
        Ok(all)
    }

    #[test]
    fn a_query_quotes_names_and_orders_rows_by_tags_and_time() {
        let (fields, tags) = (names(&["a\"b"]), names(&["pod"]));
        let time = |ms: i64| Timestamp::from_ms(1_795_251_600_000 + ms);
        let range = TimeRange { after: time(-10_000), until: time(0) };
        let query = Rows { measurement: "m", fields: &fields, tags: &tags, range, selection: None };
        assert_eq!(
            rows(&query),
            r#"SELECT "time", "pod", "a""b" FROM "m" WHERE "time" > '2026-11-21T08:59:50Z' AND "time" <= '2026-11-21T09:00:00Z' ORDER BY "pod", "time""#
        );
        let values = ["it's".to_owned(), "b".to_owned()].to_vec();
        let selection = Selection { label: "zone".to_owned(), values };
        let text = rows(&Rows { selection: Some(&selection), ..query });
        assert!(text.contains(r#" AND ("zone" = 'it''s' OR "zone" = 'b') ORDER BY"#), "{text}");
        assert!(super::fields("it's").contains("table_name = 'it''s'"));
    }

    #[test]
    fn lines_are_series_of_their_tags_and_times_are_utc() {
        let body = r#"{"time":"2026-11-21T08:55:10","pod":"a","x":1.5,"y":7}
{"time":"2026-11-21T08:55:20.123456789","pod":"a","y":null}
{"time":"2026-11-21T08:55:10","x":2,"y":true}
"#;
        let series = all(body).unwrap();
        assert_eq!(series.len(), 2);
        let number = |value| Some(Cell::Number(value));
        assert_eq!(series[0].columns, ["time", "x", "y"]);
        assert_eq!(series[0].values[0], [number(1_795_251_310_000.0), number(1.5), number(7.0)]);
        assert_eq!(series[0].values[1], [number(1_795_251_320_123.0), None, None]);
        assert!(series[1].tags.is_empty(), "a row without the tag");
        assert_eq!(series[1].values[0][2], Some(Cell::Flag(true)));
    }

    #[test]
    fn an_error_a_cut_and_a_web_page_are_seen() {
        assert_eq!(all("{\"error\":\"no\"}\n"), Err(Wrong::Said("no".to_owned())));
        assert!(matches!(all("{\"time\":\"2026-11-21T08:5"), Err(Wrong::Broken(_))));
        assert_eq!(all("<html>"), Err(Wrong::WebPage));
        assert_eq!(all(""), Ok(Vec::new()));
    }
}
