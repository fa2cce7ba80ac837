//! The recent scores of one entity.

use std::collections::VecDeque;

use contract::tensors::{Arrays, Numbers, Record};
use contract::{StepError, Timestamp};

/// Times in milliseconds and scores, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Recent(pub(crate) VecDeque<(i64, f64)>);

impl Recent {
    /// Returns whether the newest score is later than `time`.
    pub(crate) fn is_after(&self, time: Timestamp) -> bool {
        self.0.back().is_some_and(|(last, _)| *last > time.ms())
    }
}

impl Record for Recent {
    fn to_arrays(&self) -> Arrays {
        let (times, scores) = self.0.iter().copied().unzip();
        Arrays::default().with("times_ms", Numbers::I64(times)).with("scores", Numbers::F64(scores))
    }

    fn from_arrays(arrays: &mut Arrays) -> Result<Self, StepError> {
        let times = arrays.take_i64("times_ms")?;
        Ok(Self(times.into_iter().zip(arrays.take_f64("scores")?).collect()))
    }
}
