//! Arrays of any type as numbers, texts and times.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array as _, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use contract::Timestamp;

use super::ExternalKind;

pub(super) fn kind(data_type: &DataType) -> ExternalKind {
    match data_type {
        DataType::Dictionary(_, values) => kind(values),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ExternalKind::Text,
        DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64 => ExternalKind::Time,
        number if number.is_integer() || number.is_floating() || number.is_decimal() => {
            ExternalKind::Number
        }
        DataType::Boolean => ExternalKind::Number,
        _ => ExternalKind::Other,
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

/// Reads a column of decimals, each rounded once.
macro_rules! decimal {
    ($column:expr, $type:ty) => {
        $column.as_primitive_opt::<$type>().map(|column| {
            let value =
                |row| column.is_valid(row).then(|| column.value_as_string(row).parse().ok());
            (0..column.len()).map(|row| value(row).flatten()).collect::<Vec<Option<f64>>>()
        })
    };
}

pub(super) fn numbers(column: &ArrayRef) -> Option<Vec<Option<f64>>> {
    match column.data_type() {
        DataType::Float64 => primitive!(column, Float64Type, |v| v),
        DataType::Float32 => primitive!(column, Float32Type, f64::from),
        DataType::Float16 => primitive!(column, Float16Type, f64::from),
        DataType::Int8 => primitive!(column, Int8Type, f64::from),
        DataType::Int16 => primitive!(column, Int16Type, f64::from),
        DataType::Int32 => primitive!(column, Int32Type, f64::from),
        DataType::Int64 => primitive!(column, Int64Type, |v| v as f64),
        DataType::UInt8 => primitive!(column, UInt8Type, f64::from),
        DataType::UInt16 => primitive!(column, UInt16Type, f64::from),
        DataType::UInt32 => primitive!(column, UInt32Type, f64::from),
        DataType::UInt64 => primitive!(column, UInt64Type, |v| v as f64),
        DataType::Decimal32(..) => decimal!(column, Decimal32Type),
        DataType::Decimal64(..) => decimal!(column, Decimal64Type),
        DataType::Decimal128(..) => decimal!(column, Decimal128Type),
        DataType::Decimal256(..) => decimal!(column, Decimal256Type),
        DataType::Boolean => {
            let flags = column.as_boolean_opt()?;
            Some(flags.iter().map(|flag| flag.map(|flag| f64::from(u8::from(flag)))).collect())
        }
        DataType::Dictionary(..) => dictionary(column, numbers),
        // A column without any value has no type.
        DataType::Null => Some(vec![None; column.len()]),
        _ => None,
    }
}

pub(super) fn texts(column: &ArrayRef) -> Option<Vec<Option<String>>> {
    match column.data_type() {
        DataType::Utf8 => column.as_string_opt::<i32>().map(owned),
        DataType::LargeUtf8 => column.as_string_opt::<i64>().map(owned),
        DataType::Utf8View => column.as_string_view_opt().map(owned),
        DataType::Boolean => {
            let flags = column.as_boolean_opt()?;
            Some(flags.iter().map(|flag| flag.map(|flag| flag.to_string())).collect())
        }
        DataType::Dictionary(..) => dictionary(column, texts),
        _ => {
            let numbers = numbers(column)?;
            Some(numbers.into_iter().map(|number| number.map(|n| n.to_string())).collect())
        }
    }
}

pub(super) fn times(column: &ArrayRef) -> Option<Vec<Option<Timestamp>>> {
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
        DataType::Dictionary(..) => dictionary(column, times),
        _ => None,
    }
}

/// Reads the values of a dictionary once, and looks them up by its keys.
fn dictionary<T: Clone>(
    column: &ArrayRef,
    convert: impl Fn(&ArrayRef) -> Option<Vec<Option<T>>>,
) -> Option<Vec<Option<T>>> {
    let dictionary = column.as_any_dictionary_opt()?;
    let values = convert(dictionary.values())?;
    if values.is_empty() {
        return Some(vec![None; column.len()]);
    }
    let keys = dictionary.normalized_keys().into_iter().enumerate();
    let valid = |row: &usize| dictionary.keys().is_valid(*row);
    Some(
        keys.map(|(row, key)| Some(row).filter(valid).and_then(|_| values.get(key)?.clone()))
            .collect(),
    )
}

fn owned<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Vec<Option<String>> {
    texts.into_iter().map(|text| text.map(str::to_owned)).collect()
}
