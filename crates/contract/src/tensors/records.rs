//! State of the entities, stored in tensors.
//!
//! The value of one entity is a set of named arrays ([`Record`]). The arrays of all entities with
//! the same name become one tensor: `<prefix>.<name>` with shape (entities, length) if every array
//! has the same length, else with shape (numbers), and `<prefix>.<name>.lengths` with the lengths.
//! The entities' names are a JSON list in the bytes of `<prefix>.entities`.

use std::collections::BTreeMap;

use super::{Numbers, Tensors, refused};
use crate::StepError;

/// Last part of the name of the tensor that holds the entities' names.
const ENTITIES: &str = ".entities";

/// A value of one entity that can be written as named arrays of numbers and read back without loss.
pub trait Record: Sized {
    /// Returns the arrays; every value of a kind has the same names.
    fn to_arrays(&self) -> Arrays;

    /// Reads the value; invalid arrays are refused.
    fn from_arrays(arrays: &mut Arrays) -> Result<Self, StepError>;
}

/// A series of numbers, under the name `values`.
impl Record for Vec<f64> {
    fn to_arrays(&self) -> Arrays {
        Arrays::default().with("values", Numbers::F64(self.clone()))
    }

    fn from_arrays(arrays: &mut Arrays) -> Result<Self, StepError> {
        arrays.take_f64("values")
    }
}

/// Named arrays of one entity.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arrays {
    items: Vec<(String, Numbers)>,
}

impl Arrays {
    /// Returns the arrays with one more.
    #[must_use]
    pub fn with(mut self, name: &str, numbers: Numbers) -> Self {
        self.items.push((name.to_owned(), numbers));
        self
    }

    /// Returns whether it has the array, which a value of an earlier version may lack.
    pub fn has(&self, name: &str) -> bool {
        self.items.iter().any(|(known, _)| known == name)
    }

    fn take(&mut self, name: &str) -> Result<Numbers, StepError> {
        let place = self.items.iter().position(|(known, _)| known == name);
        let place = place.ok_or_else(|| refused(name, "is missing"))?;
        Ok(self.items.swap_remove(place).1)
    }

    /// Takes numbers of double precision.
    pub fn take_f64(&mut self, name: &str) -> Result<Vec<f64>, StepError> {
        match self.take(name)? {
            Numbers::F64(values) => Ok(values),
            other => Err(other.is_not(name, "F64")),
        }
    }

    /// Takes numbers of single precision.
    pub fn take_f32(&mut self, name: &str) -> Result<Vec<f32>, StepError> {
        match self.take(name)? {
            Numbers::F32(values) => Ok(values),
            other => Err(other.is_not(name, "F32")),
        }
    }

    /// Takes numbers of half precision.
    pub fn take_f16(&mut self, name: &str) -> Result<Vec<f64>, StepError> {
        match self.take(name)? {
            Numbers::F16(values) => Ok(values),
            other => Err(other.is_not(name, "F16")),
        }
    }

    /// Takes whole numbers with a sign.
    pub fn take_i64(&mut self, name: &str) -> Result<Vec<i64>, StepError> {
        match self.take(name)? {
            Numbers::I64(values) => Ok(values),
            other => Err(other.is_not(name, "I64")),
        }
    }

    /// Takes whole numbers.
    pub fn take_u32(&mut self, name: &str) -> Result<Vec<u32>, StepError> {
        match self.take(name)? {
            Numbers::U32(values) => Ok(values),
            other => Err(other.is_not(name, "U32")),
        }
    }

    /// Takes bytes.
    pub fn take_u8(&mut self, name: &str) -> Result<Vec<u8>, StepError> {
        match self.take(name)? {
            Numbers::U8(values) => Ok(values),
            other => Err(other.is_not(name, "U8")),
        }
    }

    /// Takes a flag: one byte, 0 or 1.
    pub fn take_flag(&mut self, name: &str) -> Result<bool, StepError> {
        match self.take_u8(name)?.as_slice() {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(refused(name, "is not a flag")),
        }
    }
}

impl Tensors {
    /// Adds the values of entities.
    pub fn insert_records<'a, R: Record + 'a>(
        &mut self,
        prefix: &str,
        records: impl IntoIterator<Item = (&'a String, &'a R)>,
    ) -> Result<(), StepError> {
        let records = records.into_iter();
        self.insert_arrays(prefix, records.map(|(entity, record)| (entity, record.to_arrays())))
    }

    /// Adds the values of entities as the arrays that a [`Record`] gives.
    pub fn insert_arrays<'a>(
        &mut self,
        prefix: &str,
        records: impl IntoIterator<Item = (&'a String, Arrays)>,
    ) -> Result<(), StepError> {
        let (mut entities, mut columns) = (Vec::new(), BTreeMap::<String, Column>::new());
        for (entity, arrays) in records {
            for (name, numbers) in arrays.items {
                match columns.get_mut(&name) {
                    Some(column) => column.push(&name, numbers)?,
                    None => drop(columns.insert(name, Column::new(numbers))),
                }
            }
            entities.push(entity);
        }
        let names = serde_json::to_vec(&entities)
            .map_err(|e| StepError::bug(format!("cannot write the entities of `{prefix}`: {e}")))?;
        self.insert(&format!("{prefix}{ENTITIES}"), &[names.len()], Numbers::U8(names));
        for (name, column) in columns {
            column.write(&format!("{prefix}.{name}"), self);
        }
        Ok(())
    }

    /// Takes the values of entities; empty if no tensor has the prefix.
    pub fn take_records<R: Record>(
        &mut self,
        prefix: &str,
    ) -> Result<BTreeMap<String, R>, StepError> {
        let key = format!("{prefix}{ENTITIES}");
        let Some(length) = self.shape(&key).map(|shape| shape.iter().product()) else {
            return Ok(BTreeMap::new());
        };
        let Numbers::U8(names) = self.take(&key, &[length])? else {
            return Err(refused(&key, "is not U8"));
        };
        let names: Vec<String> = serde_json::from_slice(&names)
            .map_err(|e| refused(&key, &format!("is not a list of names: {e}")))?;
        let mut arrays: Vec<Arrays> = names.iter().map(|_| Arrays::default()).collect();
        let below = format!("{prefix}.");
        let columns = self.items.keys().filter_map(|key| key.strip_prefix(&below));
        let columns = columns.filter(|name| !name.contains('.'));
        for name in columns.map(str::to_owned).collect::<Vec<_>>() {
            self.take_column(&format!("{below}{name}"), &name, &mut arrays)?;
        }
        let records = names.into_iter().zip(arrays).map(|(entity, mut arrays)| {
            let record = R::from_arrays(&mut arrays).map_err(|e| StepError {
                message: format!("`{prefix}` of `{entity}`: {}", e.message),
                ..e
            })?;
            Ok((entity, record))
        });
        records.collect()
    }

    /// Returns the parts after `prefix` in the names of sets of records.
    pub fn record_sets(&self, prefix: &str) -> Vec<String> {
        let names =
            self.names().filter_map(|name| name.strip_prefix(prefix)?.strip_suffix(ENTITIES));
        names.map(str::to_owned).collect()
    }

    /// Splits a tensor into the arrays of the entities.
    fn take_column(
        &mut self,
        key: &str,
        name: &str,
        arrays: &mut [Arrays],
    ) -> Result<(), StepError> {
        let lengths_key = format!("{key}.lengths");
        let lengths = match self.shape(&lengths_key) {
            Some(_) => Some(self.take_u32(&lengths_key, &[arrays.len()])?),
            None => None,
        };
        let shape = self.shape(key).unwrap_or_default().to_vec();
        let lengths: Vec<usize> = match (lengths, shape.as_slice()) {
            (Some(lengths), [_]) => lengths.iter().map(|length| *length as usize).collect(),
            (None, [entities, length]) if *entities == arrays.len() => {
                vec![*length; arrays.len()]
            }
            _ => {
                return Err(refused(
                    key,
                    &format!("has shape {shape:?} for {} entities", arrays.len()),
                ));
            }
        };
        let numbers = self.take(key, &shape)?;
        if lengths.iter().sum::<usize>() != numbers.len() {
            return Err(refused(key, "has not as many numbers as its lengths say"));
        }
        let mut start = 0;
        for (arrays, length) in arrays.iter_mut().zip(lengths) {
            arrays.items.push((name.to_owned(), numbers.part(start, start + length)));
            start += length;
        }
        Ok(())
    }
}

/// The arrays of one name, entity after entity.
struct Column {
    numbers: Numbers,
    lengths: Vec<usize>,
}

impl Column {
    fn new(numbers: Numbers) -> Self {
        Self { lengths: vec![numbers.len()], numbers }
    }

    fn push(&mut self, name: &str, numbers: Numbers) -> Result<(), StepError> {
        self.lengths.push(numbers.len());
        match (&mut self.numbers, numbers) {
            (Numbers::F64(all), Numbers::F64(more)) | (Numbers::F16(all), Numbers::F16(more)) => {
                all.extend(more);
            }
            (Numbers::F32(all), Numbers::F32(more)) => all.extend(more),
            (Numbers::I64(all), Numbers::I64(more)) => all.extend(more),
            (Numbers::U32(all), Numbers::U32(more)) => all.extend(more),
            (Numbers::U8(all), Numbers::U8(more)) => all.extend(more),
            (all, more) => {
                let (all, more) = (all.dtype(), more.dtype());
                return Err(StepError::bug(format!("array `{name}` is {all:?} and {more:?}")));
            }
        }
        Ok(())
    }

    fn write(self, key: &str, tensors: &mut Tensors) {
        let Self { numbers, lengths } = self;
        let first = lengths.first().copied().unwrap_or(0);
        if lengths.iter().all(|length| *length == first) {
            tensors.insert(key, &[lengths.len(), first], numbers);
            return;
        }
        tensors.insert(key, &[numbers.len()], numbers);
        // The array of one entity has far fewer than 2^32 numbers.
        let count = |length: &usize| u32::try_from(*length).unwrap_or(u32::MAX);
        let lengths: Vec<u32> = lengths.iter().map(count).collect();
        tensors.insert_u32(&format!("{key}.lengths"), &[lengths.len()], lengths);
    }
}

impl Numbers {
    fn part(&self, start: usize, end: usize) -> Self {
        match self {
            Self::F64(values) => Self::F64(values[start..end].to_vec()),
            Self::F32(values) => Self::F32(values[start..end].to_vec()),
            Self::F16(values) => Self::F16(values[start..end].to_vec()),
            Self::I64(values) => Self::I64(values[start..end].to_vec()),
            Self::U32(values) => Self::U32(values[start..end].to_vec()),
            Self::U8(values) => Self::U8(values[start..end].to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Seen {
        times_ms: Vec<i64>,
        scores: Vec<f64>,
        departures: Vec<f64>,
        alarmed: bool,
    }

    impl Record for Seen {
        fn to_arrays(&self) -> Arrays {
            Arrays::default()
                .with("times_ms", Numbers::I64(self.times_ms.clone()))
                .with("scores", Numbers::F64(self.scores.clone()))
                .with("departures", Numbers::F16(self.departures.clone()))
                .with("alarmed", Numbers::U8(vec![u8::from(self.alarmed)]))
        }

        fn from_arrays(arrays: &mut Arrays) -> Result<Self, StepError> {
            Ok(Self {
                times_ms: arrays.take_i64("times_ms")?,
                scores: arrays.take_f64("scores")?,
                departures: arrays.take_f16("departures")?,
                alarmed: arrays.take_flag("alarmed")?,
            })
        }
    }

    fn seen() -> impl Strategy<Value = Seen> {
        let departures =
            prop::collection::vec((-40.0..40.0_f64).prop_map(super::super::half_precision), 3);
        let scores = prop::collection::vec(-1e9..1e9_f64, 0..4);
        (prop::collection::vec(any::<i64>(), 0..3), scores, departures, any::<bool>()).prop_map(
            |(times_ms, scores, departures, alarmed)| Seen {
                times_ms,
                scores,
                departures,
                alarmed,
            },
        )
    }

    proptest! {
        #[test]
        fn records_round_trip_bit_for_bit(
            records in prop::collection::btree_map(".{0,8}", seen(), 0..6),
        ) {
            let mut tensors = Tensors::default();
            tensors.insert_records("memory", &records).unwrap();
            let bytes = tensors.encode("x").unwrap();
            let mut tensors = Tensors::decode("x", &bytes).unwrap();
            prop_assert_eq!(tensors.record_sets(""), ["memory"]);
            let read: BTreeMap<String, Seen> = tensors.take_records("memory").unwrap();
            tensors.finish().unwrap();
            prop_assert_eq!(&read, &records);
            let mut again = Tensors::default();
            again.insert_records("memory", &read).unwrap();
            prop_assert_eq!(again.encode("x").unwrap(), bytes);
        }
    }

    #[test]
    fn a_tensor_of_another_number_of_entities_is_refused() {
        let seen =
            Seen { times_ms: vec![1], scores: vec![], departures: vec![0.5; 2], alarmed: true };
        let records = BTreeMap::from([("a".to_owned(), seen.clone()), ("b".to_owned(), seen)]);
        let mut tensors = Tensors::default();
        tensors.insert_records("m", &records).unwrap();
        tensors.insert("m.departures", &[3, 2], Numbers::F16(vec![0.0; 6]));
        let error = tensors.take_records::<Seen>("m").unwrap_err();
        assert!(error.message.contains("[3, 2] for 2 entities"), "{error}");
    }
}
