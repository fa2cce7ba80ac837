//! Settings of `task: classify`: classes, models, split, evidence, bounds, gate, allow list.

use std::collections::BTreeMap;

use contract::{DetectorKind, Span};
use detectors::ranges::{DetectorSettings, OutOfRange};
use detectors::settings::{DecisionTree, GradientBoosting, RandomForest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is found out about each window or entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Whether a window is unusual. Uses the sections `models`, `vote`, `gate`, `labels` and
    /// `split`.
    #[default]
    Anomaly,
    /// Which class an entity has. Uses the section `classify`.
    Classify,
}

impl Task {
    /// Returns the settings of `task: classify`; `None` for another task.
    pub(crate) fn classification(self, settings: Option<&Classify>) -> Option<&Classify> {
        match self {
            Self::Anomaly => None,
            Self::Classify => settings,
        }
    }

    /// Returns every kind of model that the task trains, in the order of their names.
    pub(crate) fn trained(
        self,
        models: &detectors::settings::Models,
        settings: Option<&Classify>,
    ) -> Vec<&'static str> {
        match self {
            Self::Anomaly => models.trained(),
            Self::Classify => settings.map(|classify| classify.models.kinds()).unwrap_or_default(),
        }
    }

    /// Returns whether it is the default.
    pub fn is_anomaly(&self) -> bool {
        *self == Self::Anomaly
    }
}

/// Settings of `task: classify`.
///
/// The class of an entity is learned from a declaration: the label column of a table, or a text
/// such as the name of its image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Classify {
    /// The classes, each with the words or whole names that mean it in a declared text, without
    /// regard to case. An empty list means the name of the class itself. Without this field each
    /// declared text is a class.
    pub classes: BTreeMap<String, Vec<String>>,
    /// How entities are split into those for fitting and those that are left out for metrics.
    pub split: EntitySplit,
    /// The models. The one that is best on left-out entities is used.
    pub models: ClassModels,
    /// How the evidence of an entity accumulates over its windows.
    pub evidence: Evidence,
    /// When an entity is called `unknown`.
    pub unknown: UnknownBounds,
    /// Conditions under which a new version is promoted.
    pub gate: ClassGate,
    /// Entities whose behaviour may differ from their declared class: they cause no mismatch alert.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Allowed>,
}

/// How entities are split, repeatedly, into those for fitting and those that are left out for
/// metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EntitySplit {
    /// What is kept together, because rows of an entity are similar for other reasons than its
    /// class.
    pub by: SplitBy,
    /// Share of the entities of each class that is used for fitting, 0.1 to 0.95. At least one
    /// entity of each class is left out, if the class has two.
    pub ratio: f64,
    /// Repetitions of the split, 2 to 200. With more repetitions the metrics vary less, and the
    /// training takes longer.
    pub iterations: u32,
    /// Most rows of one entity that are used for fitting, evenly spaced over its time; 1 or more.
    pub max_rows_per_entity: u32,
    /// Points of the learning curve, 0 to 20; 0 leaves it out.
    pub learning_curve: u32,
}

impl Default for EntitySplit {
    fn default() -> Self {
        Self {
            by: SplitBy::Entity,
            ratio: 0.7,
            iterations: 20,
            max_rows_per_entity: 60,
            learning_curve: 5,
        }
    }
}

/// What a split keeps together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// All rows of an entity. There is no split by row, because every model would look perfect with
    /// it.
    Entity,
}

/// The models of `task: classify`; at least one is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassModels {
    /// One tree: the simplest model, drawn on the report page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_tree: Option<DecisionTree>,
    /// Trees that each correct the trees before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_boosting: Option<GradientBoosting>,
    /// Many trees, each fitted on rows that are drawn with replacement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_forest: Option<RandomForest>,
}

impl ClassModels {
    /// Returns the settings that are set, in the order of the names of their kinds.
    pub(crate) fn settings(&self) -> Vec<(DetectorKind, &dyn DetectorSettings)> {
        fn of<T: DetectorSettings>(
            kind: DetectorKind,
            settings: Option<&T>,
        ) -> Option<(DetectorKind, &dyn DetectorSettings)> {
            settings.map(|settings| (kind, settings as &dyn DetectorSettings))
        }
        let all = [
            of(DetectorKind::DecisionTree, self.decision_tree.as_ref()),
            of(DetectorKind::GradientBoosting, self.gradient_boosting.as_ref()),
            of(DetectorKind::RandomForest, self.random_forest.as_ref()),
        ];
        all.into_iter().flatten().collect()
    }

    /// Returns the kinds that are set, in the order of their names.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.settings().into_iter().map(|(kind, _)| kind.name()).collect()
    }
}

/// How the evidence of an entity accumulates: the log-probabilities of its windows are summed, with
/// less weight for older windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// Number of windows that an entity needs, 1 or more. With fewer it is `unknown (too little
    /// data)`.
    pub min_windows: u32,
    /// Time after which the evidence of a window has half its weight. With a longer time classes
    /// change less often. With a shorter time a changed behaviour shows sooner.
    pub half_life: Span,
    /// Time after an entity's first window in which it may stay `unknown (too little data)`.
    pub deadline: Span,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            min_windows: 3,
            half_life: Span::from_seconds(120),
            deadline: Span::from_seconds(120),
        }
    }
}

/// When an entity is called `unknown`. The limits are chosen on left-out entities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UnknownBounds {
    /// Share of left-out entities that may get a wrong class, above 0 and below 1. The lowest
    /// probability limit that keeps this share is used.
    pub max_wrong_ratio: f64,
    /// Share of correctly classified left-out entities that may be called `unknown` because they
    /// are unlike their class, 0 to 0.5. With 0 there is no limit: an entity that is like no class
    /// gets the nearest class.
    pub unlike_ratio: f64,
}

impl Default for UnknownBounds {
    fn default() -> Self {
        Self { max_wrong_ratio: 0.02, unlike_ratio: 0.02 }
    }
}

/// Conditions under which a new version replaces the live one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassGate {
    /// Balanced accuracy of left-out entities that a version must reach, 0 to 1.
    pub min_balanced_accuracy: f64,
    /// How much lower than that of the champion it may be, 0 to 1.
    pub max_regression: f64,
}

impl Default for ClassGate {
    fn default() -> Self {
        Self { min_balanced_accuracy: 0.8, max_regression: 0.02 }
    }
}

/// An entity whose class may differ from the declared one. A field that is not set matches
/// everything.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Allowed {
    /// Name of the entity; `*` at its end matches any ending.
    pub entity: String,
    /// The class it declares.
    pub declared: String,
    /// The class that it may have; `unknown` is allowed, too.
    pub class: String,
}

impl Allowed {
    /// Returns whether it allows an entity to have another class than its declared one.
    pub fn fits(&self, entity: &str, declared: &str, class: &str) -> bool {
        let name = match self.entity.strip_suffix('*') {
            Some(beginning) => entity.starts_with(beginning),
            None => self.entity.is_empty() || self.entity == entity,
        };
        name && (self.declared.is_empty() || self.declared == declared)
            && (self.class.is_empty() || self.class == class)
    }
}

/// Last words of column names that mark identifiers, not measurements.
const IDENTIFIERS: [&str; 20] = [
    "address",
    "addr",
    "container",
    "digest",
    "hash",
    "host",
    "hostname",
    "id",
    "image",
    "instance",
    "ip",
    "label",
    "mac",
    "name",
    "namespace",
    "node",
    "pod",
    "uid",
    "url",
    "uuid",
];

/// Returns whether a column identifies an entity rather than measures it: its last word is `name`,
/// `id`, `hash`, `ip`, `namespace`, `pod` or the like. A model that uses such a column learns the
/// identity of entities.
pub fn is_identifier(column: &str) -> bool {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for c in column.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && lower_before) {
            words.push(String::new());
        }
        lower_before = c.is_lowercase();
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
    }
    let last = words.iter().rev().find(|word| !word.is_empty());
    last.is_some_and(|word| IDENTIFIERS.contains(&word.as_str()))
}

impl ClassModels {
    /// Returns the first kind of model with a parameter that is not what it may be.
    pub(crate) fn check_ranges(&self) -> Result<(), (&'static str, OutOfRange)> {
        for (kind, settings) in self.settings() {
            settings.check().map_err(|error| (kind.name(), error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hashes_and_addresses_are_identifiers_and_sizes_are_not() {
        for column in ["podName", "namespace", "pod", "container_id", "sourceIP", "image", "src_ip"]
        {
            assert!(is_identifier(column), "{column}");
        }
        for column in ["image_size_bytes", "memoryUsageBytes", "container_processes", "threads"] {
            assert!(!is_identifier(column), "{column}");
        }
    }

    #[test]
    fn an_allowed_entity_may_be_named_by_its_beginning() {
        let allowed =
            Allowed { entity: "web-*".into(), class: "redis".into(), ..Default::default() };
        assert!(allowed.fits("web-1", "nginx", "redis"));
        assert!(
            !allowed.fits("db-1", "nginx", "redis") && !allowed.fits("web-1", "nginx", "mysql")
        );
    }
}
