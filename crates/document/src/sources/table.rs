//! The settings of the source `table`.

use std::path::PathBuf;

use contract::{Span, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{SampleColumn, of_names};
use super::flows::{FlowSettings, TableFormat};
use super::{Source, SourceKind};
use crate::extension::Extension;
use crate::problem::{Problem, problem, require};

/// A table in a file: CSV (plain or gzip) or Parquet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSource {
    /// The file, relative to the document. `.parquet` is read as Parquet, anything else as CSV.
    pub path: PathBuf,
    /// A second file with the same columns, relative to the document. Its rows are not used for
    /// training: `lynceus run` scores them with the new model, prints the metrics, and stores them
    /// with the run. The table must be the only source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Content of the rows: samples, or flows of a flow tool. A flow format sets the columns
    /// itself, so `time`, `entity`, `start` and `columns` must not be set with it.
    #[serde(default, skip_serializing_if = "TableFormat::is_table")]
    pub format: TableFormat,
    /// How flows become rows, with a flow format.
    #[serde(default, skip_serializing_if = "FlowSettings::is_default")]
    pub flows: FlowSettings,
    /// Separator of columns: one character, `\t` for a tab. `auto` uses Excel's line `sep=;`, or
    /// that one of `,` `;` `\t` `|` which occurs most often in the header.
    #[serde(default = "auto")]
    pub delimiter: String,
    /// Decimal separator of numbers: `.` or `,`.
    #[serde(default)]
    pub decimal: DecimalMark,
    /// Text encoding of a CSV file.
    #[serde(default)]
    pub encoding: Encoding,
    /// Cells that mean a missing value. Upper and lower case, and spaces around a cell, do not
    /// matter. An empty cell is always a missing value.
    #[serde(default = "gap_markers")]
    pub gaps: Vec<String>,
    /// Share of a column's cells, 0 to 1, that may be neither numbers nor gaps. They become gaps
    /// and are counted. If the share is higher, the table is refused.
    #[serde(default = "one_in_a_hundred")]
    pub max_bad_ratio: f64,
    /// Column with the time. Without it, the first row has the time `start`, and rows are `step`
    /// apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// How the time column is written: `auto`, `rfc3339`, `seconds`, `milliseconds`,
    /// `microseconds`, `nanoseconds`, or a pattern such as `%d/%m/%Y %H:%M`.
    #[serde(default)]
    pub time_format: TimeFormat,
    /// Time zone of times without one, from the IANA database, such as `UTC` or `Europe/Brussels`.
    /// If a time occurs twice because clocks are set back, the first one is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Time of the first row, if there is no time column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub start: Option<Timestamp>,
    /// Column with the name of the node, pod or flow source. Without it there is a single entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Column with the label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Columns with the samples; empty means all other numeric columns. If several columns have the
    /// same name, the second is called `name.1`, and the third `name.2`. A field inside a Parquet
    /// structure is called `outer.inner`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

fn auto() -> String {
    "auto".to_owned()
}

fn gap_markers() -> Vec<String> {
    ["NA", "N/A", "#N/A", "null", "none", "undefined", "-"].map(str::to_owned).to_vec()
}

fn one_in_a_hundred() -> f64 {
    0.01
}

/// Decimal separator of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DecimalMark {
    /// `1.5`
    #[default]
    #[serde(rename = ".")]
    Point,
    /// `1,5`, if columns have another separator or cells are in quotes.
    #[serde(rename = ",")]
    Comma,
}

/// Encoding of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16 with a byte order mark, such as Excel's "Unicode text"; little endian without one.
    #[serde(rename = "utf-16")]
    Utf16,
    /// UTF-16, big endian, without a byte order mark.
    #[serde(rename = "utf-16be")]
    Utf16Be,
    /// ISO 8859-1, read as Windows-1252, which includes it.
    #[serde(rename = "latin-1")]
    Latin1,
}

/// How a time column is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TimeFormat {
    /// RFC 3339, the same without a zone, or a number since 1970 whose magnitude gives its unit; a
    /// Parquet timestamp is always read as it is.
    #[default]
    Auto,
    /// `2026-11-21T08:36:07Z`, or without a zone where `time_zone` is set.
    Rfc3339,
    /// Seconds since 1970, whole or with a fraction.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Microseconds since 1970.
    Microseconds,
    /// Nanoseconds since 1970.
    Nanoseconds,
    /// A pattern of strftime, such as `%d/%m/%Y %H:%M`.
    Pattern(String),
}

impl TimeFormat {
    /// The formats that have a name.
    const NAMED: [(&'static str, Self); 6] = [
        ("auto", Self::Auto),
        ("rfc3339", Self::Rfc3339),
        ("seconds", Self::Seconds),
        ("milliseconds", Self::Milliseconds),
        ("microseconds", Self::Microseconds),
        ("nanoseconds", Self::Nanoseconds),
    ];
}

impl TryFrom<String> for TimeFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if let Some((_, format)) = Self::NAMED.into_iter().find(|(name, _)| *name == text) {
            return Ok(format);
        }
        if text.contains('%') {
            return Ok(Self::Pattern(text));
        }
        let known = Self::NAMED.map(|(name, _)| name).join(", ");
        Err(format!(
            "`{text}` is not a time format; known: {known}, or a pattern such as `%d/%m/%Y %H:%M`"
        ))
    }
}

impl From<TimeFormat> for String {
    fn from(format: TimeFormat) -> Self {
        match format {
            TimeFormat::Pattern(pattern) => pattern,
            TimeFormat::Auto => "auto".to_owned(),
            TimeFormat::Rfc3339 => "rfc3339".to_owned(),
            TimeFormat::Seconds => "seconds".to_owned(),
            TimeFormat::Milliseconds => "milliseconds".to_owned(),
            TimeFormat::Microseconds => "microseconds".to_owned(),
            TimeFormat::Nanoseconds => "nanoseconds".to_owned(),
        }
    }
}

impl JsonSchema for TimeFormat {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeFormat".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let named = Self::NAMED.map(|(name, _)| name);
        schemars::json_schema!({
            "description": "How a time column is written: a name, or a pattern of strftime.",
            "type": "string",
            "anyOf": [{"enum": named}, {"pattern": "%"}],
        })
    }
}

impl TableSource {
    fn check_flows(&self) -> Result<(), Problem> {
        for (name, is_set) in [
            ("time", self.time.is_some()),
            ("entity", self.entity.is_some()),
            ("start", self.start.is_some()),
            ("columns", !self.columns.is_empty()),
        ] {
            require(!is_set, name, || {
                "must not be set with a flow format, which sets the column names itself".to_owned()
            })?;
        }
        self.flows.check("flows")
    }
}

impl Extension for TableSource {
    fn name(&self) -> &'static str {
        "table"
    }

    fn check(&self) -> Result<(), Problem> {
        let delimiter = self.delimiter.replace("\\t", "\t");
        // Quotes delimit texts, and line ends separate rows, so neither can be the delimiter.
        let is_taken = ["\"", "\n", "\r"].contains(&delimiter.as_str());
        let is_one = delimiter.len() == 1 && !is_taken;
        require(is_one || delimiter == "auto", "delimiter", || {
            let delimiter = self.delimiter.escape_debug();
            format!(
                "`{delimiter}` is not a single ASCII character such as `;` that can separate columns"
            )
        })?;
        let is_comma = delimiter == "," && self.decimal == DecimalMark::Comma;
        require(!is_comma, "decimal", || {
            "`,` is also the `delimiter`: change one of them".to_owned()
        })?;
        require((0.0..=1.0).contains(&self.max_bad_ratio), "max_bad_ratio", || {
            format!("`{}` is not between 0 and 1", self.max_bad_ratio)
        })?;
        let zone = self.time_zone.as_deref().unwrap_or("UTC");
        if contract::time::time_zone(zone).is_err() {
            return Err(problem("time_zone", format!("`{zone}` is not a time zone")).hint(
                "use a name of the IANA time zone database, such as Europe/Brussels or UTC",
            ));
        }
        if self.format.is_flows() {
            require(self.test.is_none(), "test", || {
                "a flow format does not support a test table: use `split.test`".to_owned()
            })?;
            return self.check_flows();
        }
        require(self.flows.is_default(), "flows", || {
            "works only with a flow format, such as `format: flows`".to_owned()
        })?;
        require(self.time.is_some() || self.start.is_some(), "", || {
            "without a `time` column the table needs a `start`".to_owned()
        })
    }
}

impl SourceKind for TableSource {
    fn takes_texts(&self) -> bool {
        !self.format.is_flows()
    }

    fn columns(&self, _: &Source, _: Span) -> Vec<SampleColumn> {
        if self.format.is_flows() {
            return self.flows.columns();
        }
        of_names(&self.columns, self.entity.as_ref())
    }

    fn has_other_columns(&self) -> bool {
        !self.format.is_flows() && self.columns.is_empty()
    }

    fn data(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }

    fn set_label(&mut self, label: &str) -> bool {
        self.label = Some(label.to_owned());
        true
    }

    fn has_label(&self) -> bool {
        self.label.is_some() || self.format.is_flows()
    }

    fn has_test(&self) -> bool {
        self.test.is_some()
    }

    fn has_last_row(&self) -> bool {
        true
    }
}
