//! Parameters that are checked before anything is fitted.

use linfa::ParamGuard;

use crate::fit::FitError;
use crate::ranges::Ranges;

/// Unchecked parameters; [`ParamGuard`] refuses those that are out of range.
#[derive(Debug, Clone, PartialEq)]
pub struct Unchecked<P>(pub(crate) P);

impl<P: Ranges> ParamGuard for Unchecked<P> {
    type Checked = P;
    type Error = FitError;

    fn check_ref(&self) -> Result<&P, FitError> {
        self.0.check()?;
        Ok(&self.0)
    }

    fn check(self) -> Result<P, FitError> {
        self.0.check()?;
        Ok(self.0)
    }
}
