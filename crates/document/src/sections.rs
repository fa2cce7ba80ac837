//! Which sections of the document a step reads: the part that its cache key depends on.
//!
//! A step gets the sections that it declares here as a separate struct; reading another section
//! does not compile. The cache key is computed from the struct's fields, so the two cannot differ.

use std::path::Path;

use contract::rules::Vote;
use contract::{Span, Stage, StepError, artifact};
use detectors::settings::Models;

use crate::Document;
use crate::alerts::Alerts;
use crate::classify::{Classify, Task};
use crate::collect::Collect as CollectSettings;
use crate::document::{Deployment, Gate, Labels, Split};
use crate::expectations::Expectation;
use crate::features::{FeatureRule, Fill};
use crate::least::Least;
use crate::scoring::Scoring;
use crate::shards::Shards;
use crate::sinks::Sink;
use crate::sources::{SampleColumn, Source, patterns_of_present};

type Map<T> = std::collections::BTreeMap<String, T>;

/// Declares what each step reads: sections of the document, and after `beside` a value that only
/// affects error messages and is not part of the key.
///
/// A step with `(columns)` also reads the columns, which are computed from the sources. A step with
/// `by task` depends on the task, and also reads `task` and `classify`.
macro_rules! sections {
    ($($stage:ident $(($columns:ident))? $(by $task:ident)? {
        $($section:ident: $section_type:ty,)*
        $(; beside $beside:ident: $beside_type:ty)?
    })*) => {
        $(
            #[doc = concat!("What `", stringify!($stage), "` reads of a document.")]
            #[derive(Debug, Clone, PartialEq)]
            pub struct $stage {
                $(
                    /// The columns of the samples; computed from the sources, without their
                    /// servers.
                    pub $columns: Vec<SampleColumn>,
                )?
                $(
                    /// How much data a training needs: for errors, which are not cached.
                    pub $beside: $beside_type,
                )?
                $(
                    /// The section `task`.
                    pub $task: Task,
                    /// The section `classify`.
                    pub classify: Option<Classify>,
                )?
                $(
                    #[doc = concat!("The section `", stringify!($section), "`.")]
                    pub $section: $section_type,
                )*
            }

            impl $stage {
                /// Names of the sections.
                pub const NAMES: &'static [&'static str] =
                    &[
                        $(stringify!($columns),)?
                        $(stringify!($task), "classify",)?
                        $(stringify!($section),)*
                    ];

                /// Reads a document and keeps the sections of the step.
                ///
                /// Errors are usage errors that name file, line, column and field.
                pub fn read(path: &Path) -> Result<Self, StepError> {
                    crate::read(path).map(Self::from)
                }
                $(
                    /// Returns column patterns without those that match only queries without data:
                    /// `present` are the existing columns, or their features.
                    pub fn patterns_of_present(
                        &self,
                        patterns: &[String],
                        present: &[&str],
                    ) -> Vec<String> {
                        patterns_of_present(&self.$columns, patterns, present)
                    }
                )?
                $(
                    /// Returns the settings of `task: classify`; `None` for another task.
                    pub fn classification(&self) -> Option<&Classify> {
                        self.$task.classification(self.classify.as_ref())
                    }
                )?
            }

            impl From<Document> for $stage {
                fn from(document: Document) -> Self {
                    Self {
                        $($columns: document.$columns(),)?
                        $($beside: document.$beside(),)?
                        $($task: document.$task, classify: document.classify,)?
                        $($section: document.$section,)*
                    }
                }
            }
        )*

        /// Returns the names of the sections a stage reads; `columns` is computed from `sources`.
        pub fn names(stage: Stage) -> &'static [&'static str] {
            match stage {
                $(Stage::$stage => $stage::NAMES,)*
            }
        }
    };
}

sections! {
    Collect(columns) {
        name: String,
        step: Span,
        range: Span,
        rate_window: Span,
        sources: Map<Source>,
        collect: CollectSettings,
        features: Vec<FeatureRule>,
        fill: Fill,
        scoring: Scoring,
        deployment: Deployment,
        shards: Shards,
        ; beside least: Least
    }
    Label {
        labels: Labels,
    }
    Feature(columns) {
        step: Span,
        labels: Labels,
        fill: Fill,
        features: Vec<FeatureRule>,
    }
    Validate(columns) by task {
        step: Span,
        labels: Labels,
        expectations: Vec<Expectation>,
        split: Split,
        models: Models,
        ; beside least: Least
    }
    Train by task {
        step: Span,
        labels: Labels,
        models: Models,
    }
    Select by task {
        name: String,
        labels: Labels,
        models: Models,
        vote: Vote,
    }
    Deploy by task {
        name: String,
        labels: Labels,
        vote: Vote,
        gate: Gate,
        deployment: Deployment,
        shards: Shards,
    }
    Score by task {
        name: String,
        step: Span,
        deployment: Deployment,
        scoring: Scoring,
        shards: Shards,
    }
    Alert {
        name: String,
        step: Span,
        sources: Map<Source>,
        scoring: Scoring,
        alerts: Alerts,
    }
    Export {
        name: String,
        step: Span,
        scoring: Scoring,
        exports: Map<Sink>,
    }
    Report(columns) by task {
        name: String,
        description: String,
        step: Span,
        labels: Labels,
        vote: Vote,
        deployment: Deployment,
        scoring: Scoring,
        alerts: Alerts,
    }
}

impl Select {
    /// Returns every kind of model that the task trains, in the order of their names.
    pub fn trained(&self) -> Vec<&'static str> {
        self.task.trained(&self.models, self.classify.as_ref())
    }
}

/// Returns the hash of the sections a stage reads; `train` reads only the model that it fits, and
/// `validate` only the kinds that are set.
///
/// Documents with the same hash are equivalent for that stage.
pub fn sha256(document: &Document, stage: Stage, model: Option<&str>) -> Result<String, StepError> {
    let bug =
        |e: serde_json::Error| StepError::bug(format!("cannot write the document as JSON: {e}"));
    let mut value = serde_json::to_value(document).map_err(bug)?;
    value["columns"] = serde_json::to_value(document.columns()).map_err(bug)?;
    let mut kept = serde_json::Map::new();
    for name in names(stage) {
        if let Some(section) = value.get_mut(*name) {
            kept.insert((*name).to_owned(), section.take());
        }
    }
    if let Some(serde_json::Value::Object(models)) = kept.get_mut("models") {
        models.retain(|kind, _| model.is_none_or(|model| kind == model));
        if stage == Stage::Validate {
            models.values_mut().for_each(|settings| *settings = serde_json::Value::Null);
        }
    }
    Ok(artifact::sha256(&serde_json::to_vec(&kept).map_err(bug)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_section_is_one_of_the_document() {
        let schema = crate::schema();
        let sections = schema["properties"].as_object().unwrap();
        for name in [names(Stage::Collect), names(Stage::Report), names(Stage::Train)].concat() {
            assert!(sections.contains_key(name) || name == "columns", "{name}");
        }
    }

    #[test]
    fn cache_key_of_a_step_depends_only_on_its_inputs() {
        let document = |rest: &str| {
            let text = format!(
                "{{format: 1, name: w, step: 1m, range: 1d, sources: {{t: {{table: {{path: t, time: t}}}}}}, \
                 features: [raw], models: {{z_score: {{}}}}, {rest}}}"
            );
            crate::parse("test", &text).unwrap()
        };
        let vote = "vote: {combine: votes, threshold: {quantile: {share: 0.9}}}";
        let [before, after] = [vote.to_owned(), format!("{vote}, split: {{test: 0.3}}")];
        let hash = |text: &str, stage| sha256(&document(text), stage, None).unwrap();
        for (stage, is_same) in
            [(Stage::Collect, true), (Stage::Select, true), (Stage::Validate, false)]
        {
            assert_eq!(hash(&before, stage) == hash(&after, stage), is_same, "{stage}");
        }
    }
}
