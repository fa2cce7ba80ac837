//! Model parameters and detector state as named tensors, to and from safetensors.
//!
//! The files open in any tool that reads safetensors: `safetensors.numpy.load_file(path)` in Python
//! gives a dictionary of arrays, `safe_open(path, "np").metadata()` the text beside them.

use std::collections::{BTreeMap, HashMap};

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::StepError;

mod records;

pub use records::{Arrays, Record};

/// Key of the file's own metadata that says which kind of model it holds.
const METADATA_KEY: &str = "lynceus.model";

/// The numbers of a tensor, row by row.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Double precision.
    F64(Vec<f64>),
    /// Single precision.
    F32(Vec<f32>),
    /// Half precision, as the numbers it stands for ([`half_precision`]).
    F16(Vec<f64>),
    /// Whole numbers with a sign, such as times in milliseconds since 1970.
    I64(Vec<i64>),
    /// Whole numbers, such as counts and characters.
    U32(Vec<u32>),
    /// Bytes, such as flags, small counts and texts.
    U8(Vec<u8>),
}

/// Returns the nearest number of half precision (11 significant bits, at most 65,504), which
/// [`Numbers::F16`] stores without loss. `NaN` stays `NaN`.
pub fn half_precision(value: f64) -> f64 {
    // This is computed here, because the instruction of some processors rounds twice, through
    // single precision, and the crate `half` truncates bits first. Both differ from the nearest
    // number.
    if value.is_nan() {
        return value;
    }
    let size = value.abs().min(f16::MAX.to_f64());
    // A number of half precision is a multiple of 2^-10 of its power of two, and of 2^-24 at least.
    let exponent = ((size.to_bits() >> 52) & 0x7ff).max(1023 - 14);
    let unit = f64::from_bits((exponent - 10) << 52);
    // Beside this number doubles are as far apart as the multiples: adding it rounds, ties to even.
    let coarse = 6_755_399_441_055_744.0 * unit;
    ((size + coarse) - coarse).copysign(value)
}

impl Numbers {
    fn dtype(&self) -> Dtype {
        match self {
            Self::F64(_) => Dtype::F64,
            Self::F32(_) => Dtype::F32,
            Self::F16(_) => Dtype::F16,
            Self::I64(_) => Dtype::I64,
            Self::U32(_) => Dtype::U32,
            Self::U8(_) => Dtype::U8,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::F64(values) | Self::F16(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16(values) => {
                values.iter().flat_map(|value| f16::from_f64(*value).to_le_bytes()).collect()
            }
            Self::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::U32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::U8(values) => values.clone(),
        }
    }

    fn from_bytes(dtype: Dtype, bytes: &[u8]) -> Option<Self> {
        fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
            bytes.chunks_exact(N).map(|word| {
                let mut array = [0; N];
                array.copy_from_slice(word);
                array
            })
        }
        match dtype {
            Dtype::F64 => Some(Self::F64(words(bytes).map(f64::from_le_bytes).collect())),
            Dtype::F32 => Some(Self::F32(words(bytes).map(f32::from_le_bytes).collect())),
            Dtype::F16 => Some(Self::F16(
                words(bytes).map(|word| f16::from_le_bytes(word).to_f64()).collect(),
            )),
            Dtype::I64 => Some(Self::I64(words(bytes).map(i64::from_le_bytes).collect())),
            Dtype::U32 => Some(Self::U32(words(bytes).map(u32::from_le_bytes).collect())),
            Dtype::U8 => Some(Self::U8(bytes.to_vec())),
            _ => None,
        }
    }

    fn is_not(&self, name: &str, expected: &str) -> StepError {
        refused(name, &format!("is {:?}, expected {expected}", self.dtype()))
    }

    fn is_finite(&self) -> bool {
        match self {
            Self::F64(values) | Self::F16(values) => values.iter().all(|value| value.is_finite()),
            Self::F32(values) => values.iter().all(|value| value.is_finite()),
            Self::I64(_) | Self::U32(_) | Self::U8(_) => true,
        }
    }
}

/// Named tensors of a model; every number in them is finite once they were read from a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensors {
    items: BTreeMap<String, (Vec<usize>, Numbers)>,
}

fn refused(name: &str, what: &str) -> StepError {
    StepError::damaged(format!("tensor `{name}` {what}"))
}

impl Tensors {
    /// Adds numbers of double precision; `shape` must multiply to their count.
    pub fn insert_f64(&mut self, name: &str, shape: &[usize], values: Vec<f64>) {
        self.items.insert(name.to_owned(), (shape.to_vec(), Numbers::F64(values)));
    }

    /// Adds numbers of single precision; `shape` must multiply to their count.
    pub fn insert_f32(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        self.items.insert(name.to_owned(), (shape.to_vec(), Numbers::F32(values)));
    }

    /// Adds whole numbers; `shape` must multiply to their count.
    pub fn insert_u32(&mut self, name: &str, shape: &[usize], values: Vec<u32>) {
        self.items.insert(name.to_owned(), (shape.to_vec(), Numbers::U32(values)));
    }

    /// Adds numbers of any type; `shape` must multiply to their count.
    pub fn insert(&mut self, name: &str, shape: &[usize], values: Numbers) {
        self.items.insert(name.to_owned(), (shape.to_vec(), values));
    }

    /// Adds a text, as the numbers of its characters.
    pub fn insert_text(&mut self, name: &str, text: &str) {
        let characters: Vec<u32> = text.chars().map(u32::from).collect();
        self.insert_u32(name, &[characters.len()], characters);
    }

    /// Returns the shape of a tensor, or `None` if there is none of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.items.get(name).map(|(shape, _)| shape.as_slice())
    }

    /// Returns the length of a tensor that must have one dimension.
    pub fn length(&self, name: &str) -> Result<usize, StepError> {
        match self.shape(name) {
            Some([length]) => Ok(*length),
            Some(shape) => {
                Err(refused(name, &format!("has shape {shape:?}, expected one dimension")))
            }
            None => Err(refused(name, "is missing")),
        }
    }

    /// Returns rows and columns of a tensor that must have two dimensions.
    pub fn dimensions(&self, name: &str) -> Result<(usize, usize), StepError> {
        match self.shape(name) {
            Some([rows, columns]) => Ok((*rows, *columns)),
            Some(shape) => {
                Err(refused(name, &format!("has shape {shape:?}, expected two dimensions")))
            }
            None => Err(refused(name, "is missing")),
        }
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Numbers, StepError> {
        let (found, numbers) =
            self.items.remove(name).ok_or_else(|| refused(name, "is missing"))?;
        if found != shape {
            return Err(refused(name, &format!("has shape {found:?}, expected {shape:?}")));
        }
        Ok(numbers)
    }

    /// Takes numbers of double precision, which must have this shape.
    pub fn take_f64(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>, StepError> {
        match self.take(name, shape)? {
            Numbers::F64(values) => Ok(values),
            other => Err(other.is_not(name, "F64")),
        }
    }

    /// Takes numbers of single precision, which must have this shape.
    pub fn take_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, StepError> {
        match self.take(name, shape)? {
            Numbers::F32(values) => Ok(values),
            other => Err(other.is_not(name, "F32")),
        }
    }

    /// Takes whole numbers, which must have this shape.
    pub fn take_u32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<u32>, StepError> {
        match self.take(name, shape)? {
            Numbers::U32(values) => Ok(values),
            other => Err(other.is_not(name, "U32")),
        }
    }

    /// Takes whole numbers with a sign, which must have this shape.
    pub fn take_i64(&mut self, name: &str, shape: &[usize]) -> Result<Vec<i64>, StepError> {
        match self.take(name, shape)? {
            Numbers::I64(values) => Ok(values),
            other => Err(other.is_not(name, "I64")),
        }
    }

    /// Takes a tensor that holds a text.
    pub fn take_text(&mut self, name: &str) -> Result<String, StepError> {
        let characters = self.take_u32(name, &[self.length(name)?])?;
        let text = characters.into_iter().map(char::from_u32).collect::<Option<String>>();
        text.ok_or_else(|| refused(name, "is not text"))
    }

    /// Takes a tensor that holds one number.
    pub fn take_number(&mut self, name: &str) -> Result<f64, StepError> {
        let values = self.take_f64(name, &[1])?;
        values.first().copied().ok_or_else(|| refused(name, "is empty"))
    }

    /// Returns the names of the tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.items.keys().map(String::as_str)
    }

    /// Returns whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Refuses tensors that were not read.
    pub fn finish(self) -> Result<(), StepError> {
        match self.items.keys().next() {
            None => Ok(()),
            Some(name) => Err(refused(name, "is not expected")),
        }
    }

    /// Returns the bytes of a safetensors file that holds a model of a kind; the same tensors give
    /// the same bytes.
    pub fn encode(&self, kind: &str) -> Result<Vec<u8>, StepError> {
        self.encode_with(METADATA_KEY, kind)
    }

    /// Returns the bytes of a safetensors file with one entry of metadata; the same tensors give the
    /// same bytes.
    pub fn encode_with(&self, key: &str, text: &str) -> Result<Vec<u8>, StepError> {
        let bug = |e: safetensors::SafeTensorError| {
            StepError::bug(format!("cannot write the tensors of `{key}`: {e}"))
        };
        let bytes: Vec<_> = self.items.values().map(|(_, numbers)| numbers.to_bytes()).collect();
        let items = self.items.iter().zip(&bytes).map(|((name, (shape, numbers)), bytes)| {
            Ok((
                name.as_str(),
                TensorView::new(numbers.dtype(), shape.clone(), bytes).map_err(bug)?,
            ))
        });
        let items = items.collect::<Result<Vec<_>, StepError>>()?;
        // There is only one entry, because the order of several would change from run to run.
        let metadata = HashMap::from([(key.to_owned(), text.to_owned())]);
        safetensors::serialize(items, Some(metadata)).map_err(bug)
    }

    /// Reads a safetensors file that holds a model of this kind; an invalid file is refused.
    pub fn decode(kind: &str, bytes: &[u8]) -> Result<Self, StepError> {
        let found = metadata(METADATA_KEY, bytes)
            .map_err(|e| StepError { message: format!("`{kind}`: {}", e.message), ..e })?;
        if found.as_deref() != Some(kind) {
            let found = found.unwrap_or_else(|| "nothing".to_owned());
            return Err(StepError::damaged(format!(
                "the file contains `{found}`, expected `{kind}`"
            )));
        }
        Self::decode_any(bytes)
    }

    /// Reads a safetensors file, whatever its metadata says; an invalid file is refused.
    pub fn decode_any(bytes: &[u8]) -> Result<Self, StepError> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| unreadable(&e))?;
        let mut items = BTreeMap::new();
        for (name, view) in file.tensors() {
            let numbers = Numbers::from_bytes(view.dtype(), view.data())
                .ok_or_else(|| refused(&name, "has a type that no model uses"))?;
            if !numbers.is_finite() {
                return Err(refused(&name, "holds a number that is not finite"));
            }
            items.insert(name, (view.shape().to_vec(), numbers));
        }
        Ok(Self { items })
    }
}

/// Returns an entry of a safetensors file's metadata, without reading the tensors.
pub fn metadata(key: &str, bytes: &[u8]) -> Result<Option<String>, StepError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| unreadable(&e))?;
    Ok(metadata.metadata().as_ref().and_then(|entries| entries.get(key)).cloned())
}

fn unreadable(error: &safetensors::SafeTensorError) -> StepError {
    StepError::refused(format!("not a safetensors file: {error}"))
        .hint("it was changed or truncated after it was written: copy it again from its origin")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn half_precision_is_the_nearest_number_that_two_bytes_hold(value in -70_000.0..70_000.0_f64) {
            for value in [value, value * 1e-3, value * 1e-7] {
                let rounded = half_precision(value);
                let held = f16::from_f64(rounded);
                prop_assert_eq!(held.to_f64().to_bits(), rounded.to_bits(), "{} is held", value);
                let next = |steps: i16| f16::from_bits(held.to_bits().wrapping_add_signed(steps));
                let distance = (value.clamp(-65_504.0, 65_504.0) - rounded).abs();
                for other in [next(1), next(-1)].map(f16::to_f64).into_iter().filter(|it| it.is_finite()) {
                    prop_assert!(distance <= (value.clamp(-65_504.0, 65_504.0) - other).abs());
                }
            }
        }
    }

    #[test]
    fn a_little_more_than_a_tie_is_rounded_up() {
        let tie = 1.0 + 0.5_f64.powi(11);
        let cases = [
            (tie, 1.0),
            (tie + f64::EPSILON, 1.0 + 0.5_f64.powi(10)),
            (-tie - f64::EPSILON, -1.0 - 0.5_f64.powi(10)),
            (60_000.0, 60_000.0),
            (1e300, 65_504.0),
            (0.0, 0.0),
        ];
        for (value, expected) in cases {
            assert_eq!(half_precision(value).to_bits(), f64::to_bits(expected), "{value}");
        }
        assert!(half_precision(f64::NAN).is_nan());
    }
}
