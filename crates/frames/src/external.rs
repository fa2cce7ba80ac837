//! Parquet files that other programs wrote: numbers, texts and times of any width, read as this
//! crate's own types. Fields of a structure are columns of their own, named `outer.inner`.

mod values;

use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Fields};
use contract::{StepError, Timestamp};

use crate::parquet::Reader;

/// Milliseconds since 1970 of the years 0 to 9999.
const FIRST_AND_LAST_MS: std::ops::Range<i64> = -62_167_219_200_000..253_402_300_800_000;

/// Type of a column of an external table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalKind {
    /// Integers, floating point numbers, decimals, or flags, which are 0 and 1.
    Number,
    /// Text.
    Text,
    /// Points in time.
    Time,
    /// Anything else, such as lists and bytes; such columns cannot be read.
    Other,
}

/// A column of an external table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalColumn {
    /// Its name: the names of the fields around it and its own, joined with dots.
    pub name: String,
    /// What it holds.
    pub kind: ExternalKind,
    /// Position of the field, and of each field within the one before.
    path: Vec<usize>,
}

/// A Parquet file of any origin.
pub struct ExternalTable {
    path: PathBuf,
    reader: Reader,
}

impl std::fmt::Debug for ExternalTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExternalTable").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ExternalTable {
    /// Opens a file; one that is not Parquet is refused.
    pub fn open(path: &Path) -> Result<Self, StepError> {
        Ok(Self { path: path.to_owned(), reader: Reader::open(path)? })
    }

    /// Returns the columns, in the file's order.
    pub fn columns(&self) -> Vec<ExternalColumn> {
        let mut columns = Vec::new();
        flatten(self.reader.schema().fields(), "", &[], &mut columns);
        columns
    }

    /// Calls `each` with every batch of rows, in order.
    pub fn for_each_batch(
        self,
        mut each: impl FnMut(&ExternalRows<'_>) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let columns = self.columns();
        let path = self.path;
        let mut first_row = 1;
        self.reader.for_each_batch(|batch| {
            each(&ExternalRows { path: &path, columns: &columns, batch, first_row })?;
            first_row += batch.num_rows();
            Ok(())
        })
    }
}

fn flatten(fields: &Fields, before: &str, path: &[usize], columns: &mut Vec<ExternalColumn>) {
    for (index, field) in fields.iter().enumerate() {
        let name = format!("{before}{}", field.name());
        let path = [path, &[index]].concat();
        if let DataType::Struct(inner) = field.data_type() {
            flatten(inner, &format!("{name}."), &path, columns);
        } else {
            columns.push(ExternalColumn { name, kind: values::kind(field.data_type()), path });
        }
    }
}

/// Some rows of an external table; columns are numbered as [`ExternalTable::columns`] lists them.
#[derive(Debug)]
pub struct ExternalRows<'a> {
    path: &'a Path,
    columns: &'a [ExternalColumn],
    batch: &'a RecordBatch,
    /// Number of the first row in the file, counted from 1.
    pub first_row: usize,
}

impl ExternalRows<'_> {
    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Returns a column of numbers; a null is `None`, `NaN` stays what it is.
    pub fn numbers(&self, index: usize) -> Result<Vec<Option<f64>>, StepError> {
        self.read(index, "numbers", values::numbers)
    }

    /// Returns a column of texts; a null is `None`. Numbers are written as text.
    pub fn texts(&self, index: usize) -> Result<Vec<Option<String>>, StepError> {
        self.read(index, "text", values::texts)
    }

    /// Returns a column of timestamps; a null is `None`, less than a millisecond is cut off. A time
    /// whose year does not have four digits is refused, because it must have another unit.
    pub fn times(&self, index: usize) -> Result<Vec<Option<Timestamp>>, StepError> {
        let times = self.read(index, "a timestamp", values::times)?;
        match times.iter().flatten().find(|time| !FIRST_AND_LAST_MS.contains(&time.ms())) {
            None => Ok(times),
            Some(time) => Err(StepError::refused(format!(
                "`{}`: column `{}`: `{}` ms since 1970 is not a plausible time",
                self.path.display(),
                self.columns[index].name,
                time.ms()
            ))
            .hint(
                "check the unit of the column: it must be a timestamp, or milliseconds since 1970",
            )),
        }
    }

    fn read<T>(
        &self,
        index: usize,
        expected: &str,
        convert: impl Fn(&ArrayRef) -> Option<Vec<Option<T>>>,
    ) -> Result<Vec<Option<T>>, StepError> {
        let wrong = |found: &str| {
            let name = self.columns.get(index).map_or("", |column| column.name.as_str());
            StepError::refused(format!(
                "`{}`: column `{name}` is {found}, expected {expected}",
                self.path.display()
            ))
            .hint(
                "`table.time`, `table.entity`, `table.label` and `table.columns` name the \
                     columns; if the type differs, convert the column",
            )
        };
        let column = self.columns.get(index).ok_or_else(|| wrong("missing"))?;
        let (first, inner) = column.path.split_first().ok_or_else(|| wrong("missing"))?;
        let mut array = self.batch.column(*first).clone();
        let mut around = Vec::new();
        for field in inner {
            let structure = array.as_struct_opt().ok_or_else(|| wrong("no structure"))?.clone();
            array = structure.column(*field).clone();
            around.push(structure);
        }
        let shown = array.data_type().to_string();
        let mut values = convert(&array).ok_or_else(|| wrong(&shown))?;
        // A field of a structure that is null has no value, even if the array has one.
        for structure in around.iter().filter(|structure| structure.null_count() > 0) {
            for (row, value) in values.iter_mut().enumerate() {
                *value = value.take().filter(|_| structure.is_valid(row));
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array,
        Float64Array, Int8Array, Int32Array, LargeStringArray, StructArray,
        TimestampMicrosecondArray, UInt64Array,
    };
    use arrow_schema::{Field, Schema};
    use parquet::arrow::ArrowWriter;

    use super::ExternalKind::{Number, Other, Text, Time};
    use super::*;

    fn written(columns: Vec<(&str, ArrayRef)>) -> (tempfile::TempDir, ExternalTable) {
        let fields: Vec<Field> =
            columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let arrays = columns.into_iter().map(|(_, column)| column).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("t.parquet");
        let file = fs_err::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, schema, None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let table = ExternalTable::open(&path).unwrap();
        (temp, table)
    }

    #[test]
    fn columns_of_any_width_are_read() {
        let (_temp, table) = written(vec![
            ("f", Arc::new(Float32Array::from(vec![Some(0.5), None]))),
            ("i", Arc::new(Int8Array::from(vec![-1, 2]))),
            ("u", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
            ("s", Arc::new(LargeStringArray::from(vec![Some("a"), None]))),
            ("t", Arc::new(TimestampMicrosecondArray::from(vec![1_500_999, -1]))),
            ("d", Arc::new(Date32Array::from(vec![1, 0]))),
        ]);
        let kinds: Vec<ExternalKind> =
            table.columns().into_iter().map(|column| column.kind).collect();
        assert_eq!(kinds, [Number, Number, Number, Text, Time, Time]);
        table
            .for_each_batch(|rows| {
                assert_eq!((rows.first_row, rows.rows()), (1, 2));
                assert_eq!(rows.numbers(0)?, [Some(0.5), None]);
                assert_eq!(rows.numbers(1)?, [Some(-1.0), Some(2.0)]);
                assert_eq!(rows.numbers(2)?[0], Some(u64::MAX as f64));
                assert_eq!(rows.texts(3)?, [Some("a".to_owned()), None]);
                assert_eq!(rows.texts(1)?[0].as_deref(), Some("-1"));
                let ms = |index| -> Result<Vec<i64>, StepError> {
                    Ok(rows.times(index)?.iter().flatten().map(|time| time.ms()).collect())
                };
                assert_eq!((ms(4)?, ms(5)?), (vec![1500, -1], vec![86_400_000, 0]));
                for error in [rows.numbers(3).unwrap_err(), rows.times(0).unwrap_err()] {
                    assert!(error.message.contains("expected"), "{error}");
                }
                assert!(rows.numbers(9).is_err());
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn decimals_flags_dictionaries_and_structures_are_columns() {
        let decimals = Decimal128Array::from(vec![Some(12_345), Some(-1), None]);
        let decimals = decimals.with_precision_and_scale(10, 2).unwrap();
        let keys = Int32Array::from(vec![Some(1), None, Some(0)]);
        let words: ArrayRef = Arc::new(LargeStringArray::from(vec!["a", "b"]));
        let sizes: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.5]));
        let dictionary = |values: &ArrayRef| -> ArrayRef {
            Arc::new(DictionaryArray::<Int32Type>::try_new(keys.clone(), values.clone()).unwrap())
        };
        let inner: ArrayRef = Arc::new(Int8Array::from(vec![7, 8, 9]));
        let field = Arc::new(Field::new("count", DataType::Int8, true));
        let nulls = Some(vec![true, false, true].into());
        let structure = StructArray::new(vec![field].into(), vec![inner], nulls);
        let (_temp, table) = written(vec![
            ("d", Arc::new(decimals)),
            ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
            ("w", dictionary(&words)),
            ("z", dictionary(&sizes)),
            ("s", Arc::new(structure)),
            ("x", Arc::new(BinaryArray::from(vec![b"x".as_slice(); 3]))),
        ]);
        let columns = table.columns();
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["d", "b", "w", "z", "s.count", "x"]);
        let kinds: Vec<ExternalKind> = columns.iter().map(|column| column.kind).collect();
        assert_eq!(kinds, [Number, Number, Text, Number, Number, Other]);
        table
            .for_each_batch(|rows| {
                assert_eq!(rows.numbers(0)?, [Some(123.45), Some(-0.01), None]);
                assert_eq!(rows.numbers(1)?, [Some(1.0), Some(0.0), None]);
                assert_eq!(rows.texts(1)?[0].as_deref(), Some("true"));
                let words: Vec<Option<String>> = rows.texts(2)?;
                assert_eq!(words, [Some("b".to_owned()), None, Some("a".to_owned())]);
                assert_eq!(rows.numbers(3)?, [Some(1.5), None, Some(0.5)]);
                assert_eq!(rows.numbers(4)?, [Some(7.0), None, Some(9.0)]);
                assert!(rows.numbers(5).is_err() && rows.texts(5).is_err());
                Ok(())
            })
            .unwrap();
    }
}
