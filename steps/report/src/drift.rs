//! Drift between the data of a model and that of the previous model.

use models::reference::{Reference, Sketch};

/// Number of equally large parts into which the values of the earlier data are divided.
const PARTS: u32 = 10;

/// Minimum share of a part, so that an empty part does not give an infinite difference.
const LEAST: f64 = 0.001;

/// Stability index above which a distribution has changed strongly (Siddiqi 2006, "Credit Risk
/// Scorecards").
pub const FAR: f64 = 0.25;

/// Result for one feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// The feature.
    pub feature: String,
    /// Population stability index: the sum over the parts of (share - earlier share) * ln(share /
    /// earlier share); `None` if one of the two has no values.
    pub stability_index: Option<f64>,
    /// Medians before and after.
    pub medians: Option<(f64, f64)>,
    /// Shares of missing values before and after.
    pub gaps: (f64, f64),
}

/// Compares the features that both have; those with the strongest drift are first.
pub fn between(before: &Reference, after: &Reference) -> Vec<Moved> {
    let mut moved: Vec<Moved> = after
        .features
        .iter()
        .filter_map(|feature| {
            Some((&feature.name, before.feature(&feature.name)?, &feature.sketch))
        })
        .map(|(name, before, after)| one(name, before, after))
        .collect();
    let index = |moved: &Moved| moved.stability_index.unwrap_or(0.0);
    moved.sort_by(|a, b| index(b).total_cmp(&index(a)).then_with(|| a.feature.cmp(&b.feature)));
    moved
}

fn one(name: &str, before: &Sketch, after: &Sketch) -> Moved {
    let there = !(before.quantiles.is_empty() || after.quantiles.is_empty());
    Moved {
        feature: name.to_owned(),
        stability_index: there.then(|| stability_index(before, after)),
        medians: there.then(|| (before.at(0.5), after.at(0.5))),
        gaps: (before.gap_ratio, after.gap_ratio),
    }
}

fn stability_index(before: &Sketch, after: &Sketch) -> f64 {
    let mut edges: Vec<f64> =
        (1..PARTS).map(|part| before.at(f64::from(part) / f64::from(PARTS)).next_up()).collect();
    edges.dedup();
    let shares = |sketch: &Sketch| -> Vec<f64> {
        let below: Vec<f64> = edges.iter().map(|edge| sketch.share_below(*edge)).collect();
        let ends = below.iter().copied().chain([1.0]);
        let starts = [0.0].into_iter().chain(below.iter().copied());
        ends.zip(starts).map(|(end, start)| (end - start).max(LEAST)).collect()
    };
    let pairs = shares(after).into_iter().zip(shares(before));
    pairs.map(|(share, earlier)| (share - earlier) * (share / earlier).ln()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch(values: impl Iterator<Item = f64>) -> Sketch {
        Sketch::of(&values.collect::<Vec<_>>())
    }

    #[test]
    fn moved_features_are_distinguished_from_stable_ones() {
        let before = sketch((0..1000).map(f64::from));
        assert!(stability_index(&before, &before) < 0.01);
        let shifted = sketch((0..1000).map(|value| f64::from(value) + 500.0));
        assert!(stability_index(&before, &shifted) > FAR);
        let constant = sketch((0..1000).map(|_| 3.0));
        assert!(stability_index(&constant, &constant) < 0.01, "a constant that stays");
        assert!(stability_index(&constant, &sketch((0..1000).map(|_| 4.0))) > FAR);
    }

    proptest! {
        #[test]
        fn the_index_is_never_negative(
            before in prop::collection::vec(-1e6..1e6_f64, 1..200),
            after in prop::collection::vec(-1e6..1e6_f64, 1..200),
        ) {
            let index = stability_index(&Sketch::of(&before), &Sketch::of(&after));
            prop_assert!(index >= 0.0 && index.is_finite());
        }
    }
}
