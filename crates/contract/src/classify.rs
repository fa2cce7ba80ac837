//! Classes of entities: what `task: classify` says of an entity, and how right it is on entities
//! that were left out of fitting.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Timestamp;
use crate::bundle::FileRecord;

/// What an entity of no known class is called.
pub const UNKNOWN: &str = "unknown";

/// Why an entity is `unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// It was seen in too few windows.
    TooLittleData,
    /// No class is probable enough.
    Unclear,
    /// It is unlike the class that is the most probable of those learned.
    Unlike,
}

impl Unknown {
    /// Returns the number that stands for the reason in a state.
    pub fn code(self) -> u8 {
        match self {
            Self::TooLittleData => 0,
            Self::Unclear => 1,
            Self::Unlike => 2,
        }
    }

    /// Returns the reason that a number stands for; `None` for a number that stands for none.
    pub fn of_code(code: u8) -> Option<Self> {
        let reasons = [Self::TooLittleData, Self::Unclear, Self::Unlike];
        reasons.into_iter().find(|reason| reason.code() == code)
    }

    /// Returns the reason in words, as tables and messages show it.
    pub fn words(self) -> &'static str {
        match self {
            Self::TooLittleData => "too little data",
            Self::Unclear => "no class is probable enough",
            Self::Unlike => "unlike every class",
        }
    }
}

/// The class of an entity, by its windows so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityClass {
    /// The class; absent for `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Why the class is `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<Unknown>,
    /// The most probable class, named or not.
    pub nearest: String,
    /// Probability of the class, or of the nearest class if it is `unknown`, 0 to 1.
    pub probability: f64,
    /// The class that the entity declares, by its image or label; absent where it declares none of
    /// those learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    /// End of the window in which this verdict was reached.
    pub since: Timestamp,
    /// End of the first window in which the entity was seen.
    pub first_seen: Timestamp,
    /// Windows it was seen in.
    pub windows: u32,
    /// Whether the class differs from the declared one, and the allow list does not contain the
    /// entity.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mismatch: bool,
}

impl EntityClass {
    /// Returns the class, or `unknown`.
    pub fn name(&self) -> &str {
        self.class.as_deref().unwrap_or(UNKNOWN)
    }
}

/// Limits above which a class is named, as `select` chose them.
///
/// Other fields are ignored: a bundle of an earlier version has one `distance` of another measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassBounds {
    /// Probability from which a class is named.
    pub probability: f64,
    /// Largest distance from the class's usual ranges at which it is named in the windows before the
    /// deadline, while services read files and fill caches; no limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_distance: Option<f64>,
    /// The same for the windows from the deadline on; no limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_distance: Option<f64>,
    /// Weight of each window of an entity, 0 to 1: neighbouring windows are similar, so each adds
    /// less information than the first.
    pub evidence_weight: f64,
}

/// How the evidence of an entity accumulates over its windows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRule {
    /// Windows an entity needs before it gets a class.
    pub min_windows: u32,
    /// Number of windows after which a window's evidence has half its weight.
    pub half_life_windows: f64,
    /// Number of windows during which an entity without a clear class counts as one with too little
    /// data.
    pub deadline_windows: u32,
}

/// A share with its 95 % interval over the repetitions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Interval {
    /// Mean of the repetitions.
    pub mean: f64,
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

impl Interval {
    /// Sums up repetitions; all 0 without any.
    pub fn of(values: &[f64]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and the number of values"
            )]
            let below = place.floor() as usize;
            let above = (below + 1).min(sorted.len() - 1);
            sorted[below] + (sorted[above] - sorted[below]) * (place - place.floor())
        };
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Self { mean, low: at(0.025), high: at(0.975) }
    }
}

/// Metrics of a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassRecord {
    /// The class.
    pub class: String,
    /// Entities of it that were fitted on.
    pub entities: u64,
    /// Rows of them.
    pub rows: u64,
    /// Precision: share of the left-out entities with this predicted class that have this class.
    pub precision: f64,
    /// Recall: share of the left-out entities of this class that got this class.
    pub recall: f64,
}

/// A point of the learning curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Entities fitted on.
    pub entities: u64,
    /// Balanced accuracy of rows of entities left out.
    pub balanced_accuracy: Interval,
}

/// Importance of a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The feature.
    pub feature: String,
    /// Balanced accuracy that is lost when the feature's values are exchanged between left-out rows.
    pub loss: Interval,
}

/// Metrics of a class model on entities that were left out of fitting, from repeated splits by
/// entity.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClassFigures {
    /// Repetitions of the split.
    pub iterations: u32,
    /// Number of entities.
    pub entities: u64,
    /// Number of rows.
    pub rows: u64,
    /// Share of left-out rows whose most probable class is correct; every class has the same
    /// weight.
    pub row_balanced_accuracy: Interval,
    /// Mean negative logarithm of the probability of the right class of a left-out row.
    pub log_loss: f64,
    /// Share of left-out entities with the correct class after all their windows; every class has
    /// the same weight, and `unknown` counts as wrong.
    pub balanced_accuracy: Interval,
    /// The same without the entities that are `unknown`.
    pub balanced_accuracy_of_named: f64,
    /// Share of left-out entities with a wrong class.
    pub wrong_ratio: f64,
    /// Share of left-out entities that stay `unknown`.
    pub unknown_ratio: f64,
    /// Median number of windows after which the class of a left-out entity was right and stayed right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows_to_right: Option<f64>,
    /// Left-out entities by true class and then by predicted class, over all repetitions.
    pub confusion: BTreeMap<String, BTreeMap<String, u64>>,
    /// Each class, in the order of their names.
    pub classes: Vec<ClassRecord>,
    /// Balanced accuracy by entities fitted on.
    pub learning_curve: Vec<CurvePoint>,
    /// Each feature, the most important first.
    pub importances: Vec<Importance>,
}

/// What a candidate of `task: classify` adds to its manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassCandidate {
    /// The classes, in the order of their names.
    pub classes: Vec<String>,
    /// When a class is named.
    pub bounds: ClassBounds,
    /// Its metrics on entities that were left out.
    pub figures: ClassFigures,
}

/// What a bundle of `task: classify` adds to its manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassManifest {
    /// The classes, in the order of their names: a part of the contract.
    pub classes: Vec<String>,
    /// The words in a declared text that mean each class.
    pub rules: BTreeMap<String, Vec<String>>,
    /// How evidence accumulates.
    pub evidence: EvidenceRule,
    /// When a class is named.
    pub bounds: ClassBounds,
    /// Usual ranges of each class's features.
    pub profiles: FileRecord,
    /// Metrics of the chosen model.
    pub figures: ClassFigures,
    /// Metrics of the other candidates: kind, balanced accuracy, log loss.
    pub candidates: Vec<CandidateFigures>,
    /// The first tree of the decision tree, for the page; absent where none was fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<Value>,
}

/// Metrics of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateFigures {
    /// Kind of model.
    pub kind: String,
    /// Balanced accuracy of left-out entities.
    pub balanced_accuracy: Interval,
    /// Balanced accuracy of left-out rows.
    pub row_balanced_accuracy: Interval,
    /// Log loss of left-out rows.
    pub log_loss: f64,
    /// Share of left-out entities with a wrong class.
    pub wrong_ratio: f64,
    /// Share of left-out entities that stay unknown.
    pub unknown_ratio: f64,
}

/// Returns the class of a declared text: an image name or a label.
///
/// In an image name `registry/path/name:tag@digest` only `name` counts, and its words, which are
/// separated by characters that are neither letters nor digits. A pattern is a name or a word,
/// without regard to case. The longest matching pattern decides. Without rules the text itself is
/// the class.
pub fn declared_class(rules: &BTreeMap<String, Vec<String>>, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    if rules.is_empty() {
        return Some(text.to_owned());
    }
    let text = text.to_lowercase();
    let name = image_name(&text);
    let fits = |pattern: &str| {
        let pattern = pattern.to_lowercase();
        let has_word = name.split(|c: char| !c.is_alphanumeric()).any(|word| word == pattern);
        pattern == text || pattern == name || has_word
    };
    let mut best: Option<(usize, &String)> = None;
    for (class, patterns) in rules {
        let own = [class.clone()];
        let patterns = if patterns.is_empty() { &own[..] } else { patterns };
        for pattern in patterns.iter().filter(|pattern| fits(pattern)) {
            if best.is_none_or(|(length, _)| pattern.len() > length) {
                best = Some((pattern.len(), class));
            }
        }
    }
    best.map(|(_, class)| class.clone())
}

/// Returns the name of an image without registry, path, tag and digest.
fn image_name(text: &str) -> &str {
    let text = text.split('@').next().unwrap_or(text);
    let name = text.rsplit('/').next().unwrap_or(text);
    name.split(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> BTreeMap<String, Vec<String>> {
        let of = |class: &str, patterns: &[&str]| {
            (class.to_owned(), patterns.iter().map(|text| (*text).to_owned()).collect())
        };
        [
            of("mysql", &["mysql", "mariadb"]),
            of("nginx", &[]),
            of("node", &["node", "basket-node"]),
            of("proxy", &["nginx-proxy"]),
        ]
        .into()
    }

    #[test]
    fn image_names_give_the_class_of_the_longest_pattern_that_fits() {
        let class = |text| declared_class(&rules(), text);
        assert_eq!(class("docker.io/library/mariadb:10.11").as_deref(), Some("mysql"));
        assert_eq!(class("registry:5000/a/MySQL@sha256:0f").as_deref(), Some("mysql"));
        assert_eq!(class("registry.example/shop/basket-node:20").as_deref(), Some("node"));
        assert_eq!(class("nginx").as_deref(), Some("nginx"));
        assert_eq!(class("jwilder/nginx-proxy:latest").as_deref(), Some("proxy"));
        assert_eq!(class("registry.mysql.example/web:1"), None, "a registry's name is not a class");
        assert_eq!(class("nginxish"), None);
        assert_eq!(class(""), None);
    }

    #[test]
    fn without_rules_a_label_is_its_own_class() {
        assert_eq!(declared_class(&BTreeMap::new(), "Apache").as_deref(), Some("Apache"));
    }

    #[test]
    fn an_interval_holds_the_middle_of_the_repetitions() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        let Interval { mean, low, high } = Interval::of(&values);
        assert!(
            (mean - 50.0).abs() < 1e-9 && (low - 2.5).abs() < 1e-9 && (high - 97.5).abs() < 1e-9
        );
        assert_eq!(Interval::of(&[]), Interval::default());
        assert!((Interval::of(&[0.5]).high - 0.5).abs() < 1e-9);
    }
}
