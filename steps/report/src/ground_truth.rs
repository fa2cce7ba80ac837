//! Known labels of windows: whether an entity had a fault, and in which scenario.

use std::collections::BTreeSet;

use contract::{Span, Timestamp};
use frames::LabelInterval;

/// Label of one entity in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// Its scenario, by the number in [`Truth::scenarios`].
    pub scenario: Option<usize>,
    /// Whether it is in a guard band, and counts in no metric.
    pub excluded: bool,
}

impl Known {
    /// Returns whether it counts as anomalous, which excludes guard bands.
    pub fn is_faulty(self) -> bool {
        self.scenario.is_some() && !self.excluded
    }

    /// Returns whether it counts as normal.
    pub fn is_normal(self) -> bool {
        self.scenario.is_none() && !self.excluded
    }
}

/// A labelled fault, from its own start to its own end: the guard bands that reach into it are part
/// of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Its number on the page, from 1 in order of time.
    pub number: usize,
    /// Its name in the scenario log.
    pub name: String,
    /// What happened.
    pub label: String,
    /// The affected entity; empty for all entities.
    pub target: String,
    /// Windows that end after this time are inside.
    pub start: Timestamp,
    /// Windows that end at or before this time are inside.
    pub end: Timestamp,
}

/// The labels of a range of time.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    scenarios: Intervals,
    guards: Intervals,
    /// Each target is an entity, whether it has a score or not.
    is_of_rows: bool,
}

/// Intervals in order of their starts.
#[derive(Debug, Clone, Default)]
struct Intervals {
    sorted: Vec<Scenario>,
    longest: Span,
}

impl Intervals {
    fn of(mut intervals: Vec<Scenario>) -> Self {
        intervals.sort_by(|a, b| (a.start, &a.name).cmp(&(b.start, &b.name)));
        let lengths = intervals.iter().map(|interval| interval.end - interval.start);
        let longest = lengths.max().unwrap_or(Span::ZERO);
        Self { sorted: intervals, longest }
    }

    /// Returns those that cover a time, with their numbers.
    fn covering(&self, time: Timestamp) -> impl Iterator<Item = (usize, &Scenario)> {
        let first = self.sorted.partition_point(|interval| interval.start < time - self.longest);
        let end = self.sorted.partition_point(|interval| interval.start < time);
        let near = self.sorted[first..end].iter().enumerate();
        near.map(move |(index, interval)| (first + index, interval))
            .filter(move |(_, interval)| time <= interval.end)
    }
}

impl Truth {
    /// Takes the intervals of a labels file; intervals with a label in `normal` are ignored.
    pub fn of(intervals: Vec<LabelInterval>, normal: &[String]) -> Self {
        let (mut scenarios, mut guards) = (Vec::new(), Vec::new());
        for interval in intervals {
            let LabelInterval { start, end, label, target, scenario: name, guard } = interval;
            let list = match guard {
                true => &mut guards,
                false if frames::is_normal(normal, &label) => continue,
                false => &mut scenarios,
            };
            list.push(Scenario { number: 0, name, label, target, start, end });
        }
        for scenario in &mut scenarios {
            widen(scenario, &guards);
        }
        let mut scenarios = Intervals::of(scenarios);
        let numbered = (1..).zip(&mut scenarios.sorted);
        numbered.for_each(|(number, scenario)| scenario.number = number);
        Self { scenarios, guards: Intervals::of(guards), is_of_rows: false }
    }

    /// Takes intervals that were made from the labels of rows: a target means only its entity, even
    /// if no window of that entity is scored.
    pub fn of_rows(intervals: Vec<LabelInterval>, normal: &[String]) -> Self {
        Self { is_of_rows: true, ..Self::of(intervals, normal) }
    }

    /// Keeps the scenarios that overlap the time after `start` and up to `end`.
    #[must_use]
    pub fn within(&self, start: Timestamp, end: Timestamp) -> Self {
        let touches = |scenario: &&Scenario| scenario.end > start && scenario.start < end;
        let keep = |intervals: &Intervals| {
            Intervals::of(intervals.sorted.iter().filter(touches).cloned().collect())
        };
        Self {
            scenarios: keep(&self.scenarios),
            guards: keep(&self.guards),
            is_of_rows: self.is_of_rows,
        }
    }

    /// Returns the scenarios, in order of time.
    pub fn scenarios(&self) -> &[Scenario] {
        &self.scenarios.sorted
    }

    /// Returns the label of an entity in the window that ends at a time. A scenario's target is the
    /// entity of that name, or all entities if none of `entities` has it.
    pub fn at(&self, time: Timestamp, entity: &str, entities: &BTreeSet<String>) -> Known {
        let meant = |(_, scenario): &(usize, &Scenario)| {
            let is_whole = !self.is_of_rows && !entities.contains(&scenario.target);
            scenario.target == entity || is_whole
        };
        Known {
            scenario: self.scenarios.covering(time).find(meant).map(|(number, _)| number),
            excluded: self.guards.covering(time).any(|guard| meant(&guard)),
        }
    }
}

/// Extends a scenario by the half of each guard band that was cut from it: half of a band is inside
/// the scenario and half is outside.
fn widen(scenario: &mut Scenario, guards: &[Scenario]) {
    let same = |guard: &&Scenario| {
        (&guard.name, &guard.target, &guard.label)
            == (&scenario.name, &scenario.target, &scenario.label)
    };
    let half = |guard: &Scenario| Span::from_ms((guard.end - guard.start).ms() / 2);
    let before = guards.iter().filter(same).find(|guard| guard.end == scenario.start).map(half);
    let after = guards.iter().filter(same).find(|guard| guard.start == scenario.end).map(half);
    scenario.start = scenario.start - before.unwrap_or(Span::ZERO);
    scenario.end = scenario.end + after.unwrap_or(Span::ZERO);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(start: i64, end: i64, target: &str, guard: bool) -> LabelInterval {
        LabelInterval {
            start: Timestamp::from_ms(start),
            end: Timestamp::from_ms(end),
            label: "stress".into(),
            target: target.into(),
            scenario: "1".into(),
            guard,
        }
    }

    const NORMAL: Known = Known { scenario: None, excluded: false };
    const FAULTY: Known = Known { scenario: Some(0), excluded: false };

    #[test]
    fn guard_bands_count_neither_way_and_belong_to_the_fault_as_far_as_they_reach_into_it() {
        let parts = vec![
            interval(0, 20, "", true),
            interval(20, 40, "", false),
            interval(40, 60, "", true),
        ];
        let truth = Truth::of(parts, &[]);
        let all = BTreeSet::from([String::new()]);
        let at = |ms| truth.at(Timestamp::from_ms(ms), "", &all);
        let (start, end) = (truth.scenarios()[0].start.ms(), truth.scenarios()[0].end.ms());
        assert_eq!((start, end), (10, 50), "as in the scenario log");
        let guarded = |scenario| Known { scenario, excluded: true };
        assert_eq!(
            [0, 10, 11, 20, 21, 40, 41, 50, 51, 61].map(at),
            [
                NORMAL,
                guarded(None),
                guarded(Some(0)),
                guarded(Some(0)),
                FAULTY,
                FAULTY,
                guarded(Some(0)),
                guarded(Some(0)),
                guarded(None),
                NORMAL,
            ]
        );
    }

    #[test]
    fn a_target_means_its_entity_or_all_where_there_is_none() {
        let truth = Truth::of(vec![interval(0, 10, "b", false)], &[]);
        let known = |entities: &[&str], entity| {
            let entities = entities.iter().map(ToString::to_string).collect();
            truth.at(Timestamp::from_ms(5), entity, &entities)
        };
        assert_eq!(known(&["a", "b"], "a"), NORMAL);
        assert_eq!(known(&["a", "b"], "b"), FAULTY);
        assert_eq!(known(&["a", "c"], "a"), FAULTY);
        let rows = Truth::of_rows(vec![interval(0, 10, "b", false)], &[]);
        let others = BTreeSet::from(["a".to_owned(), "c".to_owned()]);
        let known = rows.at(Timestamp::from_ms(5), "a", &others);
        assert_eq!(known, NORMAL, "the labels of rows are about their own entity");
        let none = Truth::of(vec![interval(0, 10, "b", false)], &["stress".to_owned()]);
        assert!(none.scenarios().is_empty());
    }
}
