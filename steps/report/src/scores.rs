//! The verdicts of all windows, as a page shows them.
//!
//! Score objects of a store and rows that a bundle scores again are added by the same function.

use std::collections::{BTreeMap, BTreeSet};

use contract::score::{Drift, EntityScore, MemberScore, Verdict, WindowScore};
use contract::{Span, Timestamp};
use models::Reference;

use crate::alarms::{Alarm, EntityHistory, Found};
use crate::envelope::Envelope;
use crate::ground_truth::{Known, Truth};
use crate::ranking::rarity;

/// Number of spans of an envelope, about the number of pixels of a wide figure.
const SPANS: usize = 1024;

/// Maximum number of labelled rows from which curves are drawn.
const MOST_RANKED: usize = 500_000;

/// A row with a label, from which curves are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// The score it is ranked by.
    pub score: f64,
    /// Whether it belongs to a scenario.
    pub anomalous: bool,
}

/// One model over time.
#[derive(Debug, Clone)]
pub struct MemberHistory {
    /// Kind of model.
    pub kind: String,
    /// Rarity of its score, of the most unusual entity in each window.
    pub rarity: Envelope,
    /// Rarity at which it votes for an alarm.
    pub threshold: Envelope,
    /// Rows in which it voted for an alarm.
    pub votes: u64,
    /// Its decision scores with labels; empty without labelled faults, or with too many rows.
    pub ranked: Vec<Ranked>,
}

/// Score on which a verdict is based.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The sum of the votes of several models.
    Votes,
    /// The models' combined score.
    Combined,
    /// The score of the only model.
    Only,
}

/// The verdict over time: its score and its threshold.
#[derive(Debug, Clone)]
pub struct VerdictHistory {
    /// The score on which it is based.
    pub basis: Basis,
    /// Value of the most unusual entity in each window.
    pub score: Envelope,
    /// Its threshold.
    pub threshold: Envelope,
    /// Scores with labels, if there is a combined score.
    pub ranked: Vec<Ranked>,
}

/// Rows with a label against verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Anomalous rows with an alarm.
    pub found: u64,
    /// Anomalous rows without one.
    pub missed: u64,
    /// Normal rows with an alarm.
    pub false_alarms: u64,
    /// Normal rows without one.
    pub quiet: u64,
}

/// Rules for collecting scores.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Distance between windows.
    pub step: Span,
    /// Number of normal windows in a row that do not end an alarm.
    pub quiet: u32,
    /// Threshold of alarms, for pipelines that add up votes.
    pub alarm_at: f64,
}

/// Verdicts and metrics of all windows of a page.
#[derive(Debug, Clone)]
pub struct ScoreHistory {
    rules: Rules,
    truth: Truth,
    names: BTreeSet<String>,
    numbers: BTreeMap<String, usize>,
    /// The entities, in the order in which they were first seen.
    pub entities: Vec<EntityHistory>,
    /// The models, in the order of the first window.
    pub members: Vec<MemberHistory>,
    /// The verdict's own score.
    pub verdict: VerdictHistory,
    /// The scenarios in the range.
    pub scenarios: Vec<Found>,
    /// Rows with a label against verdicts.
    pub counts: Counts,
    /// Features with a drift notice: in how many verdicts, first and last.
    pub drifting: BTreeMap<String, (u64, Timestamp, Timestamp)>,
    /// The last day that scoring compared with the training data, with its end.
    pub day: Option<(Timestamp, Drift)>,
    /// Each version with the first window that it scored.
    pub versions: Vec<(Timestamp, String)>,
    /// Start of each part of a data set, for a data set that is scored again.
    pub parts: Vec<Timestamp>,
    /// Windows that were not scored: end of the first and the last window of each gap.
    pub missing: Vec<(Timestamp, Timestamp)>,
    /// First and last window.
    pub range: Option<(Timestamp, Timestamp)>,
    /// Number of windows.
    pub windows: u64,
    /// Whether there were too many labelled rows to draw curves.
    pub too_many: bool,
}

impl ScoreHistory {
    /// Makes an empty history; `truth` holds the scenarios of the range.
    pub fn new(rules: Rules, truth: Truth) -> Self {
        let envelope = || Envelope::new(rules.step.ms(), SPANS);
        let scenarios = truth.scenarios().iter().map(Found::new).collect();
        let verdict = VerdictHistory {
            score: envelope(),
            threshold: envelope(),
            basis: Basis::Votes,
            ranked: Vec::new(),
        };
        Self {
            rules,
            truth,
            names: BTreeSet::new(),
            numbers: BTreeMap::new(),
            entities: Vec::new(),
            members: Vec::new(),
            verdict,
            scenarios,
            counts: Counts::default(),
            drifting: BTreeMap::new(),
            day: None,
            versions: Vec::new(),
            parts: Vec::new(),
            missing: Vec::new(),
            range: None,
            windows: 0,
            too_many: false,
        }
    }

    /// Returns the scenarios of the range.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Returns the distance between windows.
    pub fn step(&self) -> Span {
        self.rules.step
    }

    /// Returns whether the pipeline has a single entity without a name: a whole cluster.
    pub fn is_whole(&self) -> bool {
        matches!(self.entities.as_slice(), [only] if only.name.is_empty())
    }

    /// Returns all alarms, in order of time.
    pub fn alarms(&self) -> Vec<&Alarm> {
        let mut alarms: Vec<&Alarm> =
            self.entities.iter().flat_map(|entity| &entity.alarms).collect();
        alarms.sort_by(|a, b| (a.start, &a.entity).cmp(&(b.start, &b.entity)));
        alarms
    }

    /// Adds a window; windows must be added in order of time. The rarity of an entity's threshold
    /// is computed from the reference of the bundle that scored it; without the reference the
    /// threshold is not drawn.
    pub fn add<'r>(
        &mut self,
        window: &WindowScore,
        reference: impl Fn(&str) -> Option<&'r Reference>,
    ) {
        self.note_time(window);
        if let Some(drift) = &window.drift {
            self.day = Some((window.time, drift.clone()));
        }
        // In most windows the entities are those of the previous one, and look-ups are expensive.
        let same = |(index, score): (usize, &EntityScore)| {
            self.entities.get(index).is_some_and(|entity| entity.name == score.entity)
        };
        if !window.entities.iter().enumerate().all(same) {
            self.names.extend(window.entities.iter().map(|score| score.entity.clone()));
        }
        for (index, score) in window.entities.iter().enumerate() {
            let number = self.number(index, &score.entity);
            let known = self.truth.at(window.time, &score.entity, &self.names);
            self.count(score, known, window.time);
            self.rank(score, known);
            for feature in &score.drifting {
                let first = (0, window.time, window.time);
                let noted = self.drifting.entry(feature.clone()).or_insert(first);
                (noted.0, noted.2) = (noted.0 + 1, window.time);
            }
            let (rules, time) = (&self.rules, window.time);
            self.entities[number].add(score, known, time, rules);
        }
        self.draw_members(window, reference);
        self.draw_verdict(window);
    }

    /// Ends the alarms and gaps that are still open.
    pub fn finish(&mut self) {
        self.entities.iter_mut().for_each(EntityHistory::close);
        self.scenarios.iter_mut().for_each(Found::close);
    }

    /// Records as missing the windows of a requested range that do not exist; `until` is the last
    /// window that had to be scored.
    pub fn note_bounds(&mut self, after: Timestamp, until: Timestamp) {
        let step = self.rules.step;
        let Some((first, last)) = self.range else { return };
        if first - after > step {
            self.missing.insert(0, (after + step, first - step));
        }
        if until - last >= step {
            self.missing.push((last + step, until));
        }
    }

    /// Starts another part of a data set: rows between two parts are not missing.
    pub fn begin_part(&mut self, first: Timestamp) {
        self.parts.push(first);
        if let Some((_, last)) = &mut self.range {
            *last = first - self.rules.step;
        }
        self.entities.iter_mut().for_each(EntityHistory::close);
    }

    fn note_time(&mut self, window: &WindowScore) {
        let (time, step) = (window.time, self.rules.step);
        self.windows += 1;
        if self.versions.last().is_none_or(|(_, version)| *version != window.version) {
            self.versions.push((time, window.version.clone()));
        }
        match &mut self.range {
            None => self.range = Some((time, time)),
            Some((_, last)) => {
                if time - *last > step {
                    self.missing.push((*last + step, time - step));
                }
                *last = time.max(*last);
            }
        }
    }

    /// Returns an entity's number; in most windows it is at the same position as in the previous
    /// one.
    fn number(&mut self, index: usize, name: &str) -> usize {
        if self.entities.get(index).is_some_and(|entity| entity.name == name) {
            return index;
        }
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.entities.len();
        self.entities.push(EntityHistory::named(name));
        self.numbers.insert(name.to_owned(), number);
        number
    }

    fn count(&mut self, score: &EntityScore, known: Known, time: Timestamp) {
        if score.verdict == Verdict::NoData {
            return;
        }
        let alarm = score.verdict == Verdict::Anomalous;
        let counts = &mut self.counts;
        match (known.is_faulty(), known.is_normal(), alarm) {
            (true, _, true) => counts.found += 1,
            (true, _, false) => counts.missed += 1,
            (_, true, true) => counts.false_alarms += 1,
            (_, true, false) => counts.quiet += 1,
            (false, false, _) => {}
        }
        // A guard band excludes rows from the metrics, but an alarm in it is still an alarm.
        if let Some(number) = known.scenario {
            self.scenarios[number].add(score, time);
        }
    }

    fn rank(&mut self, score: &EntityScore, known: Known) {
        let rows =
            self.counts.found + self.counts.missed + self.counts.quiet + self.counts.false_alarms;
        if self.scenarios.is_empty() || known.excluded || self.too_many {
            return;
        }
        if rows > MOST_RANKED as u64 {
            self.too_many = true;
            self.verdict.ranked = Vec::new();
            self.members.iter_mut().for_each(|member| member.ranked = Vec::new());
            return;
        }
        let anomalous = known.is_faulty();
        for (index, member) in score.members.iter().enumerate() {
            let ranked = Ranked { score: member.decision, anomalous };
            self.member(index, &member.kind).ranked.push(ranked);
        }
        if let Some(combined) = score.combined {
            self.verdict.ranked.push(Ranked { score: combined.score, anomalous });
        }
    }

    fn member(&mut self, index: usize, kind: &str) -> &mut MemberHistory {
        let there = |member: &MemberHistory| member.kind == kind;
        let here = self.members.get(index).is_some_and(there);
        let known = if here { Some(index) } else { self.members.iter().position(there) };
        let index = known.unwrap_or_else(|| {
            let envelope = || Envelope::new(self.rules.step.ms(), SPANS);
            self.members.push(MemberHistory {
                kind: kind.to_owned(),
                rarity: envelope(),
                threshold: envelope(),
                votes: 0,
                ranked: Vec::new(),
            });
            self.members.len() - 1
        });
        &mut self.members[index]
    }

    fn draw_members<'r>(
        &mut self,
        window: &WindowScore,
        reference: impl Fn(&str) -> Option<&'r Reference>,
    ) {
        let time = window.time.ms();
        let kinds = window.entities.iter().map(|entity| entity.members.len()).max().unwrap_or(0);
        for index in 0..kinds {
            let members = || {
                window
                    .entities
                    .iter()
                    .filter_map(|score| Some((score.entity.as_str(), score.members.get(index)?)))
            };
            let Some((entity, highest)) =
                members().max_by(|(_, a), (_, b)| a.calibrated.total_cmp(&b.calibrated))
            else {
                continue;
            };
            let votes = members().filter(|(_, member)| member.vote).count() as u64;
            let threshold =
                reference(entity).map(|known| known.calibrated(&highest.kind, highest.threshold));
            let member = self.member(index, &highest.kind);
            member.votes += votes;
            member.rarity.push(time, rarity(highest.calibrated));
            if let Some(threshold) = threshold {
                member.threshold.push(time, rarity(threshold));
            }
        }
    }

    fn draw_verdict(&mut self, window: &WindowScore) {
        let time = window.time.ms();
        let there = || window.entities.iter().filter(|score| score.verdict != Verdict::NoData);
        let combined = there().filter_map(|score| score.combined);
        let above = |score: &contract::score::Combined| score.score - score.threshold;
        if let Some(most) = combined.max_by(|a, b| above(a).total_cmp(&above(b))) {
            self.verdict.basis = Basis::Combined;
            self.verdict.score.push(time, most.score);
            self.verdict.threshold.push(time, most.threshold);
            return;
        }
        let only = there().filter_map(|score| match score.members.as_slice() {
            [only] => Some(only),
            _ => None,
        });
        let above = |member: &MemberScore| member.decision - member.threshold;
        if let Some(only) = only.max_by(|a, b| above(a).total_cmp(&above(b))) {
            self.verdict.basis = Basis::Only;
            self.verdict.score.push(time, only.decision);
            self.verdict.threshold.push(time, only.threshold);
        } else if let Some(votes) = there().map(|score| score.votes).max() {
            self.verdict.score.push(time, votes.to_f64());
            self.verdict.threshold.push(time, self.rules.alarm_at);
        }
    }
}
