//! Which features lead an open anomaly: a second fault during an open alarm usually changes other
//! features than the first one, and is reported as an update.

use std::collections::BTreeMap;

use contract::Timestamp;
use contract::score::EntityScore;
use serde::{Deserialize, Serialize};

use super::Rules;

/// Maximum number of features that lead a window: as many as a message names.
const LEADING: usize = 3;
/// Smallest share of a window's score that makes a feature one of those that lead it.
const LEAST_SHARE: f64 = 0.1;
/// Windows in a row that a feature must lead before it is reported, regardless of `alerts.for`: the
/// last of the three leading features changes by chance from one window to the next.
const LEAST_WINDOWS: u32 = 3;

/// Prefixes of the part that follows a signal's name and an underscore in the name of a derived
/// feature: `mean_` in `x_mean_10m`, which is computed from `x`.
const MADE_OF: [&str; 8] =
    ["mean_", "std_", "min_", "max_", "q", "difference_", "per_second", "trend_"];

/// The features that lead an open anomaly.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Leading {
    /// Features that were reported since it began.
    told: Vec<String>,
    /// Other features, and in how many windows in a row each has led it.
    others: BTreeMap<String, u32>,
    /// Window of the last update; updates have a separate cool-down.
    pub(super) told_at: Option<Timestamp>,
}

/// Returns the features that lead an anomaly: those with at least the smallest share of the score
/// that are missing or outside of their usual range.
pub(super) fn of(entity: &EntityScore) -> Vec<&str> {
    let causes = entity.causes.iter().take(LEADING);
    let leads = causes.filter(|cause| {
        let is_usual = |value: f64| (cause.usual_low..=cause.usual_high).contains(&value);
        cause.share >= LEAST_SHARE && !cause.value.is_some_and(is_usual)
    });
    leads.map(|cause| cause.feature.as_str()).collect()
}

impl Leading {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn is_cooling(&self, time: Timestamp, rules: &Rules) -> bool {
        self.told_at.is_some_and(|told| time < told + rules.cool_down)
    }

    /// Adds the leading features of a window; returns those that were in no message and have led it
    /// for long enough.
    pub(super) fn observe(&mut self, leading: &[&str], for_windows: u32) -> Vec<String> {
        let is_new = |name: &&&str| !self.told.iter().any(|told| is_of_one_signal(told, name));
        let new: Vec<&str> = leading.iter().filter(is_new).copied().collect();
        self.others.retain(|name, _| new.contains(&name.as_str()));
        for name in new {
            let windows = self.others.entry(name.to_owned()).or_default();
            *windows = windows.saturating_add(1);
        }
        let enough = for_windows.max(LEAST_WINDOWS);
        let also = self.others.iter().filter(|(_, windows)| **windows >= enough);
        also.map(|(name, _)| name.clone()).collect()
    }

    /// Records the content of a message: the leading features, and the additional ones.
    pub(super) fn tell(&mut self, leading: &[&str], also: &[String]) {
        for name in leading.iter().copied().chain(also.iter().map(String::as_str)) {
            if !self.told.iter().any(|told| told == name) {
                self.told.push(name.to_owned());
            }
            self.others.remove(name);
        }
    }
}

/// Returns whether two features are computed from the same signal.
fn is_of_one_signal(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    match long.strip_prefix(short) {
        Some("") => true,
        Some(rest) => {
            let rest = rest.strip_prefix('_');
            rest.is_some_and(|rest| MADE_OF.iter().any(|start| rest.starts_with(start)))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_one_signal_are_one() {
        for (one, other, same) in [
            ("load", "load", true),
            ("load", "load_mean_10m", true),
            ("load_per_second", "load", true),
            ("packets", "packets_dropped", false),
            ("load", "memory", false),
            ("load_mean_10m", "load_std_10m", false),
        ] {
            assert_eq!(is_of_one_signal(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn leading_feature_is_reported_once_after_a_minimum_time() {
        let mut leading = Leading::default();
        leading.tell(&["cpu"], &[]);
        let none = [""; 0];
        assert_eq!(leading.observe(&["cpu", "memory"], 1), none);
        assert_eq!(leading.observe(&["cpu"], 1), none, "the row is broken");
        assert_eq!(leading.observe(&["memory"], 1), none);
        assert_eq!(leading.observe(&["memory", "cpu"], 1), none);
        let also = leading.observe(&["memory"], 1);
        assert_eq!(also, ["memory"]);
        leading.tell(&["memory"], &also);
        assert_eq!(leading.observe(&["memory"], 1), none);
    }
}
