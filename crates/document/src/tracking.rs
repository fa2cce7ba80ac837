//! The section `tracking`: systems to which trainings are mirrored, in addition to the registry.

use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extension::{Extension, FileUse};
use crate::http::{Http, HttpSettings};
use crate::problem::{Problem, require};

/// Servers into which trainings are mirrored. An unreachable server neither delays a run nor makes
/// it fail: the training is mirrored after the next run, or by `lynceus track sync`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tracking {
    /// A server of `MLflow`, version 2 or 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<Http<Mlflow>>,
    /// A server that accepts `OpenLineage` events, such as `Marquez`. `url` is the complete URL:
    /// `http://marquez:5000/api/v1/lineage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openlineage: Option<Http<OpenLineage>>,
    /// A file to which `OpenLineage` events are appended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openlineage_file: Option<OpenLineageFile>,
}

impl Tracking {
    /// Returns whether trainings are mirrored nowhere.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the extensions that are set.
    pub(crate) fn extensions_mut(&mut self) -> Vec<&mut dyn Extension> {
        let mut set: Vec<&mut dyn Extension> = Vec::new();
        set.extend(self.mlflow.as_mut().map(|it| it as &mut dyn Extension));
        set.extend(self.openlineage.as_mut().map(|it| it as &mut dyn Extension));
        set.extend(self.openlineage_file.as_mut().map(|it| it as &mut dyn Extension));
        set
    }
}

/// Which parts of a training `MLflow` gets, and their names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mlflow {
    /// Name of the experiment; by default that of the pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// Name of the registered model; by default that of the pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether the report, the documents and the model are also stored there.
    pub artifacts: bool,
}

impl Default for Mlflow {
    fn default() -> Self {
        Self { experiment: None, model: None, artifacts: true }
    }
}

impl HttpSettings for Mlflow {
    const NAME: &'static str = "mlflow";
    const TIMEOUT: Span = Span::from_seconds(10);
    const RETRIES: u8 = 1;

    fn check(&self) -> Result<(), Problem> {
        for (field, name) in [("experiment", &self.experiment), ("model", &self.model)] {
            let Some(name) = name else { continue };
            let is_name = !name.is_empty() && name.len() <= 250 && !name.contains(['\'', '/', ':']);
            require(is_name, field, || {
                format!("`{name}` is not a name: 1 to 250 characters without `'`, `/` and `:`")
            })?;
        }
        Ok(())
    }
}

/// Names of jobs in `OpenLineage`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OpenLineage {
    /// Namespace of the jobs.
    pub namespace: String,
}

impl Default for OpenLineage {
    fn default() -> Self {
        Self { namespace: namespace() }
    }
}

fn namespace() -> String {
    "lynceus".to_owned()
}

impl HttpSettings for OpenLineage {
    const NAME: &'static str = "openlineage";
    const TIMEOUT: Span = Span::from_seconds(10);
    const RETRIES: u8 = 1;
}

/// A file of `OpenLineage` events, one per line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenLineageFile {
    /// The file, relative to the document.
    pub path: PathBuf,
    /// Namespace of the jobs.
    #[serde(default = "namespace")]
    pub namespace: String,
}

impl Extension for OpenLineageFile {
    fn name(&self) -> &'static str {
        "openlineage_file"
    }

    fn check(&self) -> Result<(), Problem> {
        require(!self.path.as_os_str().is_empty(), "path", || "is empty".to_owned())
    }

    fn files_mut(&mut self) -> Vec<(FileUse, &mut PathBuf)> {
        vec![(FileUse::Written, &mut self.path)]
    }
}
