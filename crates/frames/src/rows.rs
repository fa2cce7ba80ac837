//! Tables for people and other programs: columns of any kind, written as CSV or Parquet.

use std::path::Path;

use contract::{StepError, Timestamp, artifact};

use crate::parquet;

/// The values of a column, one per row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Points in time.
    Times(Vec<Timestamp>),
    /// Texts; an empty one is empty, and not missing.
    Texts(Vec<String>),
    /// Numbers; `NaN` is a missing value.
    Numbers(Vec<f64>),
    /// True or false.
    Flags(Vec<bool>),
}

impl Values {
    fn rows(&self) -> usize {
        match self {
            Self::Times(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Numbers(values) => values.len(),
            Self::Flags(values) => values.len(),
        }
    }

    /// Returns a value in CSV form; empty if it is missing.
    fn cell(&self, row: usize) -> String {
        match self {
            Self::Times(values) => values.get(row).map(Timestamp::to_string),
            Self::Texts(values) => values.get(row).map(|text| quoted(text)),
            Self::Numbers(values) => {
                values.get(row).filter(|value| !value.is_nan()).map(f64::to_string)
            }
            Self::Flags(values) => values.get(row).map(bool::to_string),
        }
        .unwrap_or_default()
    }
}

/// Puts a text in quotes if it contains characters with a meaning in CSV (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) || text.trim() != text {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A table by columns; every column has the same number of rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    columns: Vec<(String, Values)>,
}

impl Rows {
    /// Adds a column after the others.
    pub fn push(&mut self, name: impl Into<String>, values: Values) {
        self.columns.push((name.into(), values));
    }

    /// Returns the names of the columns, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the columns, in order.
    pub fn columns(&self) -> &[(String, Values)] {
        &self.columns
    }

    /// Adds the rows of another table with the same columns.
    ///
    /// Errors: a bug where the columns differ.
    pub fn followed_by(mut self, other: Self) -> Result<Self, StepError> {
        let unlike = || StepError::bug("rows with other columns cannot be added");
        if self.columns.len() != other.columns.len() {
            return Err(unlike());
        }
        for ((name, values), (other_name, others)) in self.columns.iter_mut().zip(other.columns) {
            if *name != other_name {
                return Err(unlike());
            }
            match (values, others) {
                (Values::Times(values), Values::Times(others)) => values.extend(others),
                (Values::Texts(values), Values::Texts(others)) => values.extend(others),
                (Values::Numbers(values), Values::Numbers(others)) => values.extend(others),
                (Values::Flags(values), Values::Flags(others)) => values.extend(others),
                (
                    Values::Times(_) | Values::Texts(_) | Values::Numbers(_) | Values::Flags(_),
                    _,
                ) => return Err(unlike()),
            }
        }
        Ok(self)
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, values)| values.rows())
    }

    /// Returns the table as CSV, with a header and `\n` at the end of each line.
    pub fn to_csv(&self) -> String {
        let header: Vec<String> = self.names().map(quoted).collect();
        let mut text = format!("{}\n", header.join(","));
        for row in 0..self.rows() {
            let cells: Vec<String> =
                self.columns.iter().map(|(_, values)| values.cell(row)).collect();
            text.push_str(&cells.join(","));
            text.push('\n');
        }
        text
    }

    /// Writes the table to a file: Parquet if its name ends in `.parquet`, CSV if it ends in
    /// `.csv`.
    ///
    /// Errors: usage (2) for another ending; a file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), StepError> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("csv") => artifact::write_file(path, self.to_csv().as_bytes()),
            Some("parquet") => artifact::write_file(path, &self.to_parquet()?),
            _ => Err(StepError::usage(format!(
                "`{}` ends neither in .csv nor in .parquet",
                path.display()
            ))
            .hint("the extension selects the format of the rows")),
        }
    }

    /// Returns the table as the bytes of a Parquet file.
    pub fn to_parquet(&self) -> Result<Vec<u8>, StepError> {
        let (fields, arrays) = self.fields_and_arrays();
        parquet::in_memory(fields, arrays)
    }

    fn fields_and_arrays(&self) -> (Vec<arrow_schema::Field>, Vec<arrow_array::ArrayRef>) {
        let field = |(name, values): &(String, Values)| match values {
            Values::Times(_) => parquet::time_field(name),
            Values::Texts(_) => parquet::text_field(name),
            Values::Numbers(_) => parquet::number_field(name),
            Values::Flags(_) => parquet::flag_field(name),
        };
        let array = |(_, values): &(String, Values)| match values {
            Values::Times(values) => parquet::times(values),
            Values::Texts(values) => parquet::texts(values.iter().map(String::as_str)),
            Values::Numbers(values) => parquet::numbers(values),
            Values::Flags(values) => parquet::flags(values),
        };
        (self.columns.iter().map(field).collect(), self.columns.iter().map(array).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::external::{ExternalKind, ExternalTable};

    fn rows() -> Rows {
        let mut rows = Rows::default();
        let time = |ms| Timestamp::from_ms(ms);
        rows.push("time", Values::Times(vec![time(0), time(60_000)]));
        rows.push("entity", Values::Texts(vec!["node-1".into(), "a, \"b\"".into()]));
        rows.push("score", Values::Numbers(vec![0.5, f64::NAN]));
        rows.push("alarm", Values::Flags(vec![true, false]));
        rows
    }

    #[test]
    fn csv_has_a_header_and_quotes_where_they_are_needed() {
        let text = "time,entity,score,alarm\n1970-01-01T00:00:00Z,node-1,0.5,true\n\
                    1970-01-01T00:01:00Z,\"a, \"\"b\"\"\",,false\n";
        assert_eq!(rows().to_csv(), text);
    }

    #[test]
    fn file_ending_selects_format() {
        let temp = tempfile::tempdir().unwrap();
        let [csv, parquet, other] =
            ["x.csv", "x.parquet", "x.xlsx"].map(|name| temp.path().join(name));
        rows().write(&csv).unwrap();
        assert_eq!(fs_err::read_to_string(&csv).unwrap(), rows().to_csv());
        rows().write(&parquet).unwrap();
        let table = ExternalTable::open(&parquet).unwrap();
        let kinds: Vec<ExternalKind> = table.columns().iter().map(|column| column.kind).collect();
        let expected = [ExternalKind::Time, ExternalKind::Text, ExternalKind::Number];
        assert_eq!(kinds[..3], expected);
        table
            .for_each_batch(|batch| {
                assert_eq!(batch.numbers(2)?, [Some(0.5), None]);
                Ok(())
            })
            .unwrap();
        assert!(rows().write(&other).unwrap_err().message.contains("ends neither"));
    }
}
