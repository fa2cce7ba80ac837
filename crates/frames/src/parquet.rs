//! Reads and writes Parquet, for every table of this crate.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int32Type, TimestampMillisecondType};
use arrow_array::{
    Array as _, ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use contract::artifact::OutputFile;
use contract::{StepError, Timestamp};
use fs_err as fs;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

/// Rows per row group of a table that is written at once: a whole row group is in memory.
pub(crate) const ROW_GROUP_ROWS: usize = 32 * 1024;

/// Rows that are read at a time.
const BATCH_ROWS: usize = ROW_GROUP_ROWS;

pub(crate) fn time_field(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false)
}

pub(crate) fn text_field(name: &str) -> Field {
    Field::new(
        name,
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        false,
    )
}

pub(crate) fn number_field(name: &str) -> Field {
    Field::new(name, DataType::Float64, true)
}

pub(crate) fn flag_field(name: &str) -> Field {
    Field::new(name, DataType::Boolean, false)
}

pub(crate) fn times(times: &[Timestamp]) -> ArrayRef {
    let values: Vec<i64> = times.iter().map(|time| time.ms()).collect();
    Arc::new(TimestampMillisecondArray::from(values).with_timezone("UTC"))
}

pub(crate) fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

/// Numbers with `NaN` as null.
pub(crate) fn numbers(values: &[f64]) -> ArrayRef {
    let values = values.iter().map(|value| (!value.is_nan()).then_some(*value));
    Arc::new(values.collect::<Float64Array>())
}

/// Numbers as they are: `NaN` stays `NaN`, `None` is null.
pub(crate) fn raw_numbers(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<Float64Array>())
}

pub(crate) fn flags(values: &[bool]) -> ArrayRef {
    Arc::new(BooleanArray::from(values.to_vec()))
}

/// A Parquet file under construction; it becomes visible through [`Writer::publish`].
pub(crate) struct Writer {
    path: std::path::PathBuf,
    rows: ArrowWriter<OutputFile>,
    schema: SchemaRef,
}

impl Writer {
    pub(crate) fn create(
        path: &Path,
        fields: Vec<Field>,
        metadata: &[(&str, String)],
    ) -> Result<Self, StepError> {
        let pairs =
            metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("lynceus {}", contract::VERSION))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_key_value_metadata((!metadata.is_empty()).then(|| pairs.collect()));
        // Measurements hardly repeat: a dictionary costs time and memory without a benefit, while
        // bytes of the same significance compress well if they are adjacent.
        for field in fields.iter().filter(|field| *field.data_type() == DataType::Float64) {
            let column = ColumnPath::from(field.name().as_str());
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::BYTE_STREAM_SPLIT);
        }
        let properties = properties.build();
        let schema = Arc::new(Schema::new(fields));
        let file = OutputFile::create(path)?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))
            .map_err(|e| write_error(path, &e))?;
        Ok(Self { path: path.to_owned(), rows: writer, schema })
    }

    /// Adds rows; they form row groups with the rows before.
    pub(crate) fn write(&mut self, columns: Vec<ArrayRef>) -> Result<(), StepError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|e| {
            StepError::bug(format!("columns do not fit `{}`: {e}", self.path.display()))
        })?;
        self.rows.write(&batch).map_err(|e| write_error(&self.path, &e))
    }

    /// Ends the row group and frees its memory.
    pub(crate) fn end_row_group(&mut self) -> Result<(), StepError> {
        self.rows.flush().map_err(|e| write_error(&self.path, &e))
    }

    pub(crate) fn publish(self) -> Result<(), StepError> {
        let Self { path, rows, .. } = self;
        rows.into_inner().map_err(|e| write_error(&path, &e))?.publish()
    }
}

/// Returns the bytes of a Parquet file with some columns.
pub(crate) fn in_memory(fields: Vec<Field>, columns: Vec<ArrayRef>) -> Result<Vec<u8>, StepError> {
    let bug = |e: &dyn std::fmt::Display| StepError::bug(format!("cannot write Parquet: {e}"));
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|e| bug(&e))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(format!("lynceus {}", contract::VERSION))
        .build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, schema, Some(properties)).map_err(|e| bug(&e))?;
    writer.write(&batch).and_then(|()| writer.close()).map_err(|e| bug(&e))?;
    Ok(bytes)
}

fn write_error(path: &Path, error: &parquet::errors::ParquetError) -> StepError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref() {
            return StepError::writing(path, error);
        }
        cause = error.source();
    }
    StepError::unavailable(format!("cannot write `{}`: {error}", path.display()))
        .hint("check that the disk is not full and not mounted read-only")
}

/// An opened Parquet file.
pub(crate) struct Reader {
    path: std::path::PathBuf,
    file: std::fs::File,
    metadata: ArrowReaderMetadata,
}

impl Reader {
    pub(crate) fn open(path: &Path) -> Result<Self, StepError> {
        let file = fs::File::open(path).map_err(|e| StepError::reading(path, &e))?.into_parts().0;
        let metadata = ArrowReaderMetadata::load(
            &file,
            ArrowReaderOptions::new().with_skip_arrow_metadata(false),
        )
        .map_err(|e| refused(path, &e).hint("is it a Parquet file, and complete?"))?;
        Ok(Self { path: path.to_owned(), file, metadata })
    }

    pub(crate) fn schema(&self) -> &Schema {
        self.metadata.schema()
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        usize::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Returns a value of the file's own metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        let pairs = self.metadata.metadata().file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    }

    /// Calls `each` with every batch of rows, in order.
    pub(crate) fn for_each_batch(
        self,
        each: impl FnMut(&RecordBatch) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        self.for_each_batch_of(None, each)
    }

    /// Calls `each` with every batch of rows, in order; if `names` is not empty, only with these
    /// columns (if they exist): the others are not decoded.
    pub(crate) fn for_each_batch_of(
        self,
        names: Option<&[&str]>,
        mut each: impl FnMut(&RecordBatch) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let path = self.path;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file, self.metadata);
        let mask = names
            .map(|names| ProjectionMask::columns(builder.parquet_schema(), names.iter().copied()));
        let reader = builder
            .with_projection(mask.unwrap_or_else(ProjectionMask::all))
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|e| refused(&path, &e))?;
        for batch in reader {
            each(&batch.map_err(|e| refused(&path, &e))?)?;
        }
        Ok(())
    }
}

fn refused(path: &Path, error: &dyn std::fmt::Display) -> StepError {
    StepError::refused(format!("cannot read `{}` as Parquet: {error}", path.display())).hint(
        "the \
        file is truncated or not a Parquet file: write it again with the step or program that \
        created it",
    )
}

/// Makes the error for a column that is missing or of another type.
fn wrong_column(path: &Path, name: &str, batch: &RecordBatch, expected: &str) -> StepError {
    let found = match batch.column_by_name(name) {
        Some(column) => format!("is {}", column.data_type()),
        None => "is missing".to_owned(),
    };
    StepError::refused(format!(
        "`{}`: column `{name}` {found}, expected {expected}",
        path.display()
    ))
    .hint("the previous step did not write this file: run that step, and use its output")
}

pub(crate) fn read_times(
    path: &Path,
    batch: &RecordBatch,
    name: &str,
    into: &mut Vec<Timestamp>,
) -> Result<(), StepError> {
    let wrong = || wrong_column(path, name, batch, "a timestamp in milliseconds without gaps");
    let column = batch.column_by_name(name).ok_or_else(wrong)?;
    let column = column
        .as_primitive_opt::<TimestampMillisecondType>()
        .filter(|c| c.null_count() == 0)
        .ok_or_else(wrong)?;
    into.extend(column.values().iter().map(|ms| Timestamp::from_ms(*ms)));
    Ok(())
}

/// Calls `each` with every text of a column, plain or dictionary-encoded.
pub(crate) fn read_texts(
    path: &Path,
    batch: &RecordBatch,
    name: &str,
    mut each: impl FnMut(&str),
) -> Result<(), StepError> {
    let wrong = || wrong_column(path, name, batch, "text without gaps");
    let column = batch.column_by_name(name).ok_or_else(wrong)?;
    if column.null_count() > 0 {
        return Err(wrong());
    }
    if let Some(texts) = column.as_string_opt::<i32>() {
        texts.iter().flatten().for_each(each);
        return Ok(());
    }
    let texts = column.as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
    let texts = texts.downcast_dict::<StringArray>().ok_or_else(wrong)?;
    texts.into_iter().flatten().for_each(&mut each);
    Ok(())
}

/// Appends a column of numbers; a null becomes `NaN`.
pub(crate) fn read_numbers(
    path: &Path,
    batch: &RecordBatch,
    name: &str,
    into: &mut Vec<f64>,
) -> Result<(), StepError> {
    let wrong = || wrong_column(path, name, batch, "Float64");
    let column = batch.column_by_name(name).ok_or_else(wrong)?;
    let column = column.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
    if column.null_count() == 0 {
        into.extend_from_slice(column.values());
    } else {
        into.extend(column.iter().map(|value| value.unwrap_or(f64::NAN)));
    }
    Ok(())
}

pub(crate) fn read_flags(
    path: &Path,
    batch: &RecordBatch,
    name: &str,
    into: &mut Vec<bool>,
) -> Result<(), StepError> {
    let wrong = || wrong_column(path, name, batch, "Boolean without gaps");
    let column = batch.column_by_name(name).ok_or_else(wrong)?;
    let column = column.as_boolean_opt().filter(|c| c.null_count() == 0).ok_or_else(wrong)?;
    into.extend(column.iter().map(Option::unwrap_or_default));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn full_disk_error_quotes_the_operating_system() {
        let mut full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = full.write_all(b"x").unwrap_err().into();
        let error = write_error(Path::new("x.parquet"), &error);
        assert!(error.message.ends_with("`x.parquet`: No space left on device (os error 28)"));
    }
}
