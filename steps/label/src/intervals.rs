//! From scenarios to intervals.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contract::{Span, StepError};
use document::document::Labels;
use frames::LabelInterval;

use crate::log::{Scenario, refused};

/// Label of intervals that are neither normal nor a fault: the whole interval is a guard band.
pub const TRANSITION: &str = "transition";

/// Labels made from a log.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Sorted by scenario, in order of start; intervals of one scenario do not overlap.
    pub(crate) intervals: Vec<LabelInterval>,
    /// Number of their scenarios.
    pub(crate) scenarios: usize,
    pub(crate) warnings: Vec<String>,
}

/// Makes the intervals of a log.
pub(crate) fn make(
    path: &Path,
    scenarios: &[Scenario],
    labels: &Labels,
) -> Result<Made, StepError> {
    let is_fault = |scenario: &&Scenario| !frames::is_normal(&labels.normal, &scenario.label);
    let mut faults: Vec<&Scenario> = scenarios.iter().filter(is_fault).collect();
    faults.sort_by_key(|scenario| (scenario.start, scenario.end, scenario.line));
    check_overlaps(path, &faults)?;
    let names = names(&faults);
    let mut made = Made::default();
    for (scenario, name) in faults.into_iter().zip(names) {
        let length = scenario.end - scenario.start;
        if scenario.label == TRANSITION {
            made.intervals.push(interval(scenario, name, true));
            continue;
        }
        made.scenarios += 1;
        made.intervals.extend(with_bands(&interval(scenario, name, false), labels.guard));
        if labels.guard + labels.guard >= length {
            made.warnings.push(format!(
                "`{}:{}`: the guard of {} leaves no row of the scenario to be measured",
                path.display(),
                scenario.line,
                labels.guard
            ));
        }
    }
    if made.scenarios == 0 {
        made.warnings.push(format!("`{}` holds no scenario", path.display()));
    }
    Ok(made)
}

/// Splits a scenario into a guard band around its start, the time between, and a guard band around
/// its end; bands that touch are merged.
fn with_bands(whole: &LabelInterval, guard: Span) -> Vec<LabelInterval> {
    let part = |start, end, guard| LabelInterval { start, end, guard, ..whole.clone() };
    let (start, end) = (whole.start, whole.end);
    if guard == Span::ZERO {
        return vec![whole.clone()];
    }
    if guard + guard >= end - start {
        return vec![part(start - guard, end + guard, true)];
    }
    vec![
        part(start - guard, start + guard, true),
        part(start + guard, end - guard, false),
        part(end - guard, end + guard, true),
    ]
}

fn interval(scenario: &Scenario, name: String, guard: bool) -> LabelInterval {
    LabelInterval {
        start: scenario.start,
        end: scenario.end,
        label: scenario.label.clone(),
        target: scenario.target.clone(),
        scenario: name,
        guard,
    }
}

/// Refuses scenarios that share time and target: a row can have one label only.
///
/// Different targets may have faults at the same time; a transition only excludes rows and labels
/// none.
fn check_overlaps(path: &Path, faults: &[&Scenario]) -> Result<(), StepError> {
    // Latest end so far, by target: the log is in order of start.
    let mut latest: BTreeMap<&str, &Scenario> = BTreeMap::new();
    for scenario in faults.iter().filter(|scenario| scenario.label != TRANSITION) {
        let shares = |other: &&&Scenario| {
            other.target == scenario.target || other.target.is_empty() || scenario.target.is_empty()
        };
        if let Some(other) = latest.values().filter(shares).find(|other| other.end > scenario.start)
        {
            let (first, second) =
                if other.line < scenario.line { (*other, *scenario) } else { (*scenario, *other) };
            let what = if first.start == second.start && first.end == second.end {
                "is a second scenario at the time of"
            } else {
                "overlaps"
            };
            let message = format!(
                "`{}` from {} to {} {what} `{}` from {} to {} in line {}",
                second.label,
                second.start,
                second.end,
                first.label,
                first.start,
                first.end,
                first.line
            );
            return Err(refused(path, Some(second.line), &message)
                .hint("a row has one label; end the first before the second begins"));
        }
        let last = latest.entry(&scenario.target).or_insert(scenario);
        if last.end < scenario.end {
            *last = scenario;
        }
    }
    Ok(())
}

/// Names scenarios by label and start, and by target where that is not unique.
fn names(faults: &[&Scenario]) -> Vec<String> {
    let short = |scenario: &Scenario| format!("{}@{}", scenario.label, scenario.start.compact());
    let mut seen = BTreeSet::new();
    let unique = |scenario: &&Scenario| {
        let mut name = short(scenario);
        if seen.contains(&name) && !scenario.target.is_empty() {
            name = format!("{name}@{}", scenario.target);
        }
        let mut number = 1;
        let base = name.clone();
        while !seen.insert(name.clone()) {
            number += 1;
            name = format!("{base}#{number}");
        }
        name
    };
    faults.iter().map(unique).collect()
}

#[cfg(test)]
mod tests {
    use contract::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn scenario(line: u64, start: i64, end: i64, label: &str, target: &str) -> Scenario {
        Scenario {
            line,
            start: Timestamp::from_ms(start),
            end: Timestamp::from_ms(end),
            label: label.to_owned(),
            target: target.to_owned(),
        }
    }

    fn labels(guard: i64) -> Labels {
        Labels { guard: Span::from_ms(guard), ..Labels::default() }
    }

    fn made(scenarios: &[Scenario], guard: i64) -> Result<Made, StepError> {
        make(Path::new("s.csv"), scenarios, &labels(guard))
    }

    #[test]
    fn bands_lie_on_both_sides_of_each_change_and_what_is_between_keeps_its_label() {
        let made = made(&[scenario(2, 1000, 2000, "cpu", "a")], 100).unwrap();
        let extents: Vec<(i64, i64, bool)> =
            made.intervals.iter().map(|i| (i.start.ms(), i.end.ms(), i.guard)).collect();
        assert_eq!(extents, [(900, 1100, true), (1100, 1900, false), (1900, 2100, true)]);
        assert!(made.intervals.iter().all(|i| i.scenario == "cpu@19700101T000001Z"));
        assert!(made.warnings.is_empty());
    }

    #[test]
    fn normal_rows_make_no_interval_and_transitions_only_exclude() {
        let log = [
            scenario(2, 0, 10, "normal", ""),
            scenario(3, 10, 20, "transition", ""),
            scenario(4, 15, 30, "cpu", ""),
        ];
        let made = made(&log, 0).unwrap();
        assert_eq!(made.intervals.len(), 2);
        assert!(made.intervals[0].guard && !made.intervals[1].guard);
        assert_eq!(made.scenarios, 1);
    }

    #[test]
    fn scenarios_overlap_only_on_the_same_target() {
        for (first, second, good) in [
            ((0, 10, "a"), (10, 20, "a"), true),
            ((0, 10, "a"), (9, 20, "a"), false),
            ((0, 10, "a"), (9, 20, "b"), true),
            ((0, 10, ""), (9, 20, "b"), false),
            ((9, 20, "a"), (0, 10, ""), false),
            ((0, 10, "a"), (0, 10, "a"), false),
        ] {
            let log = [
                scenario(2, first.0, first.1, "x", first.2),
                scenario(3, second.0, second.1, "y", second.2),
            ];
            let made = made(&log, 0);
            assert_eq!(made.is_ok(), good, "{first:?} {second:?}");
            if let Err(error) = made {
                assert!(
                    error.message.starts_with("`s.csv:3`: ") && error.message.ends_with("line 2")
                );
            }
        }
    }

    #[test]
    fn a_long_scenario_is_not_forgotten_behind_a_short_one() {
        let log = [
            scenario(2, 0, 100, "x", "a"),
            scenario(3, 10, 20, "y", "b"),
            scenario(4, 50, 60, "z", "a"),
        ];
        assert!(made(&log, 0).is_err());
    }

    #[test]
    fn guard_longer_than_scenario_is_warned_about() {
        let made = made(&[scenario(2, 0, 100, "x", "")], 50).unwrap();
        assert_eq!(made.warnings.len(), 1);
        assert_eq!(made.intervals.len(), 1);
        assert!(made.intervals[0].guard && made.intervals[0].start.ms() == -50);
    }

    #[test]
    fn names_are_unique() {
        let log = [scenario(2, 0, 10, "x", "a"), scenario(3, 0, 10, "x", "b")];
        let made = made(&log, 0).unwrap();
        let names: Vec<&str> = made.intervals.iter().map(|i| i.scenario.as_str()).collect();
        assert_eq!(names, ["x@19700101T000000Z", "x@19700101T000000Z@b"]);
    }

    proptest! {
        #[test]
        fn the_order_of_lines_does_not_matter(
            starts in proptest::collection::btree_set(0_i64..1000, 1..20), guard in 0_i64..50,
        ) {
            let log: Vec<Scenario> =
                starts.iter().zip(2..).map(|(s, line)| scenario(line, s * 10, s * 10 + 10, "x", "")).collect();
            let mut reversed = log.clone();
            reversed.reverse();
            prop_assert_eq!(made(&log, guard).unwrap().intervals, made(&reversed, guard).unwrap().intervals);
        }
    }
}
