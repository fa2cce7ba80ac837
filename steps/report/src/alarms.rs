//! Alarms of one entity: sequences of anomalous windows, and the features that explain them.

use std::collections::{BTreeMap, BTreeSet};

use contract::score::{Cause, EntityScore, Verdict};
use contract::{Span, Timestamp};

use crate::ground_truth::{Known, Scenario};
use crate::scores::Rules;

/// A sequence of anomalous windows of one entity; short normal sequences within it belong to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// The entity.
    pub entity: String,
    /// Start of its first anomalous window.
    pub start: Timestamp,
    /// End of its last anomalous window.
    pub end: Timestamp,
    /// Anomalous windows.
    pub windows: u64,
    /// Kinds of models that voted in any of them.
    pub voted: BTreeSet<String>,
    /// Features that explain it, the largest mean share first.
    pub causes: Vec<Cause>,
    /// Diagnosed kinds of faults, with the number of windows of each.
    pub called: BTreeMap<String, u64>,
    /// Number of the scenario it falls into, if any.
    pub scenario: Option<usize>,
    /// Whether the alarm is urgent.
    pub urgent: bool,
    /// Whether it is only in guard bands, and counts neither as anomalous nor as normal.
    pub excluded: bool,
}

/// One entity over time.
#[derive(Debug, Clone, Default)]
pub struct EntityHistory {
    /// Its name.
    pub name: String,
    /// Windows by verdict.
    pub normal: u64,
    /// Windows by verdict.
    pub anomalous: u64,
    /// Windows by verdict.
    pub no_data: u64,
    /// Its alarms, in order of time.
    pub alarms: Vec<Alarm>,
    /// Stretches without data: start of the first and end of the last window.
    pub silent: Vec<(Timestamp, Timestamp)>,
    open: Option<Open>,
}

/// An alarm that may still be open.
#[derive(Debug, Clone)]
struct Open {
    alarm: Alarm,
    causes: CauseSums,
    outside: bool,
}

/// Shares of causes added up, with the value of the window in which the share was largest.
#[derive(Debug, Clone, Default)]
pub(crate) struct CauseSums(BTreeMap<String, (f64, Cause)>);

impl CauseSums {
    pub(crate) fn add(&mut self, causes: &[Cause]) {
        for cause in causes {
            match self.0.get_mut(&cause.feature) {
                Some((sum, strongest)) => {
                    *sum += cause.share;
                    if cause.share > strongest.share {
                        *strongest = cause.clone();
                    }
                }
                None => {
                    self.0.insert(cause.feature.clone(), (cause.share, cause.clone()));
                }
            }
        }
    }

    /// Returns the three with the largest sums; their shares are means over `windows`.
    pub(crate) fn largest(self, windows: u64) -> Vec<Cause> {
        let mut causes: Vec<(f64, Cause)> = self.0.into_values().collect();
        causes.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.feature.cmp(&b.1.feature)));
        let mean =
            |(sum, cause): (f64, Cause)| Cause { share: sum / windows.max(1) as f64, ..cause };
        causes.into_iter().take(3).map(mean).collect()
    }
}

fn count_kind(called: &mut BTreeMap<String, u64>, score: &EntityScore) {
    if let Some(diagnosed) = &score.diagnosis {
        *called.entry(diagnosed.kind.clone()).or_default() += 1;
    }
}

/// Result for a scenario.
#[derive(Debug, Clone)]
pub struct Found {
    /// The scenario.
    pub scenario: Scenario,
    /// Number of its rows that were scored.
    pub rows: u64,
    /// Number of its rows that were anomalous.
    pub anomalous: u64,
    /// End of the first anomalous window.
    pub first: Option<Timestamp>,
    /// Features that explain it, the largest mean share first.
    pub causes: Vec<Cause>,
    /// Diagnosed kinds of faults, with the number of windows of each.
    pub called: BTreeMap<String, u64>,
    sums: CauseSums,
}

impl Found {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            scenario: scenario.clone(),
            rows: 0,
            anomalous: 0,
            first: None,
            causes: Vec::new(),
            called: BTreeMap::new(),
            sums: CauseSums::default(),
        }
    }

    pub(crate) fn add(&mut self, score: &EntityScore, time: Timestamp) {
        self.rows += 1;
        if score.verdict == Verdict::Anomalous {
            self.anomalous += 1;
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.sums.add(&score.causes);
            count_kind(&mut self.called, score);
        }
    }

    pub(crate) fn close(&mut self) {
        self.causes = std::mem::take(&mut self.sums).largest(self.anomalous);
    }

    /// Returns the time from the scenario's start to the first anomalous window.
    pub fn delay(&self) -> Option<Span> {
        self.first.map(|first| first - self.scenario.start)
    }
}

impl EntityHistory {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(crate) fn add(
        &mut self,
        score: &EntityScore,
        known: Known,
        time: Timestamp,
        rules: &Rules,
    ) {
        let start = time - rules.step;
        if let Some(open) = &self.open {
            let quiet = (start - open.alarm.end).in_steps(rules.step);
            if quiet >= rules.quiet.max(1) as usize {
                self.close();
            }
        }
        match score.verdict {
            Verdict::Normal => self.normal += 1,
            Verdict::Anomalous => {
                self.anomalous += 1;
                self.alarm(score, known, (start, time));
            }
            Verdict::NoData => {
                self.no_data += 1;
                match self.silent.last_mut() {
                    Some((_, end)) if *end == start => *end = time,
                    _ => self.silent.push((start, time)),
                }
            }
        }
    }

    fn alarm(&mut self, score: &EntityScore, known: Known, (start, end): (Timestamp, Timestamp)) {
        let open = self.open.get_or_insert_with(|| Open {
            alarm: Alarm {
                entity: score.entity.clone(),
                start,
                end,
                windows: 0,
                voted: BTreeSet::new(),
                causes: Vec::new(),
                called: BTreeMap::new(),
                scenario: None,
                urgent: false,
                excluded: false,
            },
            causes: CauseSums::default(),
            outside: false,
        });
        let alarm = &mut open.alarm;
        alarm.end = end;
        alarm.windows += 1;
        alarm.urgent |= score.urgent;
        for member in score.members.iter().filter(|member| member.vote) {
            if !alarm.voted.contains(&member.kind) {
                alarm.voted.insert(member.kind.clone());
            }
        }
        count_kind(&mut alarm.called, score);
        open.causes.add(&score.causes);
        alarm.scenario = alarm.scenario.or(known.scenario);
        open.outside |= known.is_normal();
    }

    pub(crate) fn close(&mut self) {
        if let Some(Open { mut alarm, causes, outside }) = self.open.take() {
            alarm.causes = causes.largest(alarm.windows);
            alarm.excluded = alarm.scenario.is_none() && !outside;
            self.alarms.push(alarm);
        }
    }
}
