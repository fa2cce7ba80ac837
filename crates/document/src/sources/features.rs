//! The settings of the source `features`.

use contract::Span;
use contract::catalog::is_group;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{ColumnValues, SampleColumn};
use super::{Source, SourceKind, check_column};
use crate::extension::Extension;
use crate::problem::{Problem, require};

/// A feature group of the catalogue, which `lynceus features publish` has written into the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeaturesSource {
    /// Name of the group.
    pub group: String,
    /// Version of the group, 1 or more. The meaning of its features never changes.
    pub version: u32,
    /// Greatest age of a row that is joined to a window: the entity's last row in `(window end -
    /// ttl, window end]` is used, never a later one. With 0 only rows at the window's end are used.
    /// It replaces `tolerance` of the source.
    #[serde(default)]
    pub ttl: Span,
    /// Features to read; empty means all, which requires that this is the only source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Whether the labels of the rows are read, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub labels: bool,
}

impl Extension for FeaturesSource {
    fn name(&self) -> &'static str {
        "features"
    }

    fn check(&self) -> Result<(), Problem> {
        require(is_group(&self.group), "group", || {
            format!(
                "`{}` is not the name of a feature group: lower-case letters, digits, `-` and `_`",
                self.group
            )
        })?;
        require(self.version > 0, "version", || "must be 1 or greater".to_owned())?;
        require(self.ttl >= Span::ZERO, "ttl", || "must be 0s or longer".to_owned())?;
        for (index, name) in self.columns.iter().enumerate() {
            check_column(name, &format!("columns.{index}"))?;
        }
        Ok(())
    }
}

impl SourceKind for FeaturesSource {
    fn has_label(&self) -> bool {
        self.labels
    }

    fn columns(&self, _: &Source, _: Span) -> Vec<SampleColumn> {
        let of = |name: &String| SampleColumn {
            name: name.clone(),
            unit: String::new(),
            formula: format!("{}/{}/{name}", self.group, self.version),
            is_promql: false,
            is_asked: false,
            is_required: true,
            values: ColumnValues::Numbers,
            entity: Some("entity".to_owned()),
        };
        self.columns.iter().map(of).collect()
    }

    fn has_other_columns(&self) -> bool {
        self.columns.is_empty()
    }

    fn is_recorded(&self) -> bool {
        true
    }

    fn ttl(&self) -> Option<Span> {
        Some(self.ttl)
    }
}
