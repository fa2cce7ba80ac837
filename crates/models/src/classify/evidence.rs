//! Evidence of one entity: the sums of the log-probabilities and distances of its windows, with
//! less weight for older windows; and the verdict, which changes only with evidence.
//!
//! Sequential analysis (Wald: Sequential Tests of Statistical Hypotheses, 1945) with decay, because
//! the behaviour of an entity may change. Neighbouring windows are similar, so the sum has a weight
//! that is chosen on left-out entities.

use contract::classify::{ClassBounds, EvidenceRule, Unknown};
use contract::tensors::{Arrays, Numbers, Record};
use contract::{StepError, Timestamp};
use detectors::gradient_boosting::softmax;

/// Lower limit of the log-probability of a window, so that one unusual window does not outweigh all
/// others.
const LEAST_LOG_PROBABILITY: f64 = -6.0;
/// Factor of the distance limit at which an existing verdict is withdrawn.
const SLACK: f64 = 1.25;
/// Probability below which an existing verdict is withdrawn.
const DOUBT: f64 = 0.5;

/// How evidence becomes a class.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// How windows are added up.
    pub rule: &'a EvidenceRule,
    /// Limits of a class.
    pub bounds: &'a ClassBounds,
}

/// Evidence of one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityEvidence {
    /// Decayed sum of the log-probabilities of each class.
    sums: Vec<f32>,
    /// Decayed mean of the distances from each class.
    distances: Vec<f32>,
    /// Windows it was seen in.
    pub windows: u32,
    /// Index of its class; `None` for `unknown`.
    pub class: Option<u32>,
    /// Why it is `unknown`.
    pub unknown: Option<Unknown>,
    /// End of the window of the verdict.
    pub since: Timestamp,
    /// End of the first window.
    pub first_seen: Timestamp,
    /// End of the last window.
    pub last_seen: Timestamp,
    /// What it declares, as the source writes it.
    pub declared: String,
}

impl Record for EntityEvidence {
    fn to_arrays(&self) -> Arrays {
        let times = [self.since, self.first_seen, self.last_seen].map(Timestamp::ms);
        Arrays::default()
            .with("sums", Numbers::F32(self.sums.clone()))
            .with("distances", Numbers::F32(self.distances.clone()))
            .with("windows", Numbers::U32(vec![self.windows]))
            .with("class", Numbers::U32(self.class.into_iter().collect()))
            .with("unknown", Numbers::U8(self.unknown.map(Unknown::code).into_iter().collect()))
            .with("since_first_last_ms", Numbers::I64(times.to_vec()))
            .with("declared", Numbers::U8(self.declared.clone().into_bytes()))
    }

    fn from_arrays(arrays: &mut Arrays) -> Result<Self, StepError> {
        let refused = |what: &str| StepError::damaged(format!("`{what}` cannot be read"));
        let unknown = arrays.take_u8("unknown")?.first().copied();
        let unknown = unknown.map(|code| Unknown::of_code(code).ok_or_else(|| refused("unknown")));
        let times = arrays.take_i64("since_first_last_ms")?;
        let &[since, first_seen, last_seen] = times.as_slice() else {
            return Err(refused("since_first_last_ms"));
        };
        let declared = String::from_utf8(arrays.take_u8("declared")?);
        Ok(Self {
            sums: arrays.take_f32("sums")?,
            distances: arrays.take_f32("distances")?,
            windows: arrays.take_u32("windows")?.first().copied().unwrap_or_default(),
            class: arrays.take_u32("class")?.first().copied(),
            unknown: unknown.transpose()?,
            since: Timestamp::from_ms(since),
            first_seen: Timestamp::from_ms(first_seen),
            last_seen: Timestamp::from_ms(last_seen),
            declared: declared.map_err(|_| refused("declared"))?,
        })
    }
}

/// The most probable class of an entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// Index of the class.
    pub class: usize,
    /// Its probability, 0 to 1.
    pub probability: f64,
}

impl EntityEvidence {
    /// Begins with an entity that was first seen in a window.
    pub fn new(classes: usize, time: Timestamp, declared: &str) -> Self {
        Self {
            sums: vec![0.0; classes],
            distances: vec![0.0; classes],
            windows: 0,
            class: None,
            unknown: Some(Unknown::TooLittleData),
            since: time,
            first_seen: time,
            last_seen: time,
            declared: declared.to_owned(),
        }
    }

    /// Returns whether it has this number of classes; the state of another bundle may have another
    /// number.
    pub fn fits(&self, classes: usize) -> bool {
        self.sums.len() == classes && self.distances.len() == classes
    }

    /// Adds a window: the probability of each class and the distance from it. Returns whether the
    /// verdict changed.
    pub fn observe(
        &mut self,
        time: Timestamp,
        probabilities: &[f64],
        distances: &[f64],
        Rules { rule, bounds }: Rules<'_>,
    ) -> bool {
        let fade = 0.5_f64.powf(1.0 / rule.half_life_windows.max(1e-3));
        for (sum, probability) in self.sums.iter_mut().zip(probabilities) {
            let said = probability.max(f64::MIN_POSITIVE).ln().max(LEAST_LOG_PROBABILITY);
            *sum = single(f64::from(*sum) * fade + said);
        }
        self.windows = self.windows.saturating_add(1);
        // The windows so far have all the weight: the first ones, when a service starts, are soon few of many.
        let weight = (1.0 - fade) / (1.0 - fade.powf(f64::from(self.windows)));
        for (mean, distance) in self.distances.iter_mut().zip(distances) {
            let before = f64::from(*mean);
            *mean = single(before + (distance - before) * weight);
        }
        self.last_seen = time;
        let before = (self.class, self.unknown);
        (self.class, self.unknown) = self.verdict(rule, bounds);
        let changed = before != (self.class, self.unknown);
        if changed {
            self.since = time;
        }
        changed
    }

    /// Returns the probability of each class, by all windows together.
    pub fn probabilities(&self, bounds: &ClassBounds) -> Vec<f64> {
        let sums = self.sums.iter().map(|sum| f64::from(*sum) * bounds.evidence_weight);
        let mut sums: Vec<f64> = sums.collect();
        softmax(&mut sums);
        sums
    }

    /// Returns the most probable class: the first of equals.
    pub fn nearest(&self, bounds: &ClassBounds) -> Nearest {
        nearest(&self.probabilities(bounds))
    }

    /// Returns the distance from a class.
    pub fn distance(&self, class: usize) -> f64 {
        self.distances.get(class).copied().map_or(f64::INFINITY, f64::from)
    }

    fn verdict(&self, rule: &EvidenceRule, bounds: &ClassBounds) -> (Option<u32>, Option<Unknown>) {
        if self.windows < rule.min_windows {
            return (None, Some(Unknown::TooLittleData));
        }
        let probabilities = self.probabilities(bounds);
        let nearest = nearest(&probabilities);
        let is_settled = self.windows >= rule.deadline_windows;
        let furthest = if is_settled { bounds.settled_distance } else { bounds.starting_distance };
        let near = |class: usize, slack: f64| {
            furthest.is_none_or(|furthest| self.distance(class) <= furthest * slack)
        };
        let is_near = near(nearest.class, 1.0);
        if nearest.probability >= bounds.probability && is_near {
            return (u32::try_from(nearest.class).ok(), None);
        }
        // A verdict stays until there is evidence against it.
        if let Some(class) = self.class
            && let Some(probability) = probabilities.get(class as usize)
            && *probability >= DOUBT
            && near(class as usize, SLACK)
        {
            return (Some(class), None);
        }
        let why = match (is_near, !is_settled) {
            (false, _) if nearest.probability >= bounds.probability => Unknown::Unlike,
            (_, true) if self.class.is_none() => Unknown::TooLittleData,
            _ => Unknown::Unclear,
        };
        (None, Some(why))
    }
}

fn nearest(probabilities: &[f64]) -> Nearest {
    let pairs = probabilities.iter().copied().enumerate();
    let (class, probability) =
        pairs.fold((0, -1.0), |best, pair| if pair.1 > best.1 { pair } else { best });
    Nearest { class, probability }
}

#[expect(clippy::cast_possible_truncation, reason = "evidence needs no more than seven digits")]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: EvidenceRule =
        EvidenceRule { min_windows: 3, half_life_windows: 12.0, deadline_windows: 12 };
    const BOUNDS: ClassBounds = ClassBounds {
        probability: 0.9,
        starting_distance: Some(4.0),
        settled_distance: Some(1.0),
        evidence_weight: 0.5,
    };

    fn after(windows: &[([f64; 2], [f64; 2])]) -> EntityEvidence {
        let mut entity = EntityEvidence::new(2, Timestamp::from_ms(0), "");
        for (number, (probabilities, distances)) in windows.iter().enumerate() {
            let time = Timestamp::from_ms(i64::try_from(number).unwrap() * 10_000);
            entity.observe(time, probabilities, distances, Rules { rule: &RULE, bounds: &BOUNDS });
        }
        entity
    }

    #[test]
    fn an_entity_is_named_once_there_are_enough_windows() {
        let sure = ([0.98, 0.02], [0.1, 4.0]);
        let entity = after(&[sure; 2]);
        assert_eq!((entity.class, entity.unknown), (None, Some(Unknown::TooLittleData)));
        let entity = after(&[sure; 3]);
        assert_eq!((entity.class, entity.since.ms()), (Some(0), 20_000));
    }

    #[test]
    fn one_deviating_window_changes_no_verdict_and_many_do() {
        let (one, other) = (([0.98, 0.02], [0.1, 0.9]), ([0.02, 0.98], [0.9, 0.1]));
        let mut windows = vec![one; 12];
        windows.push(other);
        assert_eq!(after(&windows).class, Some(0));
        windows.extend([other; 20]);
        assert_eq!(after(&windows).class, Some(1));
    }

    #[test]
    fn row_unlike_nearest_class_is_unknown() {
        let entity = after(&[([0.98, 0.02], [3.0, 8.0]); 20]);
        assert_eq!((entity.class, entity.unknown), (None, Some(Unknown::Unlike)));
        assert_eq!(entity.nearest(&BOUNDS).class, 0);
    }

    #[test]
    fn deviation_of_the_start_is_forgotten_and_a_later_one_withdraws_the_class() {
        let (start, usual) = (([0.98, 0.02], [9.0, 9.0]), ([0.98, 0.02], [0.1, 9.0]));
        let (mut windows, miner) = (vec![start], ([0.98, 0.02], [3.0, 9.0]));
        windows.extend([usual; 11]);
        let entity = after(&windows);
        assert_eq!(entity.class, Some(0), "distance {}", entity.distance(0));
        windows.extend([miner; 2]);
        assert_eq!(after(&windows).class, Some(0));
        windows.extend([miner; 10]);
        let entity = after(&windows);
        assert_eq!((entity.class, entity.unknown), (None, Some(Unknown::Unlike)));
    }

    #[test]
    fn mean_distance_weighs_all_windows_so_far_by_their_age() {
        let entity = after(&[([0.5; 2], [4.0, 0.0]), ([0.5; 2], [1.0, 0.0])]);
        let fade = 0.5_f64.powf(1.0 / 12.0);
        let expected = (4.0 * fade + 1.0) / (fade + 1.0);
        assert!((entity.distance(0) - expected).abs() < 1e-6, "{}", entity.distance(0));
    }

    #[test]
    fn an_unclear_entity_has_too_little_data_until_the_deadline() {
        let unclear = ([0.5, 0.5], [0.1, 0.1]);
        assert_eq!(after(&[unclear; 11]).unknown, Some(Unknown::TooLittleData));
        assert_eq!(after(&[unclear; 12]).unknown, Some(Unknown::Unclear));
    }
}
