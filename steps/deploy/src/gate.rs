//! The gate: decides whether a challenger replaces the champion.
//!
//! Every comparison is written so that the gate rejects a metric that is missing or `NaN`.

use std::collections::BTreeMap;

use contract::StepError;
use contract::deployment::{Comparison, Figures};
use document::document::Gate;
use frames::Dataset;
use models::Bundle;

/// Part of the data set on which every version is measured.
const VALIDATION: &str = "validation";
/// Part of the data set that may be empty.
const TEST: &str = "test";
/// Number of rows on which a part's metrics were measured.
const ROWS: &str = "rows";
const AVERAGE_PRECISION: &str = "average_precision";
const INLIER_RATIO: &str = "inlier_ratio";
const FALSE_ALARM_RATIO: &str = "false_alarm_ratio";

/// Measures a version on the validation part and, if it has rows, on the test part, as `select`
/// does.
///
/// Errors: refused for a data set of another feature contract.
pub fn measure(
    bundle: &Bundle,
    dataset: &Dataset,
    normal: &[String],
    threads: usize,
) -> Result<Figures, StepError> {
    let mut figures = Figures::new();
    bundle.replay(dataset, threads, |name, part, before| {
        figures.insert(name.to_owned(), bundle.measure(part, before, normal, threads)?);
        Ok(())
    })?;
    Ok(figures)
}

/// Returns the metrics of all shards together: rows are added, and each other metric is its mean
/// over the shards that have it, weighted by the rows on which it was measured.
pub fn together(shards: &[Figures]) -> Figures {
    // The metrics of a single shard do not change.
    if let [alone] = shards {
        return alone.clone();
    }
    let mut sums: BTreeMap<&String, BTreeMap<&String, (f64, f64)>> = BTreeMap::new();
    for (part, figures) in shards.iter().flatten() {
        let rows = figures.get(ROWS).copied().unwrap_or(0.0);
        let of_part = sums.entry(part).or_default();
        for (name, value) in figures {
            let (sum, weight) = of_part.entry(name).or_default();
            (*sum, *weight) = (*sum + value * rows, *weight + rows);
        }
    }
    let mean = |(name, (sum, weight)): (&String, (f64, f64))| {
        let value = if name == ROWS { weight } else { sum / weight };
        (name.clone(), value)
    };
    let of_part = |figures: BTreeMap<&String, (f64, f64)>| {
        figures.into_iter().map(mean).filter(|(_, value)| value.is_finite()).collect()
    };
    sums.into_iter().map(|(part, figures)| (part.clone(), of_part(figures))).collect()
}

fn get(figures: &Figures, part: &str, name: &str) -> Option<f64> {
    figures.get(part)?.get(name).copied().filter(|value| value.is_finite())
}

/// Returns the part on which the false alarm ratio is measured: the test part, which was not used
/// to fit a model, threshold or weight; the validation part if there is no test part.
fn quiet_part(figures: &Figures) -> &'static str {
    let measured = |part: &&&str| false_alarm_ratio(figures, part).is_some();
    [TEST, VALIDATION].iter().find(measured).unwrap_or(&VALIDATION)
}

/// Returns the share of a part's normal rows that were called anomalous.
fn false_alarm_ratio(figures: &Figures, part: &str) -> Option<f64> {
    let inliers = get(figures, part, INLIER_RATIO).map(|inliers| 1.0 - inliers);
    get(figures, part, FALSE_ALARM_RATIO).or(inliers)
}

fn value(figures: &Figures, part: &str, figure: &str) -> Option<f64> {
    match figure {
        INLIER_RATIO => false_alarm_ratio(figures, part).map(|ratio| 1.0 - ratio),
        _ => get(figures, part, figure),
    }
}

/// Whether a version is promoted, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Whether the version is promoted.
    pub promote: bool,
    /// The reason, as a sentence without a full stop.
    pub why: String,
    /// The compared metrics, if there is a champion.
    pub comparison: Option<Comparison>,
}

/// Decides on a version without a champion: only its false alarms count.
pub fn without_champion(gate: &Gate, challenger: &Figures) -> Decision {
    let allowed = percent(gate.max_false_alarm_ratio);
    let part = quiet_part(challenger);
    let (promote, why) = match false_alarm_ratio(challenger, part) {
        None => (false, format!("its false alarms on {part} could not be measured")),
        Some(ratio) if ratio <= gate.max_false_alarm_ratio => (
            true,
            format!(
                "it calls {} of normal {part} rows anomalous, {allowed} are allowed",
                percent(ratio)
            ),
        ),
        Some(ratio) => (
            false,
            format!(
                "it calls {} of normal {part} rows anomalous, only {allowed} are allowed",
                percent(ratio)
            ),
        ),
    };
    Decision { promote, why, comparison: None }
}

/// Decides between a version and the live one, both measured on the same rows.
pub fn with_champion(gate: &Gate, challenger: &Figures, champion: &Figures) -> Decision {
    let ranked = |part: &&str| {
        let has = |figures: &Figures| get(figures, part, AVERAGE_PRECISION).is_some();
        has(challenger) || has(champion)
    };
    let (part, figure) = match [TEST, VALIDATION].into_iter().find(ranked) {
        Some(part) => (part, AVERAGE_PRECISION),
        None => (quiet_part(challenger), INLIER_RATIO),
    };
    let comparison = Comparison {
        part: part.to_owned(),
        figure: figure.to_owned(),
        challenger: value(challenger, part, figure),
        champion: value(champion, part, figure),
        max_regression: gate.max_regression,
    };
    let (promote, why) = judge(gate, &comparison, challenger, champion);
    Decision { promote, why, comparison: Some(comparison) }
}

fn judge(
    gate: &Gate,
    comparison: &Comparison,
    challenger: &Figures,
    champion: &Figures,
) -> (bool, String) {
    let Comparison { part, max_regression, .. } = comparison;
    let name = comparison.figure.replace('_', " ");
    let (Some(new), Some(old)) = (comparison.challenger, comparison.champion) else {
        let who = if comparison.challenger.is_none() { "its" } else { "the champion's" };
        return (false, format!("{who} {name} on {part} could not be measured"));
    };
    // The limit on false alarms applies even if the champion is as bad or the ranking is better.
    let quiet = quiet_part(challenger);
    let bound = gate.max_false_alarm_ratio;
    let ratio = false_alarm_ratio(challenger, quiet);
    if let Some(ratio) = ratio.filter(|_| !ratio.is_some_and(|ratio| ratio <= bound)) {
        let champion = false_alarm_ratio(champion, quiet);
        let champion =
            champion.map(|ratio| format!(" (the champion {})", percent(ratio))).unwrap_or_default();
        let why = format!(
            "it calls {} of normal {quiet} rows anomalous{champion}, only {} are allowed",
            percent(ratio),
            percent(bound)
        );
        return (false, why);
    }
    let keeps_up = new >= old - max_regression;
    if !keeps_up {
        let why = format!(
            "its {name} on {part} is {new:.4}, more than {max_regression} below the champion's {old:.4}"
        );
        return (false, why);
    }
    let why = format!("its {name} on {part} is {new:.4}, the champion's {old:.4}");
    (true, why)
}

pub(crate) fn percent(ratio: f64) -> String {
    let text = format!("{:.2}", ratio * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(entries: &[(&str, &str, f64)]) -> Figures {
        let mut figures = Figures::default();
        for (part, name, value) in entries {
            figures.entry((*part).to_owned()).or_default().insert((*name).to_owned(), *value);
        }
        figures
    }

    fn gate(max_false_alarm_ratio: f64, max_regression: f64) -> Gate {
        Gate { max_false_alarm_ratio, max_regression, ..Gate::default() }
    }

    #[test]
    fn false_alarms_decide_where_there_is_no_champion() {
        let inliers = |value| figures(&[(VALIDATION, INLIER_RATIO, value)]);
        let alarms = |value| figures(&[(VALIDATION, FALSE_ALARM_RATIO, value)]);
        let gate = gate(0.1, 0.0);
        for (figures, promote, words) in [
            (inliers(0.99), true, "it calls 1 % of normal"),
            (alarms(0.1), true, "it calls 10 % of normal"),
            (alarms(0.1001), false, "only 10 % are allowed"),
            (alarms(f64::NAN), false, "could not be measured"),
            (Figures::default(), false, "could not be measured"),
            (figures(&[(TEST, FALSE_ALARM_RATIO, 0.0)]), true, "it calls 0 % of normal test rows"),
            (
                figures(&[(TEST, FALSE_ALARM_RATIO, 0.2), (VALIDATION, FALSE_ALARM_RATIO, 0.0)]),
                false,
                "it calls 20 % of normal test rows",
            ),
        ] {
            let decision = without_champion(&gate, &figures);
            assert_eq!(decision.promote, promote, "{figures:?}");
            assert!(decision.why.contains(words), "{}", decision.why);
        }
        let closed = Gate { max_false_alarm_ratio: f64::NAN, ..gate };
        assert!(!without_champion(&closed, &alarms(0.0)).promote);
    }

    #[test]
    fn average_precision_decides_on_the_part_that_has_it() {
        let ranked = |part, value| {
            figures(&[(part, AVERAGE_PRECISION, value), (VALIDATION, INLIER_RATIO, 0.9)])
        };
        let decide = |part, new, old| {
            with_champion(&gate(0.1, 0.02), &ranked(part, new), &ranked(part, old))
        };
        for (part, new, old, promote) in [
            (TEST, 0.8, 0.7, true),
            (TEST, 0.69, 0.7, true),
            (TEST, 0.67, 0.7, false),
            (VALIDATION, 0.67, 0.7, false),
            (VALIDATION, 0.9, 0.7, true),
        ] {
            let decision = decide(part, new, old);
            assert_eq!(decision.promote, promote, "{part} {new} {old}");
            let comparison = decision.comparison.unwrap();
            assert_eq!(
                (comparison.part.as_str(), comparison.figure.as_str()),
                (part, AVERAGE_PRECISION)
            );
        }
    }

    #[test]
    fn the_share_of_inliers_decides_without_labels() {
        let inliers =
            |value| figures(&[(VALIDATION, INLIER_RATIO, 0.1), (TEST, INLIER_RATIO, value)]);
        let decide = |new, old| with_champion(&gate(0.1, 0.02), &inliers(new), &inliers(old));
        assert!(decide(0.95, 0.96).promote);
        let worse = decide(0.92, 0.96);
        assert!(!worse.promote);
        assert_eq!(
            worse.why,
            "its inlier ratio on test is 0.9200, more than 0.02 below the champion's 0.9600"
        );
    }

    #[test]
    fn a_figure_that_is_not_there_closes_the_gate() {
        let ranked = figures(&[(TEST, AVERAGE_PRECISION, 0.9)]);
        let blank = figures(&[(TEST, AVERAGE_PRECISION, f64::NAN)]);
        for (new, old) in [(&blank, &ranked), (&ranked, &blank), (&blank, &blank)] {
            assert!(!with_champion(&gate(1.0, 1.0), new, old).promote);
        }
        assert!(!with_champion(&gate(1.0, f64::NAN), &ranked, &ranked).promote);
    }

    #[test]
    fn figures_of_shards_are_weighted_by_their_rows() {
        let shard = |rows, ratio| figures(&[(TEST, ROWS, rows), (TEST, INLIER_RATIO, ratio)]);
        let alone = shard(100.0, 0.97);
        assert_eq!(together(std::slice::from_ref(&alone)), alone);
        let unmeasured = figures(&[(TEST, ROWS, 0.0), (VALIDATION, ROWS, 50.0)]);
        let all = together(&[shard(300.0, 1.0), shard(100.0, 0.8), unmeasured]);
        let expected = [(TEST, INLIER_RATIO, 0.95), (TEST, ROWS, 400.0), (VALIDATION, ROWS, 50.0)];
        assert_eq!(all, figures(&expected));
    }

    #[test]
    fn figure_that_one_shard_lacks_is_that_of_the_others() {
        let labelled = figures(&[(TEST, ROWS, 100.0), (TEST, AVERAGE_PRECISION, 0.5)]);
        let unlabelled = figures(&[(TEST, ROWS, 900.0), (TEST, INLIER_RATIO, 1.0)]);
        let all = together(&[labelled, unlabelled]);
        assert_eq!(get(&all, TEST, AVERAGE_PRECISION), Some(0.5));
        assert_eq!(get(&all, TEST, INLIER_RATIO), Some(1.0));
    }

    #[test]
    fn a_better_ranking_does_not_excuse_more_false_alarms() {
        let version = |precision, alarms| {
            figures(&[
                (TEST, AVERAGE_PRECISION, precision),
                (VALIDATION, FALSE_ALARM_RATIO, alarms),
            ])
        };
        let decide = |new, old| with_champion(&gate(0.1, 0.02), &new, &old).promote;
        assert!(!decide(version(0.9, 0.3), version(0.7, 0.05)));
        assert!(!decide(version(0.9, 0.3), version(0.7, 0.4)), "the bound is absolute");
        assert!(decide(version(0.9, 0.08), version(0.7, 0.05)), "within what is allowed");
    }
}
