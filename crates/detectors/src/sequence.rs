//! Detectors that score the rows of an entity in the order of time, with a memory.
//!
//! A kind implements [`Sequence`] over a memory type of its own. A bundle holds such detectors, and
//! a state their memories, whatever their kind: [`DynSequence`] and [`DynMemory`] hide the memory's
//! type.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use contract::tensors::{Arrays, Record};
use contract::{StepError, Tensors};

/// Result of a model for a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The score; higher is more anomalous.
    pub decision: f64,
    /// Whether the newest rows are unusual by themselves; otherwise there is no alarm.
    pub open: bool,
}

/// What a detector reports of an entity's columns besides the score; columns are in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    /// Columns whose usual level has moved far from that of training.
    pub drifting: Vec<usize>,
    /// Columns that training knew and that have had no value for a while.
    pub missing: Vec<usize>,
}

/// Columns with a new usual level after an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLevel {
    /// Time of the alarm's first row, in milliseconds.
    pub since_ms: i64,
    /// The columns, in order.
    pub columns: Vec<usize>,
}

/// What a detector remembers of one entity.
pub trait Memory: Record + Clone + PartialEq + Debug + Send + Sync + 'static {
    /// Returns the time of the last row in milliseconds; nothing before the first.
    fn time_ms(&self) -> Option<i64>;
}

/// A fitted detector that scores the rows of an entity in the order of time.
pub trait Sequence: Debug + Send + Sync + Sized + 'static {
    /// What it remembers of an entity.
    type Memory: Memory;

    /// The kind of model, as the document names it.
    const KIND: &'static str;

    /// Name of the set of records that holds the memories in a state: that of no other kind, and
    /// without a dot.
    const RECORDS: &'static str;

    /// Reads the fitted parameters; anything off is refused.
    fn read(tensors: &mut Tensors) -> Result<Self, StepError>;

    /// Returns the fitted parameters.
    fn tensors(&self) -> Tensors;

    /// Returns how many columns a row must have.
    fn columns(&self) -> usize;

    /// Says whether the score spans orders of magnitude, so that its logarithm is what compares
    /// and averages well.
    fn is_ratio_scaled(&self) -> bool;

    /// Returns the memory of an entity that nothing is known of.
    fn fresh(&self) -> Self::Memory;

    /// Adds a row to the memory of an entity and scores it; `NaN` is a gap. A memory of another model,
    /// which may come from a file, begins anew.
    ///
    /// # Panics
    /// If the row does not have [`Sequence::columns`] columns.
    fn step(&self, memory: &mut Self::Memory, time_ms: i64, values: &[f64]) -> Step;

    /// Records whether there is an alarm after the row that [`Sequence::step`] has just scored.
    fn judged(&self, _memory: &mut Self::Memory, _alarmed: bool) {}

    /// Returns what is to be reported of the columns after the newest row.
    fn notices(&self, _memory: &Self::Memory) -> Notices {
        Notices::default()
    }

    /// Returns the columns that the last alarm left on a new usual level, if it ended lately.
    fn new_level(&self, _memory: &Self::Memory) -> Option<NewLevel> {
        None
    }

    /// Returns each column's share of the newest row's score: not negative, summing to 1, or all 0
    /// where nothing stands out.
    ///
    /// # Panics
    /// If the memory has no row yet.
    fn attribution(&self, memory: &Self::Memory) -> Vec<f64>;

    /// Says of an entity's rows, in the order of time, whose scores are usual: those of rows that are
    /// normal and remember none that is not.
    fn usual(&self, normal: &[bool]) -> Vec<bool> {
        normal.to_vec()
    }
}

/// A memory of any kind.
pub struct DynMemory(Box<dyn AnyMemory>);

impl DynMemory {
    /// Returns the memory as that of one kind; nothing where it is of another.
    pub fn of<M: Memory>(&self) -> Option<&M> {
        self.0.as_any().downcast_ref()
    }

    /// Returns the memory as that of a model; one of another kind begins anew.
    fn of_model<S: Sequence>(&mut self, model: &S) -> &mut S::Memory {
        if !self.0.as_any().is::<S::Memory>() {
            *self = Self::from(model.fresh());
        }
        self.0.as_any_mut().downcast_mut().expect("it was made of this type where it was not")
    }

    /// Returns the time of the last row in milliseconds; nothing before the first.
    pub fn time_ms(&self) -> Option<i64> {
        self.0.time_ms()
    }
}

impl<M: Memory> From<M> for DynMemory {
    fn from(memory: M) -> Self {
        Self(Box::new(memory))
    }
}

impl Clone for DynMemory {
    fn clone(&self) -> Self {
        Self(self.0.boxed())
    }
}

impl PartialEq for DynMemory {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(other.0.as_any())
    }
}

impl Debug for DynMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

/// Memories of one kind, by entity.
pub type Memories = BTreeMap<String, DynMemory>;

/// What [`DynMemory`] needs of a [`Memory`] without its type.
trait AnyMemory: Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn boxed(&self) -> Box<dyn AnyMemory>;
    fn equals(&self, other: &dyn Any) -> bool;
    fn time_ms(&self) -> Option<i64>;
    fn to_arrays(&self) -> Arrays;
}

impl<M: Memory> AnyMemory for M {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn boxed(&self) -> Box<dyn AnyMemory> {
        Box::new(self.clone())
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }

    fn time_ms(&self) -> Option<i64> {
        Memory::time_ms(self)
    }

    fn to_arrays(&self) -> Arrays {
        Record::to_arrays(self)
    }
}

/// A [`Sequence`] of any kind: its methods are those of [`Sequence`].
#[allow(missing_docs, reason = "the methods of `Sequence` say what they do")]
pub trait DynSequence: Debug + Send + Sync {
    fn kind(&self) -> &'static str;
    fn records(&self) -> &'static str;
    fn tensors(&self) -> Tensors;
    fn columns(&self) -> usize;
    fn is_ratio_scaled(&self) -> bool;
    fn fresh(&self) -> DynMemory;
    fn step(&self, memory: &mut DynMemory, time_ms: i64, values: &[f64]) -> Step;
    fn judged(&self, memory: &mut DynMemory, alarmed: bool);
    fn notices(&self, memory: &DynMemory) -> Notices;
    fn new_level(&self, memory: &DynMemory) -> Option<NewLevel>;
    fn attribution(&self, memory: &DynMemory) -> Vec<f64>;
    fn usual(&self, normal: &[bool]) -> Vec<bool>;
}

impl<S: Sequence> DynSequence for S {
    fn kind(&self) -> &'static str {
        S::KIND
    }

    fn records(&self) -> &'static str {
        S::RECORDS
    }

    fn tensors(&self) -> Tensors {
        Sequence::tensors(self)
    }

    fn columns(&self) -> usize {
        Sequence::columns(self)
    }

    fn is_ratio_scaled(&self) -> bool {
        Sequence::is_ratio_scaled(self)
    }

    fn fresh(&self) -> DynMemory {
        Sequence::fresh(self).into()
    }

    fn step(&self, memory: &mut DynMemory, time_ms: i64, values: &[f64]) -> Step {
        Sequence::step(self, memory.of_model(self), time_ms, values)
    }

    fn judged(&self, memory: &mut DynMemory, alarmed: bool) {
        Sequence::judged(self, memory.of_model(self), alarmed);
    }

    fn notices(&self, memory: &DynMemory) -> Notices {
        memory.of().map(|memory| Sequence::notices(self, memory)).unwrap_or_default()
    }

    fn new_level(&self, memory: &DynMemory) -> Option<NewLevel> {
        Sequence::new_level(self, memory.of()?)
    }

    fn attribution(&self, memory: &DynMemory) -> Vec<f64> {
        memory.of().map(|memory| Sequence::attribution(self, memory)).unwrap_or_default()
    }

    fn usual(&self, normal: &[bool]) -> Vec<bool> {
        Sequence::usual(self, normal)
    }
}

/// Scores of the training rows, and the state at their end, by entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Training<M> {
    /// Scores of the training rows in order of time, each from a model that was fitted without the
    /// row.
    pub scores: BTreeMap<String, Vec<f64>>,
    /// The memory after the last training row.
    pub memories: BTreeMap<String, M>,
}

/// Name of the file in a candidate that holds what fitting saw.
pub const TRAINING_FILE: &str = "training.safetensors";

/// What the metadata of [`TRAINING_FILE`] says that it holds.
const TRAINING_KIND: &str = "training";

impl<M: Memory> Training<M> {
    /// Reads the bytes of [`TRAINING_FILE`]; an invalid file is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, StepError> {
        let read = || -> Result<Self, StepError> {
            let mut tensors = Tensors::decode(TRAINING_KIND, bytes)?;
            let scores = tensors.take_records("scores")?;
            let memories = tensors.take_records("memories")?;
            tensors.finish()?;
            Ok(Self { scores, memories })
        };
        read().map_err(|e| StepError { message: format!("`{TRAINING_FILE}`: {}", e.message), ..e })
    }

    /// Returns the bytes of [`TRAINING_FILE`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, StepError> {
        let mut tensors = Tensors::default();
        tensors.insert_records("scores", &self.scores)?;
        tensors.insert_records("memories", &self.memories)?;
        tensors.encode(TRAINING_KIND)
    }

    /// Returns the same with memories of any kind.
    pub fn of_any_kind(self) -> Training<DynMemory> {
        let memories = self.memories.into_iter();
        let memories = memories.map(|(entity, memory)| (entity, memory.into())).collect();
        Training { scores: self.scores, memories }
    }
}

/// How models of one kind, and their memories, are read.
#[derive(Debug, Clone, Copy)]
pub struct SequenceReader {
    /// [`Sequence::RECORDS`].
    pub records: &'static str,
    /// Reads a model.
    pub model: fn(&mut Tensors) -> Result<Box<dyn DynSequence>, StepError>,
    /// Takes the records of a name.
    pub memories: fn(&str, &mut Tensors) -> Result<Memories, StepError>,
    /// Reads the bytes of [`TRAINING_FILE`].
    pub training: fn(&[u8]) -> Result<Training<DynMemory>, StepError>,
}

impl SequenceReader {
    /// Returns how a kind is read.
    pub const fn of<S: Sequence>() -> Self {
        Self {
            records: S::RECORDS,
            model: |tensors| Ok(Box::new(S::read(tensors)?)),
            memories: |name, tensors| {
                let memories: BTreeMap<String, S::Memory> = tensors.take_records(name)?;
                Ok(memories.into_iter().map(|(entity, it)| (entity, it.into())).collect())
            },
            training: |bytes| Ok(Training::<S::Memory>::parse(bytes)?.of_any_kind()),
        }
    }
}

/// Adds memories to tensors, as the records of a name.
pub fn write(name: &str, memories: &Memories, tensors: &mut Tensors) -> Result<(), StepError> {
    tensors.insert_arrays(name, memories.iter().map(|(entity, it)| (entity, it.0.to_arrays())))
}
