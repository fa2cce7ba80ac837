//! Follows the slow drift of each signal, and scores how unlikely the departures of all signals are
//! together.
//!
//! Each column is scaled by its training mean and deviation. Its usual level and variance are
//! exponentially weighted moving averages (EWMA; Roberts: Control Chart Tests Based on Geometric
//! Moving Averages, 1959) with half-lives of hours. Innovations are clipped (winsorised; Huber:
//! Robust Statistics, 1981) before the averages learn from them. The inputs of the score are the
//! departures from the averages, and their means and deviations over short trailing windows; the
//! score is a mean of two squared distances ([`Distance`]). A second, shorter score opens a gate
//! for alarms while the newest rows themselves are unusual, so that an alarm ends with the event,
//! and not only when the event has left the longest window. The short score also bounds the score:
//! longer windows raise it above the short score by no more than is usual in training. A row at
//! least as far from usual as the furthest rows of training is scored by its distance from those,
//! if that is shorter ([`Extremes`]). An open alarm lasts only while the newest rows are unusual
//! without any window, on average ([`Sequence::judged`]): a hysteresis.
//!
//! The model scores the rows of each entity in order of time; the state of one entity is a
//! [`Memory`]. A lasting change is learned within a day: then its alarm ends, and
//! [`Memory::new_level`] returns the columns with a new level. A slow change is learned, too, so
//! [`Memory::drifting`] returns the columns whose usual level has moved far.

mod distance;
mod extremes;
#[cfg(feature = "fit")]
pub mod fit;
mod last_alarm;
mod memory;
mod own;
pub mod settings;
mod spikes;
mod stored;

use std::collections::VecDeque;

use contract::{StepError, Tensors};

pub use distance::Distance;
pub use extremes::{Extremes, MOST_EXTREMES, single, size};
pub use memory::{Following, MOST_CARRIED_ROWS, MOST_WINDOW_ROWS, MOST_WINDOWS, Memory};
pub use own::Usual;

use crate::detector::{Reader, shares};
use crate::sequence::{NewLevel, Notices, Sequence, SequenceReader, Step};

/// How the kind is read.
pub(crate) const READER: Reader = Reader::Sequence(SequenceReader::of::<Adaptive>());

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Adaptive {
    following: Following,
    long: Long,
    short: Gate,
    level: Option<Gate>,
}

/// The score over the windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Long {
    /// Makes the score.
    pub distance: Distance,
    /// Largest difference between the score and the highest short score of the newest rows;
    /// infinite in bundles of earlier versions.
    pub most_above_short: f64,
    /// The extreme rows of training, which reduce the score of rows like them.
    pub extremes: Extremes,
}

/// A score of the newest rows, with the threshold above which they are unusual.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Makes the score.
    pub distance: Distance,
    /// Score above which a row is unusual.
    pub threshold: f64,
}

impl Gate {
    /// Returns whether one of the scores is unusual.
    fn is_open(&self, scores: &VecDeque<f64>) -> bool {
        scores.iter().any(|score| *score > self.threshold)
    }

    /// Returns whether the scores, oldest first, are unusual on average: the newest of n has weight
    /// n, the one before it n - 1, and so on (a linearly weighted moving average).
    fn is_open_on_average(&self, scores: &VecDeque<f64>) -> bool {
        let weighted =
            (1..).zip(scores).map(|(weight, score)| f64::from(weight) * (score - self.threshold));
        weighted.sum::<f64>() > 0.0
    }

    fn write(&self, names: &GateNames, tensors: &mut Tensors) {
        self.distance.write(names.prefix, tensors);
        tensors.insert_f64(names.threshold, &[1], vec![self.threshold]);
    }

    fn read(names: &GateNames, features: usize, tensors: &mut Tensors) -> Result<Self, StepError> {
        let distance = Distance::read(names.prefix, features, tensors)?;
        Ok(Self { distance, threshold: tensors.take_number(names.threshold)? })
    }
}

/// Name of the tensor of the bound, and how the names of the tensors of extremes begin.
const MOST_ABOVE_SHORT: &str = "most_above_short";
const EXTREMES: &str = "extremes";

/// Names of the tensors of a gate.
struct GateNames {
    /// How those of the distance begin.
    prefix: &'static str,
    threshold: &'static str,
}

const SHORT: GateNames = GateNames { prefix: "short", threshold: "gate_threshold" };
const LEVEL: GateNames = GateNames { prefix: "level", threshold: "level_threshold" };

impl Adaptive {
    /// Makes the model; the distances must be over the features of the windows, those of the gate,
    /// and, for `level`, no window. `level` is set if [`Following::stay_rows`] is not 0.
    /// [`Long::most_above_short`] bounds the score: it exceeds the highest short score of the newest
    /// [`Following::gate_rows`] rows by at most this value.
    pub fn new(
        following: Following,
        long: Long,
        short: Gate,
        level: Option<Gate>,
    ) -> Result<Self, StepError> {
        let features = [&following.windows, &following.gate_windows];
        let features = features.map(|windows| following.features(windows));
        let fits = |level: &Gate| level.distance.features() == following.columns();
        if features != [long.distance.features(), short.distance.features()]
            || !level.as_ref().is_none_or(fits)
            || level.is_some() != (following.stay_rows > 0)
        {
            return Err(StepError::bug("the distances are not over the features of the windows"));
        }
        Ok(Self { following, long, short, level })
    }

    /// Returns how signals are followed.
    pub fn following(&self) -> &Following {
        &self.following
    }

    /// Returns the last short score of an entity: that of the gate.
    pub fn short_score(memory: &Memory) -> Option<f64> {
        memory.short_scores.back().copied()
    }

    fn features(&self, memory: &Memory, windows: &[usize]) -> Vec<f64> {
        let mut features = vec![0.0; self.following.features(windows)];
        self.following.write_features(memory, windows, &mut features);
        features
    }
}

impl Sequence for Adaptive {
    type Memory = Memory;

    const KIND: &'static str = "adaptive";
    const RECORDS: &'static str = "memories";

    fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        let following = Following::read(tensors)?;
        let distance = Distance::read("long", following.features(&following.windows), tensors)?;
        let has_bound = tensors.shape(MOST_ABOVE_SHORT).is_some();
        let bound = if has_bound { tensors.take_number(MOST_ABOVE_SHORT)? } else { f64::INFINITY };
        if !(-1e3..=f64::INFINITY).contains(&bound) {
            return Err(StepError::damaged(format!("tensor `{MOST_ABOVE_SHORT}` is out of range")));
        }
        let extremes = Extremes::read(EXTREMES, &distance, tensors)?;
        let long = Long { distance, most_above_short: bound, extremes };
        let short = Gate::read(&SHORT, following.features(&following.gate_windows), tensors)?;
        let level = (following.stay_rows > 0)
            .then(|| Gate::read(&LEVEL, following.columns(), tensors))
            .transpose()?;
        Self::new(following, long, short, level)
    }

    fn tensors(&self) -> Tensors {
        let mut tensors = Tensors::default();
        self.following.write(&mut tensors);
        let Long { distance, most_above_short, extremes } = &self.long;
        distance.write("long", &mut tensors);
        if most_above_short.is_finite() {
            tensors.insert_f64(MOST_ABOVE_SHORT, &[1], vec![*most_above_short]);
        }
        extremes.write(EXTREMES, distance.features(), &mut tensors);
        self.short.write(&SHORT, &mut tensors);
        if let Some(level) = &self.level {
            level.write(&LEVEL, &mut tensors);
        }
        tensors
    }

    fn columns(&self) -> usize {
        self.following.columns()
    }

    fn is_ratio_scaled(&self) -> bool {
        // The score is a logarithm already.
        false
    }

    fn fresh(&self) -> Memory {
        self.following.fresh()
    }

    fn step(&self, memory: &mut Memory, time_ms: i64, values: &[f64]) -> Step {
        let following = &self.following;
        if !following.fits(memory) {
            *memory = following.fresh();
        }
        following.follow(memory, time_ms, values);
        let features = self.features(memory, &following.windows);
        let Long { distance, most_above_short, extremes } = &self.long;
        let long = distance.score(&features);
        let short = self.short.distance.score(&self.features(memory, &following.gate_windows));
        push(&mut memory.short_scores, short, following.gate_rows);
        let highest = memory.short_scores.iter().copied().fold(f64::MIN, f64::max);
        let nearer = extremes.nearer(distance, &features, |_| true);
        let decision = extremes.lowered(long.min(highest + most_above_short), nearer);
        let mut open = self.short.is_open(&memory.short_scores);
        if let Some(level) = &self.level {
            let score = level.distance.score(&self.features(memory, &[]));
            push(&mut memory.level_scores, score, following.stay_rows);
            if memory.alarmed || memory.ended {
                open = level.is_open_on_average(&memory.level_scores);
            }
        }
        Step { decision, open }
    }

    /// An open alarm lasts only while the newest rows are unusual by themselves, on average, because
    /// windows react more slowly. It does not start again because of older rows in the windows: until
    /// the gate has closed once, a new alarm needs rows that are unusual by themselves.
    fn judged(&self, memory: &mut Memory, alarmed: bool) {
        let ended = memory.ended || (memory.alarmed && !alarmed);
        memory.ended =
            self.level.is_some() && ended && !alarmed && self.short.is_open(&memory.short_scores);
        memory.note_alarm(self.level.is_some() && alarmed);
    }

    fn notices(&self, memory: &Memory) -> Notices {
        let missing = self.following.missing(memory);
        Notices { drifting: memory.drifting().to_vec(), missing }
    }

    fn new_level(&self, memory: &Memory) -> Option<NewLevel> {
        memory.new_level()
    }

    /// It is the contribution of the column's departure and its windows to the two distances
    /// ([`Distance::contributions`]); negative contributions count as 0.
    fn attribution(&self, memory: &Memory) -> Vec<f64> {
        let features = self.features(memory, &self.following.windows);
        let parts = self.long.distance.contributions(&features);
        let columns = self.columns();
        let mut sums = vec![0.0; columns];
        for block in parts.chunks_exact(columns) {
            sums.iter_mut().zip(block).for_each(|(sum, part)| *sum += part);
        }
        shares(sums)
    }

    fn usual(&self, normal: &[bool]) -> Vec<bool> {
        self.following.usual(normal.iter().copied())
    }
}

/// Adds a score, and drops the oldest ones beyond this number.
fn push(scores: &mut VecDeque<f64>, score: f64, most: usize) {
    while scores.len() >= most.max(1) {
        scores.pop_front();
    }
    scores.push_back(score);
}
