//! Parquet files that other programs wrote: numbers, texts and times of any width, read as this
//! crate's own types.

use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Date64Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array as _, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, TimeUnit};
use contract::{StepError, Timestamp};

use crate::parquet::Reader;

/// Milliseconds since 1970 of the years 0 to 9999.
const FIRST_AND_LAST_MS: std::ops::Range<i64> = -62_167_219_200_000..253_402_300_800_000;

/// What a column of a foreign table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignKind {
    /// Integers or floating point numbers.
    Number,
    /// Text.
    Text,
    /// Points in time.
    Time,
    /// Anything else; such columns cannot be read.
    Other,
}

/// A Parquet file of any origin.
pub struct ForeignTable {
    path: PathBuf,
    reader: Reader,
}

impl std::fmt::Debug for ForeignTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForeignTable").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ForeignTable {
    /// Opens a file; one that is no Parquet is refused.
    pub fn open(path: &Path) -> Result<Self, StepError> {
        Ok(Self { path: path.to_owned(), reader: Reader::open(path)? })
    }

    /// Returns the names of the columns and what they hold, in the file's order.
    pub fn columns(&self) -> Vec<(String, ForeignKind)> {
        let fields = self.reader.schema().fields().iter();
        fields.map(|field| (field.name().clone(), kind(field.data_type()))).collect()
    }

    /// Calls `each` with every batch of rows, in order.
    pub fn for_each_batch(
        self,
        mut each: impl FnMut(&ForeignRows<'_>) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let path = self.path;
        let mut first_row = 1;
        self.reader.for_each_batch(|batch| {
            each(&ForeignRows { path: &path, batch, first_row })?;
            first_row += batch.num_rows();
            Ok(())
        })
    }
}

/// Some rows of a foreign table.
#[derive(Debug)]
pub struct ForeignRows<'a> {
    path: &'a Path,
    batch: &'a RecordBatch,
    /// Number of the first row in the file, counted from 1.
    pub first_row: usize,
}

impl ForeignRows<'_> {
    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Returns a column of numbers; a null is `None`, `NaN` stays what it is.
    pub fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>, StepError> {
        let column = self.column(name, "numbers")?;
        numbers(column).ok_or_else(|| self.wrong(name, column, "numbers"))
    }

    /// Returns a column of texts; a null is `None`. Numbers are written as text.
    pub fn texts(&self, name: &str) -> Result<Vec<Option<String>>, StepError> {
        let column = self.column(name, "text")?;
        texts(column).ok_or_else(|| self.wrong(name, column, "text"))
    }

    /// Returns a column of timestamps; a null is `None`, less than a millisecond is cut off. A time
    /// that no calendar writes with four digits of a year is refused: it is of another unit.
    pub fn times(&self, name: &str) -> Result<Vec<Option<Timestamp>>, StepError> {
        let column = self.column(name, "a timestamp")?;
        let times = times(column).ok_or_else(|| self.wrong(name, column, "a timestamp"))?;
        match times.iter().flatten().find(|time| !FIRST_AND_LAST_MS.contains(&time.ms())) {
            None => Ok(times),
            Some(time) => Err(StepError::refused(format!(
                "`{}`: column `{name}`: `{}` ms since 1970 is no time of this age",
                self.path.display(),
                time.ms()
            ))),
        }
    }

    fn column(&self, name: &str, expected: &str) -> Result<&ArrayRef, StepError> {
        self.batch.column_by_name(name).ok_or_else(|| {
            StepError::refused(format!(
                "`{}`: column `{name}` is missing, expected {expected}",
                self.path.display()
            ))
        })
    }

    fn wrong(&self, name: &str, column: &ArrayRef, expected: &str) -> StepError {
        StepError::refused(format!(
            "`{}`: column `{name}` is {}, expected {expected}",
            self.path.display(),
            column.data_type()
        ))
    }
}

fn kind(data_type: &DataType) -> ForeignKind {
    match data_type {
        DataType::Dictionary(_, values) => match kind(values) {
            ForeignKind::Text => ForeignKind::Text,
            _ => ForeignKind::Other,
        },
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ForeignKind::Text,
        DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64 => ForeignKind::Time,
        number if number.is_integer() => ForeignKind::Number,
        DataType::Float32 | DataType::Float64 => ForeignKind::Number,
        _ => ForeignKind::Other,
    }
}

/// Reads a column of the named primitive type as `Vec<Option<_>>`.
macro_rules! primitive {
    ($column:expr, $type:ty, $convert:expr) => {
        $column.as_primitive_opt::<$type>().map(|column| {
            column.iter().map(|value| value.map($convert)).collect::<Vec<Option<_>>>()
        })
    };
}

fn numbers(column: &ArrayRef) -> Option<Vec<Option<f64>>> {
    match column.data_type() {
        DataType::Float64 => primitive!(column, Float64Type, |v| v),
        DataType::Float32 => primitive!(column, Float32Type, f64::from),
        DataType::Int8 => primitive!(column, Int8Type, f64::from),
        DataType::Int16 => primitive!(column, Int16Type, f64::from),
        DataType::Int32 => primitive!(column, Int32Type, f64::from),
        DataType::Int64 => primitive!(column, Int64Type, |v| v as f64),
        DataType::UInt8 => primitive!(column, UInt8Type, f64::from),
        DataType::UInt16 => primitive!(column, UInt16Type, f64::from),
        DataType::UInt32 => primitive!(column, UInt32Type, f64::from),
        DataType::UInt64 => primitive!(column, UInt64Type, |v| v as f64),
        // A column without a single value has no type of its own.
        DataType::Null => Some(vec![None; column.len()]),
        _ => None,
    }
}

fn texts(column: &ArrayRef) -> Option<Vec<Option<String>>> {
    match column.data_type() {
        DataType::Utf8 => column.as_string_opt::<i32>().map(owned),
        DataType::LargeUtf8 => column.as_string_opt::<i64>().map(owned),
        DataType::Utf8View => column.as_string_view_opt().map(owned),
        DataType::Dictionary(keys, _) => match **keys {
            DataType::Int8 => dictionary::<Int8Type>(column),
            DataType::Int16 => dictionary::<Int16Type>(column),
            DataType::Int32 => dictionary::<Int32Type>(column),
            DataType::Int64 => dictionary::<Int64Type>(column),
            DataType::UInt8 => dictionary::<UInt8Type>(column),
            DataType::UInt16 => dictionary::<UInt16Type>(column),
            DataType::UInt32 => dictionary::<UInt32Type>(column),
            _ => None,
        },
        _ => {
            let numbers = numbers(column)?;
            Some(numbers.into_iter().map(|number| number.map(|n| n.to_string())).collect())
        }
    }
}

fn dictionary<K: arrow_array::types::ArrowDictionaryKeyType>(
    column: &ArrayRef,
) -> Option<Vec<Option<String>>> {
    let column = column.as_dictionary_opt::<K>()?;
    Some(owned(column.downcast_dict::<StringArray>()?))
}

fn owned<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Vec<Option<String>> {
    texts.into_iter().map(|text| text.map(str::to_owned)).collect()
}

fn times(column: &ArrayRef) -> Option<Vec<Option<Timestamp>>> {
    let ms = Timestamp::from_ms;
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            primitive!(column, TimestampSecondType, |v: i64| ms(v.saturating_mul(1000)))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            primitive!(column, TimestampMillisecondType, ms)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive!(column, TimestampMicrosecondType, |v: i64| ms(v.div_euclid(1000)))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            primitive!(column, TimestampNanosecondType, |v: i64| ms(v.div_euclid(1_000_000)))
        }
        DataType::Date32 => primitive!(column, Date32Type, |v| ms(i64::from(v) * 86_400_000)),
        DataType::Date64 => primitive!(column, Date64Type, ms),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        Date32Array, Float32Array, Int8Array, LargeStringArray, TimestampMicrosecondArray,
        UInt64Array,
    };
    use arrow_schema::{Field, Schema};
    use parquet::arrow::ArrowWriter;

    use super::ForeignKind::{Number, Text, Time};
    use super::*;

    #[test]
    fn columns_of_any_width_are_read() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("f", Arc::new(Float32Array::from(vec![Some(0.5), None]))),
            ("i", Arc::new(Int8Array::from(vec![-1, 2]))),
            ("u", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
            ("s", Arc::new(LargeStringArray::from(vec![Some("a"), None]))),
            ("t", Arc::new(TimestampMicrosecondArray::from(vec![1_500_999, -1]))),
            ("d", Arc::new(Date32Array::from(vec![1, 0]))),
        ];
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

        let table = ForeignTable::open(&path).unwrap();
        let kinds: Vec<ForeignKind> = table.columns().into_iter().map(|(_, kind)| kind).collect();
        assert_eq!(kinds, [Number, Number, Number, Text, Time, Time]);
        table
            .for_each_batch(|rows| {
                assert_eq!((rows.first_row, rows.rows()), (1, 2));
                assert_eq!(rows.numbers("f")?, [Some(0.5), None]);
                assert_eq!(rows.numbers("i")?, [Some(-1.0), Some(2.0)]);
                assert_eq!(rows.numbers("u")?[0], Some(u64::MAX as f64));
                assert_eq!(rows.texts("s")?, [Some("a".to_owned()), None]);
                assert_eq!(rows.texts("i")?[0].as_deref(), Some("-1"));
                let ms = |name| -> Result<Vec<i64>, StepError> {
                    Ok(rows.times(name)?.iter().flatten().map(|time| time.ms()).collect())
                };
                assert_eq!((ms("t")?, ms("d")?), (vec![1500, -1], vec![86_400_000, 0]));
                for error in [rows.numbers("s").unwrap_err(), rows.times("f").unwrap_err()] {
                    assert!(error.message.contains("expected"), "{error}");
                }
                assert!(rows.numbers("nothing").is_err());
                Ok(())
            })
            .unwrap();
    }
}
