//! The state machine of each entity: when an alert fires and when it is resolved.
//!
//! Its only input is one window after the other (its clock is the time of the windows), so the same
//! windows give the same changes, however they are divided into runs.

use std::collections::BTreeMap;

use contract::score::{Drift, EntityScore, Verdict, WindowScore};
use contract::{Span, Timestamp};
use document::alerts::{Alerts, Silence};
use serde::{Deserialize, Serialize};

use crate::silence::is_silent;

mod leading;

use leading::Leading;

/// Kinds of alerts about an entity; each has its own state.
pub use contract::message::AlertKind as Kind;
pub use contract::message::Reason;

/// When an alert fires and when it is resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Bad windows in a row before an alert fires, at least 1.
    pub for_windows: u32,
    /// Good windows in a row before it is resolved, at least 1.
    pub resolve_after: u32,
    /// Time after a message in which the same alert does not fire again.
    pub cool_down: Span,
    /// Time after which an alert that still fires is sent again; nothing for never.
    pub repeat: Option<Span>,
    /// Kinds that are sent; the others never fire.
    pub kinds: Vec<Kind>,
    /// Time without a value of a feature after which a training without it is proposed.
    pub propose_training_after: Span,
    /// Alerts that are not sent.
    pub silences: Vec<Silence>,
}

impl Rules {
    /// Takes the rules from the document.
    pub fn of(alerts: &Alerts) -> Self {
        Self {
            for_windows: alerts.for_windows.max(1),
            resolve_after: alerts.resolve_after.max(1),
            cool_down: alerts.cool_down,
            repeat: alerts.repeat,
            kinds: alerts.kinds.clone(),
            propose_training_after: alerts.propose_training_after,
            silences: alerts.silences.clone(),
        }
    }
}

/// A change that a message reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<'a> {
    /// The entity; empty for the whole pipeline.
    pub entity: String,
    /// What was or is wrong with it.
    pub kind: Kind,
    /// Why it is reported.
    pub reason: Reason,
    /// Whether it is, or was, worth waking someone.
    pub urgent: bool,
    /// End of the first window in which the alert's condition held.
    pub since: Timestamp,
    /// End of the first window in which it no longer held; `None` for a firing alert.
    pub ended: Option<Timestamp>,
    /// Features that drift, for drift alerts.
    pub drifting: Vec<String>,
    /// Features that have had no value for a while.
    pub missing: Vec<String>,
    /// Features that lead an anomaly and were in no message yet, if it spreads to more features.
    pub also: Vec<String>,
    /// The entity's verdict in the window of the change; `None` if it is no longer reported, or has
    /// no report.
    pub score: Option<&'a EntityScore>,
    /// Whether the entity is no longer reported.
    pub gone: bool,
}

/// State of one kind of alert of one entity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Track {
    /// Bad windows in a row, and the end of the first of them.
    bad: u32,
    bad_since: Option<Timestamp>,
    /// While firing: good windows in a row, and the end of the first of them.
    good: u32,
    good_since: Option<Timestamp>,
    /// Set while firing: when it started.
    firing_since: Option<Timestamp>,
    /// While firing: it was sent as urgent.
    urgent: bool,
    /// While firing: a training without the missing features was proposed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    proposed: bool,
    /// Window of the last message about it.
    told_at: Option<Timestamp>,
    /// Which features lead it.
    #[serde(skip_serializing_if = "Leading::is_empty")]
    leading: Leading,
}

/// Effect of a window on one kind of alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Bad,
    Good,
    /// Neither counts nor interrupts the windows in a row.
    Silent,
}

/// One kind of alert of one entity, as observed in a window.
#[derive(Debug, Clone)]
struct Sight<'a> {
    sign: Sign,
    urgent: bool,
    /// No message is to be sent now.
    silent: bool,
    /// The features that lead an anomaly, or are missing.
    leading: Vec<&'a str>,
    /// Time after which a training is proposed; nothing for alerts that never propose one.
    propose_after: Option<Span>,
}

/// The change of an alert to report.
#[derive(Debug)]
struct News {
    reason: Reason,
    since: Timestamp,
    ended: Option<Timestamp>,
    urgent: bool,
    also: Vec<String>,
}

/// The kinds of alerts that windows can start.
const KINDS: [Kind; 5] =
    [Kind::FeatureMissing, Kind::Anomaly, Kind::NoData, Kind::Drift, Kind::Mismatch];

/// Returns the effect of a window on one kind of alert of an entity, which may be absent from the
/// window.
fn sign(kind: Kind, name: &str, entity: Option<&EntityScore>, score: &WindowScore) -> Sign {
    let verdict = entity.map(|entity| entity.verdict);
    let bad = |is_bad: bool| if is_bad { Sign::Bad } else { Sign::Good };
    match kind {
        Kind::Drift => drift_sign(name, entity, score),
        Kind::Mismatch => bad(entity.is_some_and(EntityScore::is_mismatch)),
        Kind::NoData => bad(verdict == Some(Verdict::NoData)),
        // The state is unknown, which neither ends nor starts an anomaly. Missing data of all
        // features is reported as such.
        Kind::Anomaly | Kind::FeatureMissing if verdict == Some(Verdict::NoData) => Sign::Silent,
        Kind::Anomaly => bad(verdict == Some(Verdict::Anomalous)),
        Kind::FeatureMissing => bad(entity.is_some_and(|it| !it.missing.is_empty())),
        // This is detected from the watermark, not from windows.
        Kind::ScoringStopped => Sign::Good,
    }
}

/// Drift is slow: most windows have no drift report. Only a report over the whole day ends the
/// alert.
fn drift_sign(name: &str, entity: Option<&EntityScore>, score: &WindowScore) -> Sign {
    let looks = score.drift.is_some();
    match drifting(name, entity, score).is_empty() {
        false => Sign::Bad,
        true if looks || (entity.is_none() && !name.is_empty()) => Sign::Good,
        true => Sign::Silent,
    }
}

/// Returns the features that drift: those of an entity or, if the name is empty, of all entities.
fn drifting(name: &str, entity: Option<&EntityScore>, score: &WindowScore) -> Vec<String> {
    let mut features = entity.map(|entity| entity.drifting.clone()).unwrap_or_default();
    let day = score.drift.as_ref().filter(|_| name.is_empty());
    for feature in day.into_iter().flat_map(Drift::drifted) {
        if !features.contains(&feature.feature) {
            features.push(feature.feature.clone());
        }
    }
    features
}

/// Returns the features that a kind of alert names first.
fn leading_of(kind: Kind, entity: &EntityScore) -> Vec<&str> {
    match kind {
        Kind::Anomaly => leading::of(entity),
        Kind::FeatureMissing => missing(entity).collect(),
        Kind::NoData | Kind::Drift | Kind::Mismatch | Kind::ScoringStopped => Vec::new(),
    }
}

fn missing(entity: &EntityScore) -> impl Iterator<Item = &str> {
    entity.missing.iter().map(String::as_str)
}

impl Track {
    fn is_cooling(&self, time: Timestamp, rules: &Rules) -> bool {
        self.told_at.is_some_and(|told| time < told + rules.cool_down)
    }

    /// Returns whether the track can be dropped without any effect.
    fn is_idle(&self, time: Timestamp, rules: &Rules) -> bool {
        self.firing_since.is_none() && self.bad == 0 && !self.is_cooling(time, rules)
    }

    /// Adds one window; returns the changes to report.
    fn observe(&mut self, sight: &Sight<'_>, time: Timestamp, rules: &Rules) -> Option<News> {
        match sight.sign {
            Sign::Silent => None,
            Sign::Bad => {
                (self.good, self.good_since) = (0, None);
                self.bad = self.bad.saturating_add(1);
                let bad_since = *self.bad_since.get_or_insert(time);
                let also = match self.firing_since {
                    Some(_) => self.leading.observe(&sight.leading, rules.for_windows),
                    None => Vec::new(),
                };
                if sight.silent {
                    return None;
                }
                let reason = match self.firing_since {
                    Some(_) if sight.urgent && !self.urgent => Reason::Worsens,
                    Some(since) if self.is_to_propose(since, time, sight) => Reason::Proposes,
                    Some(_) if self.is_to_repeat(time, rules) => Reason::Lasts,
                    Some(_) if !also.is_empty() && !self.leading.is_cooling(time, rules) => {
                        Reason::Widens
                    }
                    Some(_) => return None,
                    None if self.bad < rules.for_windows || self.is_cooling(time, rules) => {
                        return None;
                    }
                    None => Reason::Begins,
                };
                let since = *self.firing_since.get_or_insert(bad_since);
                self.told_at = Some(time);
                self.urgent |= sight.urgent;
                self.proposed |= reason == Reason::Proposes;
                self.leading.tell(&sight.leading, &also);
                if reason == Reason::Widens {
                    self.leading.told_at = Some(time);
                }
                Some(News { reason, since, ended: None, urgent: self.urgent, also })
            }
            Sign::Good => {
                (self.bad, self.bad_since) = (0, None);
                let since = self.firing_since?;
                self.good = self.good.saturating_add(1);
                let ended = *self.good_since.get_or_insert(time);
                if self.good < rules.resolve_after {
                    return None;
                }
                let urgent = self.urgent;
                *self = Self { told_at: Some(time), ..Self::default() };
                let (reason, ended) = (Reason::Ends, Some(ended));
                Some(News { reason, since, ended, urgent, also: Vec::new() })
            }
        }
    }

    fn is_to_propose(&self, since: Timestamp, time: Timestamp, sight: &Sight<'_>) -> bool {
        !self.proposed && sight.propose_after.is_some_and(|after| time >= since + after)
    }

    fn is_to_repeat(&self, time: Timestamp, rules: &Rules) -> bool {
        let told = self.told_at.zip(rules.repeat);
        told.is_some_and(|(told, repeat)| time >= told + repeat)
    }
}

/// State of every entity; entities without any state are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tracks(BTreeMap<String, BTreeMap<Kind, Track>>);

impl Tracks {
    /// Adds a window, which must be later than the previous one, and returns the changes, in the
    /// order of entities and kinds.
    ///
    /// An entity that is not in the window counts as normal, so alerts of deleted entities end. A
    /// window without any entity has no information, except with `task: classify`, whose windows
    /// contain only entities with changes: there it means that no entity has a problem.
    pub fn observe<'a>(&mut self, score: &'a WindowScore, rules: &Rules) -> Vec<Change<'a>> {
        let mut entities: BTreeMap<&str, Option<&EntityScore>> = BTreeMap::new();
        if !score.entities.is_empty() || score.classes.is_some() {
            entities.extend(self.0.keys().map(|name| (name.as_str(), None)));
        }
        // Most entities are normal and have no state.
        let seen = score.entities.iter().filter(|entity| {
            let plain = entity.verdict == Verdict::Normal
                && entity.drifting.is_empty()
                && entity.missing.is_empty()
                && !entity.is_mismatch();
            !plain || self.0.contains_key(&entity.entity)
        });
        if score.drift.is_some() && rules.kinds.contains(&Kind::Drift) {
            entities.insert("", None);
        }
        entities.extend(seen.map(|entity| (entity.entity.as_str(), Some(entity))));
        let entities: Vec<_> =
            entities.into_iter().map(|(name, entity)| (name.to_owned(), entity)).collect();
        let mut changes = Vec::new();
        for (name, entity) in entities {
            for kind in KINDS {
                let is_told = rules.kinds.contains(&kind);
                let sight = Sight {
                    sign: if is_told { sign(kind, &name, entity, score) } else { Sign::Good },
                    urgent: kind == Kind::Anomaly && entity.is_some_and(|entity| entity.urgent),
                    silent: is_silent(&rules.silences, &name, kind, score.time),
                    leading: entity.map(|entity| leading_of(kind, entity)).unwrap_or_default(),
                    propose_after: (kind == Kind::FeatureMissing)
                        .then_some(rules.propose_training_after),
                };
                let mut track = self.0.get(&name).and_then(|kinds| kinds.get(&kind)).cloned();
                let seen = track.get_or_insert_default().observe(&sight, score.time, rules);
                self.keep(&name, kind, track.filter(|track| !track.is_idle(score.time, rules)));
                changes.extend(seen.map(|news| {
                    Change {
                        entity: name.clone(),
                        kind,
                        reason: news.reason,
                        urgent: news.urgent,
                        since: news.since,
                        ended: news.ended,
                        also: news.also,
                        drifting: if kind == Kind::Drift {
                            drifting(&name, entity, score)
                        } else {
                            Vec::new()
                        },
                        missing: entity
                            .map(|entity| missing(entity).map(str::to_owned).collect())
                            .unwrap_or_default(),
                        score: entity,
                        // Drift may concern all entities together, and a window of `task: classify`
                        // contains only entities with changes.
                        gone: entity.is_none() && kind != Kind::Drift && score.classes.is_none(),
                    }
                }));
            }
        }
        changes
    }

    /// Returns the alerts that are firing: entity, kind and since when.
    pub fn firing(&self) -> impl Iterator<Item = (&str, Kind, Timestamp)> {
        self.0.iter().flat_map(|(entity, kinds)| {
            let firing =
                kinds.iter().filter_map(|(kind, track)| Some((*kind, track.firing_since?)));
            firing.map(move |(kind, since)| (entity.as_str(), kind, since))
        })
    }

    /// Returns whether a window that was added shows drift and its alert fires.
    pub fn drifts(&self, score: &WindowScore) -> bool {
        let is_bad = |name: &str| {
            let entity = score.entities.iter().find(|entity| entity.entity == name);
            !drifting(name, entity, score).is_empty()
        };
        self.firing().any(|(name, kind, _)| kind == Kind::Drift && is_bad(name))
    }

    fn keep(&mut self, entity: &str, kind: Kind, track: Option<Track>) {
        if let Some(track) = track {
            self.0.entry(entity.to_owned()).or_default().insert(kind, track);
        } else if let Some(kinds) = self.0.get_mut(entity) {
            kinds.remove(&kind);
            if kinds.is_empty() {
                self.0.remove(entity);
            }
        }
    }
}

#[cfg(test)]
mod tests;
