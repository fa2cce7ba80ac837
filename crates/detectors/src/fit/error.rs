//! Why a model could not be fitted.

use contract::{SYSTEM_HINT, StepError};
use thiserror::Error;

use crate::ranges::OutOfRange;

/// Why a model could not be fitted.
#[derive(Debug, Error)]
pub enum FitError {
    /// A parameter is outside of its range.
    #[error(transparent)]
    Parameter(#[from] OutOfRange),
    /// There is too little to learn from.
    #[error("{found} rows to fit on, needed are {needed}")]
    TooFewRows {
        /// Rows there are.
        found: usize,
        /// Number of rows.
        needed: usize,
    },
    /// The rows have no columns.
    #[error("the rows have no features")]
    NoColumns,
    /// No column of the rows holds a value.
    #[error("every feature of every row is a gap")]
    NoValues,
    /// There are too few classes, or too many.
    #[error("the labelled rows are of {found} classes, needed are 2 to 100")]
    Classes {
        /// Classes there are.
        found: usize,
    },
    /// All classes are normal, or none is.
    #[error("the labelled rows are all normal, or none is")]
    OneSided,
    /// The covariance cannot be inverted.
    #[error("the covariance of the features cannot be inverted")]
    Singular,
    /// Training diverged.
    #[error("the loss is not finite after epoch {epoch}")]
    Diverged {
        /// Passes over the rows until then.
        epoch: u32,
    },
    /// The fitted parameters do not make a model.
    #[error("{0}")]
    Model(StepError),
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// Threads could not be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A function of linfa failed.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}

impl FitError {
    /// Turns it into the step's error; `kind` is the model that was fitted.
    pub fn of_model(self, kind: &str) -> StepError {
        let message = format!("cannot fit `{kind}`: {self}");
        match self {
            Self::Parameter(OutOfRange { field, .. }) => StepError::usage(message)
                .hint(format!("set `models.{kind}.{field}` in the document")),
            Self::TooFewRows { .. } => StepError::refused(message)
                .hint("use a longer `range`, or smaller `split.validation` and `split.test`"),
            Self::NoColumns | Self::NoValues => {
                StepError::refused(message).hint("check `features` and `fill` of the document")
            }
            Self::Classes { .. } | Self::OneSided => StepError::refused(message)
                .hint("use a `range` with more scenarios, and check `labels.normal`"),
            Self::Singular => {
                StepError::refused(message).hint(format!("raise `models.{kind}.ridge`"))
            }
            Self::Diverged { .. } => {
                StepError::refused(message).hint(format!("lower `models.{kind}.learning_rate`"))
            }
            Self::Model(error) => {
                StepError { message: format!("cannot fit `{kind}`: {}", error.message), ..error }
            }
            Self::Threads(_) => StepError::unavailable(message).hint(SYSTEM_HINT),
            Self::Tensor(_) | Self::Linfa(_) => StepError::bug(message),
        }
    }
}
