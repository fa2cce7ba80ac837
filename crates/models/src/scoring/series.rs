//! The threshold of one series of scores, and its state.

use std::collections::BTreeMap;

use super::{Row, ScoreState};
use crate::bundle::Series;
use crate::threshold::{Judged, ThresholdState};

impl Series {
    pub(super) fn threshold(&self, state: &mut ScoreState, series: &str, entity: &str) -> f64 {
        match &self.alarms {
            Some(rule) => {
                let alarms = entry(&mut state.alarms, series, BTreeMap::default);
                rule.threshold(entry(alarms, entity, || rule.fresh()))
            }
            None => self.rule.threshold_for(
                entry(&mut state.thresholds, series, ThresholdState::default),
                entity,
            ),
        }
    }

    pub(super) fn observe(
        &self,
        state: &mut ScoreState,
        series: &str,
        of: &Row<'_>,
        judged: Judged,
    ) -> bool {
        let Some(rule) = &self.alarms else {
            let thresholds = entry(&mut state.thresholds, series, ThresholdState::default);
            self.rule.observe(thresholds, of.entity, of.time, judged);
            return false;
        };
        let alarms = entry(&mut state.alarms, series, BTreeMap::default);
        let alarm = entry(alarms, of.entity, || rule.fresh());
        rule.observe(alarm, of.time.ms(), judged);
        alarm.is_urgent()
    }
}

/// Returns the entry of a map for a name, and creates it if there is none.
pub(super) fn entry<'a, T>(
    map: &'a mut BTreeMap<String, T>,
    name: &str,
    make: impl FnOnce() -> T,
) -> &'a mut T {
    if !map.contains_key(name) {
        map.insert(name.to_owned(), make());
    }
    map.get_mut(name).expect("it was inserted where it was missing")
}
