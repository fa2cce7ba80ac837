//! A bundle of either task, for programs that use the models of any pipeline.

use std::collections::BTreeMap;

use contract::bundle::BundleManifest;
use contract::{FeatureContract, StepError};

use crate::Bundle;
use crate::bundle::manifest_of;
use crate::classify::ClassBundle;

/// A bundle of `task: anomaly` or `task: classify`.
#[derive(Debug)]
pub enum AnyBundle {
    /// Detects anomalous rows.
    Anomaly(Box<Bundle>),
    /// Predicts the class of entities.
    Classify(Box<ClassBundle>),
}

impl AnyBundle {
    /// Reads a bundle from its files by name, as a registry returns them.
    ///
    /// Errors: refused (3) for files that are missing, damaged or of another format.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, StepError> {
        Ok(match manifest_of(files)?.classify {
            None => Self::Anomaly(Box::new(Bundle::from_files(files)?)),
            Some(_) => Self::Classify(Box::new(ClassBundle::from_files(files)?)),
        })
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &BundleManifest {
        match self {
            Self::Anomaly(bundle) => bundle.manifest(),
            Self::Classify(bundle) => bundle.manifest(),
        }
    }

    /// Returns the feature contract.
    pub fn contract(&self) -> &FeatureContract {
        &self.manifest().contract
    }
}
