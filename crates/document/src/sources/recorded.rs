//! The settings of the source `recorded`.

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{ColumnValues, SampleColumn};
use super::{Source, SourceKind, check_column};
use crate::extension::Extension;
use crate::problem::{Problem, is_name, require};

/// Samples that `collect --follow` or an agent recorded in the store, under
/// `samples/<pipeline>/<source>/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordedSource {
    /// Pipeline that recorded the samples.
    pub pipeline: String,
    /// Name of the source in that pipeline.
    pub source: String,
    /// The columns to read.
    pub columns: Vec<RecordedColumn>,
}

/// A column of recorded samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordedColumn {
    /// Its name.
    pub name: String,
    /// Unit of its values.
    #[serde(default)]
    pub unit: String,
}

impl Extension for RecordedSource {
    fn name(&self) -> &'static str {
        "recorded"
    }

    fn check(&self) -> Result<(), Problem> {
        for (field, name, joiner) in
            [("pipeline", &self.pipeline, '-'), ("source", &self.source, '_')]
        {
            require(is_name(name, joiner), field, || {
                format!("`{name}` is not the name of a {field}")
            })?;
        }
        require(!self.columns.is_empty(), "columns", || "is empty".to_owned())?;
        for (index, column) in self.columns.iter().enumerate() {
            check_column(&column.name, &format!("columns.{index}.name"))?;
        }
        Ok(())
    }
}

impl SourceKind for RecordedSource {
    fn columns(&self, _: &Source, _: Span) -> Vec<SampleColumn> {
        let of = |column: &RecordedColumn| SampleColumn {
            name: column.name.clone(),
            unit: column.unit.clone(),
            formula: format!("{}/{}/{}", self.pipeline, self.source, column.name),
            is_promql: false,
            is_asked: false,
            is_required: true,
            values: ColumnValues::Numbers,
            entity: Some("entity".to_owned()),
        };
        self.columns.iter().map(of).collect()
    }

    fn is_recorded(&self) -> bool {
        true
    }
}
