//! Parameters that are checked before anything is fitted.

use linfa::ParamGuard;

use crate::fit::FitError;
use crate::ranges::Ranges;

/// Checked parameters of a fit: the settings of a kind in a document, and what else it uses besides
/// the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidParams<S, E = ()> {
    pub(crate) settings: S,
    pub(crate) extra: E,
}

/// Unchecked parameters; [`ParamGuard`] refuses settings that are out of range.
#[derive(Debug, Clone, PartialEq)]
pub struct Params<S, E = ()>(ValidParams<S, E>);

impl<S, E> Params<S, E> {
    /// Takes the settings, and what else the kind uses.
    pub fn new(settings: S, extra: E) -> Self {
        Self(ValidParams { settings, extra })
    }
}

impl<S> From<S> for Params<S> {
    fn from(settings: S) -> Self {
        Self::new(settings, ())
    }
}

impl<S: Ranges, E> ParamGuard for Params<S, E> {
    type Checked = ValidParams<S, E>;
    type Error = FitError;

    fn check_ref(&self) -> Result<&Self::Checked, FitError> {
        self.0.settings.check()?;
        Ok(&self.0)
    }

    fn check(self) -> Result<Self::Checked, FitError> {
        self.0.settings.check()?;
        Ok(self.0)
    }
}
