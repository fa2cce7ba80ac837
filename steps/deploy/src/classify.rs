//! The gate of `task: classify`: how accurately a version classifies entities that were left out of
//! fitting.
//!
//! Champion and challenger are each measured on entities they were not fitted on, by repeated
//! splits of their own data sets: on the challenger's rows, the champion would be measured on
//! entities that it was trained on.

use contract::classify::ClassManifest;
use contract::deployment::Comparison;
use document::classify::ClassGate;
use models::classify::ClassBundle;

use crate::gate::{Decision, percent};

/// The metric that is compared.
const FIGURE: &str = "balanced_accuracy";
/// The part of the metrics that has it.
const PART: &str = "held_out";

/// Decides on a version; `champion` is the live one, if it can be used.
pub(crate) fn decide(
    gate: &ClassGate,
    challenger: &ClassBundle,
    champion: Option<&ClassManifest>,
) -> Decision {
    let own = challenger.classify().figures.balanced_accuracy.mean;
    let needed = percent(gate.min_balanced_accuracy);
    let reached = percent(own);
    let is_enough = own >= gate.min_balanced_accuracy;
    let verb = if is_enough { "reaches" } else { "reaches only" };
    let alone = format!(
        "it {verb} a balanced accuracy of {reached} on entities left out, {needed} are needed"
    );
    let Some(champion) = champion else {
        return Decision { promote: is_enough, why: alone, comparison: None };
    };
    if champion.classes != challenger.classify().classes {
        let why = format!("the champion knows other classes and was not compared; {alone}");
        return Decision { promote: is_enough, why, comparison: None };
    }
    let theirs = champion.figures.balanced_accuracy.mean;
    let is_as_good = own >= theirs - gate.max_regression;
    let comparison = Comparison {
        part: PART.to_owned(),
        figure: FIGURE.to_owned(),
        challenger: Some(own),
        champion: Some(theirs),
        max_regression: gate.max_regression,
    };
    let why = match (is_enough, is_as_good) {
        (false, _) => alone,
        (true, true) => format!("{alone}; the champion reached {}", percent(theirs)),
        (true, false) => format!(
            "it reaches a balanced accuracy of {reached} on entities left out, the champion {}: more than {} less",
            percent(theirs),
            percent(gate.max_regression)
        ),
    };
    Decision { promote: is_enough && is_as_good, why, comparison: Some(comparison) }
}
