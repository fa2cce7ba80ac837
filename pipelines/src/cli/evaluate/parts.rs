//! Metrics of each kind of fault, and of each entity.

use std::collections::BTreeMap;

use contract::score::{Verdict, WindowScore};
use frames::LabelInterval;
use serde::Serialize;

use super::{Found, counting, entities};
use crate::run::table;

/// Results for the windows of one kind of fault, or of one entity.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    /// The label, or the entity.
    name: String,
    /// Scenarios.
    scenarios: u64,
    /// Scenarios with an alarm.
    found: u64,
    /// Windows within a fault, outside of guard bands.
    faulty_windows: u64,
    /// Those of them that were alarmed.
    alarmed_faulty_windows: u64,
    /// Windows outside of faults and guard bands; always 0 for a kind of fault.
    normal_windows: u64,
    /// Those of them that were alarmed.
    alarmed_normal_windows: u64,
}

/// The metrics by kind of fault and by entity.
#[derive(Debug, Default, Serialize)]
pub(super) struct Parts {
    pub(super) kinds: Vec<Part>,
    pub(super) entities: Vec<Part>,
}

impl Parts {
    /// Counts the windows of each part.
    pub(super) fn of(windows: &[WindowScore], labels: &[LabelInterval], found: &[Found]) -> Self {
        let names = entities(windows);
        let mut kinds: BTreeMap<String, Part> = BTreeMap::new();
        let mut of_entities: BTreeMap<String, Part> =
            names.iter().map(|name| (name.clone(), Part::default())).collect();
        for scenario in found {
            let is_found = u64::from(scenario.delay_seconds.is_some());
            let kind = kinds.entry(scenario.label.clone()).or_default();
            let entity = of_entities.get_mut(&scenario.target);
            for part in std::iter::once(kind).chain(entity) {
                part.scenarios += 1;
                part.found += is_found;
            }
        }
        for (score, inside) in counting(windows, labels, &names) {
            let alarmed = u64::from(score.verdict == Verdict::Anomalous);
            let entity = of_entities.entry(score.entity.clone()).or_default();
            if inside.is_empty() {
                entity.normal_windows += 1;
                entity.alarmed_normal_windows += alarmed;
            } else {
                entity.faulty_windows += 1;
                entity.alarmed_faulty_windows += alarmed;
            }
            for interval in inside {
                let kind = kinds.entry(interval.label.clone()).or_default();
                kind.faulty_windows += 1;
                kind.alarmed_faulty_windows += alarmed;
            }
        }
        Self { kinds: named(kinds), entities: named(of_entities) }
    }

    /// Returns both as tables; `None` if each kind was injected once into one entity, because the
    /// list of scenarios already shows the same.
    pub(super) fn tables(&self) -> Option<String> {
        if self.entities.len() < 2 {
            return None;
        }
        let share = |part: u64, of: u64| {
            if of == 0 { "-".to_owned() } else { format!("{part} of {of}") }
        };
        let mut kinds = vec![["kind", "found", "windows alarmed"].map(str::to_owned).to_vec()];
        kinds.extend(self.kinds.iter().map(|part| {
            let alarmed = share(part.alarmed_faulty_windows, part.faulty_windows);
            vec![part.name.clone(), share(part.found, part.scenarios), alarmed]
        }));
        let head = ["entity", "found", "windows alarmed", "between faults"];
        let mut entities = vec![head.map(str::to_owned).to_vec()];
        entities.extend(self.entities.iter().map(|part| {
            vec![
                part.name.clone(),
                share(part.found, part.scenarios),
                share(part.alarmed_faulty_windows, part.faulty_windows),
                share(part.alarmed_normal_windows, part.normal_windows),
            ]
        }));
        Some(format!("\n{}\n{}", table(&kinds), table(&entities)))
    }
}

fn named(parts: BTreeMap<String, Part>) -> Vec<Part> {
    parts.into_iter().map(|(name, part)| Part { name, ..part }).collect()
}

#[cfg(test)]
mod tests {
    use contract::Timestamp;
    use contract::score::EntityScore;

    use super::*;

    fn score(entity: &str, verdict: Verdict) -> EntityScore {
        serde_json::from_value(serde_json::json!({
            "entity": entity, "verdict": verdict, "completeness": 1.0, "votes": "0", "members": []
        }))
        .unwrap()
    }

    #[test]
    fn windows_are_counted_for_their_kind_and_their_entity_but_not_in_guard_bands() {
        let at = |second: i64| Timestamp::from_ms(1000 * second);
        let interval = |start, end, guard| LabelInterval {
            start: at(start),
            end: at(end),
            label: "cpu".to_owned(),
            scenario: "s1".to_owned(),
            target: "a".to_owned(),
            guard,
        };
        let labels = [interval(0, 10, true), interval(10, 40, false)];
        let windows: Vec<WindowScore> = (1..=6)
            .map(|step| {
                let odd = if step >= 3 { Verdict::Anomalous } else { Verdict::Normal };
                let scores = vec![score("a", odd), score("b", Verdict::Normal)];
                WindowScore::new("p", at(10 * step), "v", scores)
            })
            .collect();
        let found = Found {
            scenario: "s1".to_owned(),
            label: "cpu".to_owned(),
            target: "a".to_owned(),
            delay_seconds: Some(20.0),
            causes: Vec::new(),
            guarded: false,
        };
        let parts = Parts::of(&windows, &labels, &[found]);
        let expected = Part {
            name: "cpu".to_owned(),
            scenarios: 1,
            found: 1,
            faulty_windows: 3,
            alarmed_faulty_windows: 2,
            ..Part::default()
        };
        assert_eq!(parts.kinds, std::slice::from_ref(&expected));
        let a =
            Part { name: "a".to_owned(), normal_windows: 2, alarmed_normal_windows: 2, ..expected };
        let b = Part { name: "b".to_owned(), normal_windows: 6, ..Part::default() };
        assert_eq!(parts.entities, [a, b]);
        assert!(parts.tables().is_some_and(|text| text.contains("2 of 3")));
    }
}
