//! The state machine of each entity: when an alert fires and when it is resolved.
//!
//! It looks at one window after the other and at nothing else (its clock is the windows' own
//! time), so the same windows give the same changes, however they are divided into runs.

use std::collections::BTreeMap;

use contract::score::{EntityScore, Verdict, WindowScore};
use contract::{Span, Timestamp};
use document::document::Alerts;
use serde::{Deserialize, Serialize};

/// What can be wrong with an entity; each has a state of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It does not behave as it used to.
    Anomaly,
    /// Too much of its data is missing to say.
    NoData,
}

/// When an alert fires and when it is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Bad windows in a row before an alert fires, at least 1.
    pub for_windows: u32,
    /// Good windows in a row before it is resolved, at least 1.
    pub resolve_after: u32,
    /// Time after a message in which the same alert does not fire again.
    pub cool_down: Span,
}

impl Rules {
    /// Takes the rules from the document.
    pub fn of(alerts: &Alerts) -> Self {
        Self {
            for_windows: alerts.for_windows.max(1),
            resolve_after: alerts.resolve_after.max(1),
            cool_down: alerts.cool_down,
        }
    }
}

/// A change that people are told of.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<'a> {
    /// The entity; empty for the whole of what the pipeline watches.
    pub entity: String,
    /// What was or is wrong with it.
    pub kind: Kind,
    /// End of the first window in which it was.
    pub since: Timestamp,
    /// End of the first window in which it no longer was; nothing for an alert that fires.
    pub ended: Option<Timestamp>,
    /// The entity's verdict in the window of the change; nothing when it is no longer reported.
    pub score: Option<&'a EntityScore>,
}

/// Where one kind of alert of one entity stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Track {
    /// Bad windows in a row, and the end of the first of them.
    bad: u32,
    bad_since: Option<Timestamp>,
    /// While firing: good windows in a row, and the end of the first of them.
    good: u32,
    good_since: Option<Timestamp>,
    /// Set while firing: when it began.
    firing_since: Option<Timestamp>,
    /// Window of the last message about it.
    told_at: Option<Timestamp>,
}

/// What a window says about one kind of alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Bad,
    Good,
    /// Neither counts nor interrupts what is being counted.
    Silent,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Anomaly, Self::NoData];

    fn sign(self, verdict: Verdict) -> Sign {
        match (self, verdict) {
            (Self::Anomaly, Verdict::Anomalous) | (Self::NoData, Verdict::NoData) => Sign::Bad,
            // Nobody knows whether it behaves: that neither ends an anomaly nor begins one.
            (Self::Anomaly, Verdict::NoData) => Sign::Silent,
            (Self::Anomaly, Verdict::Normal)
            | (Self::NoData, Verdict::Normal | Verdict::Anomalous) => Sign::Good,
        }
    }
}

impl Track {
    fn is_cooling(&self, time: Timestamp, rules: &Rules) -> bool {
        self.told_at.is_some_and(|told| time < told + rules.cool_down)
    }

    /// Says that nothing would be different if the track were forgotten.
    fn is_idle(&self, time: Timestamp, rules: &Rules) -> bool {
        self.firing_since.is_none() && self.bad == 0 && !self.is_cooling(time, rules)
    }

    /// Takes one window in; returns since when and until when if that is to be told.
    fn observe(
        &mut self,
        sign: Sign,
        time: Timestamp,
        rules: &Rules,
    ) -> Option<(Timestamp, Option<Timestamp>)> {
        match sign {
            Sign::Silent => None,
            Sign::Bad => {
                (self.good, self.good_since) = (0, None);
                self.bad = self.bad.saturating_add(1);
                let since = *self.bad_since.get_or_insert(time);
                let due = self.bad >= rules.for_windows && !self.is_cooling(time, rules);
                if self.firing_since.is_some() || !due {
                    return None;
                }
                (self.firing_since, self.told_at) = (Some(since), Some(time));
                Some((since, None))
            }
            Sign::Good => {
                (self.bad, self.bad_since) = (0, None);
                let since = self.firing_since?;
                self.good = self.good.saturating_add(1);
                let ended = *self.good_since.get_or_insert(time);
                if self.good < rules.resolve_after {
                    return None;
                }
                *self = Self { told_at: Some(time), ..Self::default() };
                Some((since, Some(ended)))
            }
        }
    }
}

/// Where every entity stands; those with nothing to remember are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tracks(BTreeMap<String, BTreeMap<Kind, Track>>);

impl Tracks {
    /// Takes one window in, which must be later than the one before, and returns what changed, in
    /// the order of entities and kinds.
    ///
    /// An entity that is not in the window counts as good: what is no longer there ends. A window
    /// without any entity says nothing.
    pub fn observe<'a>(&mut self, score: &'a WindowScore, rules: &Rules) -> Vec<Change<'a>> {
        let mut entities: BTreeMap<&str, Option<&EntityScore>> = BTreeMap::new();
        if !score.entities.is_empty() {
            entities.extend(self.0.keys().map(|name| (name.as_str(), None)));
        }
        // Most entities are normal and have nothing to remember.
        let seen = score.entities.iter().filter(|entity| {
            entity.verdict != Verdict::Normal || self.0.contains_key(&entity.entity)
        });
        entities.extend(seen.map(|entity| (entity.entity.as_str(), Some(entity))));
        let entities: Vec<_> =
            entities.into_iter().map(|(name, entity)| (name.to_owned(), entity)).collect();
        let mut changes = Vec::new();
        for (name, entity) in entities {
            for kind in Kind::ALL {
                let sign = entity.map_or(Sign::Good, |entity| kind.sign(entity.verdict));
                let mut track = self.0.get(&name).and_then(|kinds| kinds.get(&kind)).copied();
                let seen = track.get_or_insert_default().observe(sign, score.time, rules);
                self.keep(&name, kind, track.filter(|track| !track.is_idle(score.time, rules)));
                changes.extend(seen.map(|(since, ended)| Change {
                    entity: name.clone(),
                    kind,
                    since,
                    ended,
                    score: entity,
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
mod tests {
    use contract::Decimal;

    use super::*;

    const RULES: Rules =
        Rules { for_windows: 2, resolve_after: 2, cool_down: Span::from_seconds(600) };

    fn window(minute: i64, verdicts: &str) -> WindowScore {
        let entity = |(index, sign)| {
            let verdict = match sign {
                'a' => Verdict::Anomalous,
                'n' => Verdict::NoData,
                '-' => return None,
                _ => Verdict::Normal,
            };
            Some(EntityScore {
                entity: format!("node-{index}"),
                verdict,
                completeness: 1.0,
                votes: Decimal::ZERO,
                combined: None,
                members: Vec::new(),
                causes: Vec::new(),
                urgent: false,
                drifting: Vec::new(),
                diagnosis: None,
            })
        };
        WindowScore {
            format: WindowScore::FORMAT,
            pipeline: "cluster".into(),
            time: Timestamp::from_ms(minute * 60_000),
            version: "v".into(),
            entities: verdicts.chars().enumerate().filter_map(entity).collect(),
        }
    }

    /// One letter a minute for a single entity; returns the changes as `<minute>+` and `<minute>-`.
    fn told(verdicts: &str, rules: Rules) -> String {
        let mut tracks = Tracks::default();
        let mut told = Vec::new();
        for (minute, sign) in (0..).zip(verdicts.chars()) {
            for change in tracks.observe(&window(minute, &sign.to_string()), &rules) {
                let kind = if change.kind == Kind::Anomaly { "" } else { "n" };
                told.push(format!(
                    "{minute}{kind}{}",
                    if change.ended.is_some() { "-" } else { "+" }
                ));
            }
        }
        told.join(" ")
    }

    #[test]
    fn an_alert_fires_after_for_windows_and_ends_after_resolve_after() {
        assert_eq!(told(".a.a.a.", RULES), "", "never two in a row");
        assert_eq!(told(".aa", RULES), "2+");
        assert_eq!(told(".aaaaaa", RULES), "2+", "once");
        assert_eq!(told(".aa.a.a", RULES), "2+", "never two normal ones in a row");
        assert_eq!(told(".aa..", RULES), "2+ 4-");
    }

    #[test]
    fn in_cool_down_it_does_not_fire_and_afterwards_it_does() {
        assert_eq!(told("aa..aa.....", RULES), "1+ 3-");
        assert_eq!(told("aa..aaaaaaaaaaaa", RULES), "1+ 3- 13+", "ten minutes after the message");
        let no_cool_down = Rules { cool_down: Span::ZERO, ..RULES };
        assert_eq!(told("aa..aa..", no_cool_down), "1+ 3- 5+ 7-");
    }

    #[test]
    fn missing_data_is_an_alert_of_its_own_and_no_sign_of_health() {
        assert_eq!(told("nn..", RULES), "1n+ 3n-");
        assert_eq!(told("aannn.a", RULES), "1+ 3n+ 6n-", "the anomaly goes on");
        assert_eq!(told("aannn..", RULES), "1+ 3n+ 6- 6n-");
        assert_eq!(told("ana", RULES), "2+", "an unknown window does not interrupt");
    }

    #[test]
    fn an_entity_that_is_no_longer_reported_ends_and_is_forgotten() {
        let mut tracks = Tracks::default();
        for minute in 0..2 {
            tracks.observe(&window(minute, "aa"), &RULES);
        }
        assert_eq!(tracks.firing().count(), 2);
        let gone = window(2, ".");
        assert!(tracks.observe(&gone, &RULES).is_empty());
        let last = window(3, ".-");
        let changes = tracks.observe(&last, &RULES);
        assert_eq!(changes.iter().map(|c| c.score.is_some()).collect::<Vec<_>>(), [true, false]);
        assert_eq!(changes[1].ended, Some(Timestamp::from_ms(120_000)));
        for minute in 4..20 {
            assert!(tracks.observe(&window(minute, "-."), &RULES).is_empty());
        }
        assert_eq!(tracks, Tracks::default(), "nothing is kept of what is over");
    }

    #[test]
    fn a_window_without_entities_says_nothing() {
        let mut tracks = Tracks::default();
        for minute in 0..2 {
            tracks.observe(&window(minute, "a"), &RULES);
        }
        let before = tracks.clone();
        assert!(tracks.observe(&window(2, ""), &RULES).is_empty());
        assert!(tracks.observe(&window(3, ""), &RULES).is_empty());
        assert_eq!(tracks, before);
    }

    #[test]
    fn a_zero_in_the_document_means_one() {
        let rules = Rules::of(&Alerts { for_windows: 0, resolve_after: 0, ..Alerts::default() });
        assert_eq!((rules.for_windows, rules.resolve_after), (1, 1));
    }
}
