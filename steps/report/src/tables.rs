//! Tables: on the page for people, and as CSV and JSON with unrounded numbers.

use std::path::Path;

use contract::{Span, StepError, Timestamp, artifact};
use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::units;
use crate::zone::Zone;

/// Maximum number of rows of a table on the page; the files have all rows.
const SHOWN: usize = 60;

/// One cell: its displayed text, and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    text: String,
    value: Value,
    /// Drawn as code: hashes and names that are copied.
    code: bool,
}

impl Cell {
    /// Makes a cell of text.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { value: Value::String(text.clone()), text, code: false }
    }

    /// Makes a cell of a name or hash that people copy.
    pub fn code(text: impl Into<String>) -> Self {
        Self { code: true, ..Self::text(text) }
    }

    /// Makes a cell of a hash, of which the page shows the first digits.
    pub fn hash(hash: &str) -> Self {
        let text = units::short(hash).to_owned();
        Self { text, value: Value::String(hash.to_owned()), code: true }
    }

    /// Makes a cell with a displayed text and a separate value.
    pub fn of(text: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { text: text.into(), value: value.into(), code: false }
    }

    /// Makes a cell of a count.
    pub fn count(value: u64) -> Self {
        Self::of(units::count(value), value)
    }

    /// Makes a cell of a share of one.
    pub fn share(value: Option<f64>) -> Self {
        value.map_or_else(Self::empty, |value| Self::of(units::percent(value), value))
    }

    /// Makes a cell of a number in a unit.
    pub fn quantity(unit: &str, value: f64) -> Self {
        Self::of(units::quantity(unit, value), value)
    }

    /// Makes a cell of a number.
    pub fn number(value: Option<f64>) -> Self {
        value.map_or_else(Self::empty, |value| Self::of(units::number(value), value))
    }

    /// Makes a cell of seconds.
    pub fn seconds(value: f64) -> Self {
        Self::of(units::seconds(value), value)
    }

    /// Makes a cell of a length of time, in seconds.
    pub fn span(value: Option<Span>) -> Self {
        value.map_or_else(Self::empty, |value| Self::seconds(value.seconds()))
    }

    /// Makes a cell of bytes.
    pub fn bytes(value: u64) -> Self {
        Self::of(units::bytes(value), value)
    }

    /// Makes a cell of a time.
    pub fn time(zone: &Zone, value: Timestamp) -> Self {
        Self::of(zone.time(value), value.to_string())
    }

    /// Makes an empty cell.
    pub fn empty() -> Self {
        Self { text: "–".to_owned(), value: Value::Null, code: false }
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Name of its files, and of its anchor on the page.
    pub name: &'static str,
    /// What it shows, in a sentence or less.
    pub caption: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone)]
struct Column {
    /// Key in the files, with its unit.
    key: &'static str,
    /// Heading on the page.
    head: &'static str,
    class: &'static str,
}

impl Table {
    /// Makes a table without rows; each column has a key for the files and a heading for the page.
    /// A heading with `#` marks a column of numbers, one with `~` a column of long texts.
    pub fn new(
        name: &'static str,
        caption: impl Into<String>,
        columns: &[(&'static str, &'static str)],
    ) -> Self {
        let column = |(key, head): &(&'static str, &'static str)| {
            let class = match head.chars().next() {
                Some('#') => "num",
                Some('~') => "text",
                _ => "",
            };
            Column { key, head: head.trim_start_matches(['#', '~']), class }
        };
        Self {
            name,
            caption: caption.into(),
            columns: columns.iter().map(column).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, with one cell for each column.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Leaves a column out.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        if let Some(index) = self.columns.iter().position(|column| column.key == key) {
            self.columns.remove(index);
            for row in self.rows.iter_mut().filter(|row| index < row.len()) {
                row.remove(index);
            }
        }
        self
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the table for the page. It may be wider than a small screen, so it scrolls
    /// separately, also by keyboard.
    pub fn html(&self) -> Markup {
        let id = format!("table-{}", self.name);
        let more = self.rows.len().saturating_sub(SHOWN);
        html! {
            div.scroll role="group" tabindex="0" aria-labelledby=(id) {
                table {
                    caption id=(id) { span { (self.caption) } }
                    thead { tr {
                        @for column in &self.columns {
                            th class=[class(column)] scope="col" { (column.head) }
                        }
                    } }
                    tbody {
                        @for row in self.rows.iter().take(SHOWN) { tr {
                            @for (index, (cell, column)) in row.iter().zip(&self.columns).enumerate() {
                                @if index == 0 { th class=[class(column)] scope="row" { (inner(cell)) } }
                                @else { td class=[class(column)] { (inner(cell)) } }
                            }
                        } }
                    }
                }
            }
            @if more > 0 {
                p.note { (units::counted(more as u64, "more row")) " in the table's files." }
            }
        }
    }

    /// Returns headings and rows as displayed texts, for a terminal.
    pub fn text(&self) -> Vec<Vec<String>> {
        let head = self.columns.iter().map(|column| column.head.to_owned()).collect();
        let rows = self.rows.iter().map(|row| row.iter().map(|cell| cell.text.clone()).collect());
        std::iter::once(head).chain(rows).collect()
    }

    /// Returns the rows as JSON: one object per row, by the columns' keys.
    pub fn json(&self) -> Value {
        let row = |row: &Vec<Cell>| {
            let fields = self.columns.iter().zip(row);
            let fields = fields.map(|(column, cell)| (column.key.to_owned(), cell.value.clone()));
            Value::Object(fields.collect::<Map<_, _>>())
        };
        Value::Array(self.rows.iter().map(row).collect())
    }

    /// Returns the rows as CSV under the columns' keys; absent values are empty.
    pub fn csv(&self) -> Result<Vec<u8>, StepError> {
        let bug = |e: &dyn std::fmt::Display| {
            StepError::bug(format!("cannot write the table `{}` as CSV: {e}", self.name))
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(self.columns.iter().map(|column| column.key)).map_err(|e| bug(&e))?;
        for row in &self.rows {
            let fields = row.iter().map(|cell| match &cell.value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            writer.write_record(fields).map_err(|e| bug(&e))?;
        }
        writer.into_inner().map_err(|e| bug(&e))
    }
}

fn class(column: &Column) -> Option<&'static str> {
    (!column.class.is_empty()).then_some(column.class)
}

fn inner(cell: &Cell) -> Markup {
    html! {
        @for (index, line) in cell.text.lines().enumerate() {
            @if index > 0 { br; }
            @if cell.code { code { (breakable(line)) } } @else { (breakable(line)) }
        }
    }
}

/// Allows line breaks in long names after `_`, which browsers do not do by default.
pub fn breakable(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('_').enumerate() {
            @if index > 0 { "_" wbr; }
            (part.replace(" %", "\u{a0}%"))
        }
    }
}

/// Writes each table as `<name>.csv` and `<name>.json` into a folder that becomes visible
/// atomically.
pub fn write(folder: &Path, tables: &[Table]) -> Result<(), StepError> {
    artifact::write_folder(folder, |partial| {
        for table in tables {
            let file = |kind: &str| partial.join(format!("{}.{kind}", table.name));
            artifact::write_file(&file("csv"), &table.csv()?)?;
            artifact::write_json(&file("json"), &table.json())?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("t", "what & why", &[("name", "Name"), ("size_bytes", "#Size")]);
        table.push(vec![Cell::text("<a>, \"b\""), Cell::bytes(2048)]);
        table.push(vec![Cell::text("c"), Cell::empty()]);
        table
    }

    #[test]
    fn files_hold_numbers_as_they_are() {
        let csv = String::from_utf8(table().csv().unwrap()).unwrap();
        assert_eq!(csv, "name,size_bytes\n\"<a>, \"\"b\"\"\",2048\nc,\n");
        let expected =
            r#"[{"name":"<a>, \"b\"","size_bytes":2048},{"name":"c","size_bytes":null}]"#;
        assert_eq!(table().json().to_string(), expected);
    }

    #[test]
    fn the_page_escapes_names_and_names_rows_and_columns() {
        let page = table().html().into_string();
        assert!(page.contains("&lt;a&gt;") && !page.contains("<a>"), "{page}");
        assert!(page.contains(r#"<th class="num" scope="col">Size</th>"#), "{page}");
        assert!(page.contains(r#"<th scope="row">c</th>"#), "{page}");
        assert!(
            page.contains("<caption id=\"table-t\"><span>what &amp; why</span></caption>"),
            "{page}"
        );
        assert!(page.contains("2 KiB"), "{page}");
    }

    #[test]
    fn a_long_table_is_cut_on_the_page_only() {
        let mut table = Table::new("t", "", &[("n", "#n")]);
        (0..100).for_each(|n| table.push(vec![Cell::count(n)]));
        assert!(table.html().into_string().contains("40 more rows"));
        assert_eq!(table.json().as_array().map(Vec::len), Some(100));
    }
}
