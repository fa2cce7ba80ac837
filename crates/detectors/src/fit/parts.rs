//! The rows that a model of the order of time is fitted on, read once per pass.

use contract::{Span, Timestamp};
use ndarray::ArrayView2;

use crate::fit::FitError;

/// Rows in the order of time, in parts, so that they do not have to be in memory together.
pub trait Rows: Sync {
    /// Returns the distance between the rows of an entity.
    fn step(&self) -> Span;

    /// Calls `each` with the parts in order; every call passes the same parts.
    fn for_each_part(
        &self,
        each: &mut dyn FnMut(&Part<'_>) -> Result<(), FitError>,
    ) -> Result<(), FitError>;
}

/// Consecutive rows; every slice has one item per row.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// End of each row's window.
    pub times: &'a [Timestamp],
    /// Index of each row's entity in `names`.
    pub entities: &'a [u32],
    /// Names of entities; other parts may have other names.
    pub names: &'a [String],
    /// Returns which rows count as normal. The others update the state, as in scoring, but are not
    /// used for fitting.
    pub normal: &'a [bool],
    /// The features, of shape (rows, columns); a gap is `NaN`.
    pub values: ArrayView2<'a, f64>,
}

impl<R: Rows + ?Sized> Rows for &R {
    fn step(&self) -> Span {
        (**self).step()
    }

    fn for_each_part(
        &self,
        each: &mut dyn FnMut(&Part<'_>) -> Result<(), FitError>,
    ) -> Result<(), FitError> {
        (**self).for_each_part(each)
    }
}
