//! The settings of the one-class support vector machine.

use std::ops::Bound::{Excluded, Included};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Scaling;
use crate::ranges::{DetectorSettings, OutOfRange, Ranges, number, search, whole};
use crate::search::Search;

/// A one-class support vector machine with a Gaussian kernel (Schölkopf et al. 2001).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OneClassSvm {
    /// Upper bound of the share of training rows outside the boundary, and lower bound of the share
    /// of support vectors; above 0 and at most 1. A larger value draws the boundary tighter.
    pub nu: f64,
    /// Width of the Gaussian kernel `exp(-gamma |x - y|^2)`, above 0 and at most 1000000; the
    /// default is 1 / number of columns. A larger value follows the training rows more closely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// Largest violation of the optimality conditions at the end, 1e-12 to below 1; smaller is more
    /// exact and slower.
    pub tolerance: f64,
    /// Memory for rows of the kernel matrix, in MiB, 1 or more; more is faster.
    pub cache_mib: u32,
    /// Training rows above which the kernel is approximated, 2 or more; more is more exact, and its
    /// time grows with their square.
    pub max_exact_rows: u32,
    /// How inputs are scaled.
    pub scaling: Scaling,
    /// Searches for better parameters than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
}

impl Default for OneClassSvm {
    fn default() -> Self {
        Self {
            nu: 0.05,
            gamma: None,
            tolerance: 1e-3,
            cache_mib: 16,
            max_exact_rows: 25_000,
            scaling: Scaling::MinMax,
            search: None,
        }
    }
}

impl Ranges for OneClassSvm {
    fn check(&self) -> Result<(), OutOfRange> {
        number("nu", self.nu, (Excluded(0.0), Included(1.0)))?;
        if let Some(gamma) = self.gamma {
            number("gamma", gamma, (Excluded(0.0), Included(1e6)))?;
        }
        number("tolerance", self.tolerance, 1e-12..1.0)?;
        whole("cache_mib", self.cache_mib, 1..)?;
        whole("max_exact_rows", self.max_exact_rows, 2..)?;
        search(self.search.as_ref())
    }
}

impl DetectorSettings for OneClassSvm {
    fn search(&self) -> Option<&Search> {
        self.search.as_ref()
    }
}
