//! Model parameters as named tensors, to and from safetensors.

use std::collections::{BTreeMap, HashMap};

use contract::StepError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Key of the file's own metadata that says which kind of model it holds.
const METADATA_KEY: &str = "lynceus.model";

#[derive(Debug, Clone, PartialEq)]
enum Numbers {
    F64(Vec<f64>),
    F32(Vec<f32>),
    U32(Vec<u32>),
}

impl Numbers {
    fn dtype(&self) -> Dtype {
        match self {
            Self::F64(_) => Dtype::F64,
            Self::F32(_) => Dtype::F32,
            Self::U32(_) => Dtype::U32,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::U32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
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
            Dtype::U32 => Some(Self::U32(words(bytes).map(u32::from_le_bytes).collect())),
            _ => None,
        }
    }

    fn is_finite(&self) -> bool {
        match self {
            Self::F64(values) => values.iter().all(|value| value.is_finite()),
            Self::F32(values) => values.iter().all(|value| value.is_finite()),
            Self::U32(_) => true,
        }
    }
}

/// Named tensors of a model; every number in them is finite once they were read from a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensors {
    items: BTreeMap<String, (Vec<usize>, Numbers)>,
}

fn refused(name: &str, what: &str) -> StepError {
    StepError::refused(format!("tensor `{name}` {what}"))
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

    /// Adds a text, as the numbers of its characters.
    pub fn insert_text(&mut self, name: &str, text: &str) {
        let characters: Vec<u32> = text.chars().map(u32::from).collect();
        self.insert_u32(name, &[characters.len()], characters);
    }

    /// Returns the shape of a tensor, or nothing if there is none of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.items.get(name).map(|(shape, _)| shape.as_slice())
    }

    /// Returns the length of a tensor that must have one dimension.
    pub(crate) fn length(&self, name: &str) -> Result<usize, StepError> {
        match self.shape(name) {
            Some([length]) => Ok(*length),
            Some(shape) => {
                Err(refused(name, &format!("has shape {shape:?}, expected one dimension")))
            }
            None => Err(refused(name, "is missing")),
        }
    }

    /// Returns rows and columns of a tensor that must have two dimensions.
    pub(crate) fn dimensions(&self, name: &str) -> Result<(usize, usize), StepError> {
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

    pub(crate) fn take_f64(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>, StepError> {
        match self.take(name, shape)? {
            Numbers::F64(values) => Ok(values),
            _ => Err(refused(name, "is not F64")),
        }
    }

    pub(crate) fn take_f32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, StepError> {
        match self.take(name, shape)? {
            Numbers::F32(values) => Ok(values),
            _ => Err(refused(name, "is not F32")),
        }
    }

    pub(crate) fn take_u32(&mut self, name: &str, shape: &[usize]) -> Result<Vec<u32>, StepError> {
        match self.take(name, shape)? {
            Numbers::U32(values) => Ok(values),
            _ => Err(refused(name, "is not U32")),
        }
    }

    /// Takes a tensor that holds a text.
    pub(crate) fn take_text(&mut self, name: &str) -> Result<String, StepError> {
        let characters = self.take_u32(name, &[self.length(name)?])?;
        let text = characters.into_iter().map(char::from_u32).collect::<Option<String>>();
        text.ok_or_else(|| refused(name, "is no text"))
    }

    /// Takes a tensor that holds one number.
    pub(crate) fn take_number(&mut self, name: &str) -> Result<f64, StepError> {
        let values = self.take_f64(name, &[1])?;
        values.first().copied().ok_or_else(|| refused(name, "is empty"))
    }

    /// Refuses what no one asked for.
    pub(crate) fn finish(self) -> Result<(), StepError> {
        match self.items.keys().next() {
            None => Ok(()),
            Some(name) => Err(refused(name, "is not expected")),
        }
    }

    /// Returns the bytes of a safetensors file; the same tensors give the same bytes.
    pub(crate) fn encode(&self, kind: &str) -> Result<Vec<u8>, StepError> {
        let bug = |e: safetensors::SafeTensorError| {
            StepError::bug(format!("cannot write the tensors of `{kind}`: {e}"))
        };
        let bytes: Vec<_> = self.items.values().map(|(_, numbers)| numbers.to_bytes()).collect();
        let items = self.items.iter().zip(&bytes).map(|((name, (shape, numbers)), bytes)| {
            Ok((
                name.as_str(),
                TensorView::new(numbers.dtype(), shape.clone(), bytes).map_err(bug)?,
            ))
        });
        let items = items.collect::<Result<Vec<_>, StepError>>()?;
        // A single entry: the order of several would change from run to run.
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), kind.to_owned())]);
        safetensors::serialize(items, Some(metadata)).map_err(bug)
    }

    /// Reads a safetensors file that holds a model of this kind; anything off is refused.
    pub(crate) fn decode(kind: &str, bytes: &[u8]) -> Result<Self, StepError> {
        let unreadable = |e: safetensors::SafeTensorError| {
            StepError::refused(format!("cannot read the tensors of `{kind}`: {e}"))
        };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let found = metadata.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY));
        if found.map(String::as_str) != Some(kind) {
            let found = found.map_or("nothing", String::as_str);
            return Err(StepError::refused(format!("the file holds `{found}`, expected `{kind}`")));
        }
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
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
