//! Verdicts of the adaptive model and its threshold on known changes: each change is injected into
//! the same five days of six signals, after five days of training.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod quality;

use std::collections::BTreeMap;
use std::ops::Range;

use contract::rules::FalseAlarmThreshold;
use contract::{Span, Timestamp};
use detectors::adaptive::fit::{AdaptiveParams, Fitted, Order};
use detectors::adaptive::{Adaptive, Memory};
use detectors::sequence::NewLevel;
use detectors::settings::Adaptive as Settings;
use linfa::ParamGuard as _;
use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use models::Sequence as _;
use models::alarm::{self, AlarmRule, AlarmState};
use models::threshold::Judged;
use ndarray::Array2;

const STEP: Span = Span::from_seconds(60);
const DAY: usize = 1440;
const COLUMNS: usize = 6;

/// The change begins two days into the test part.
const AT: usize = 2 * DAY;

type Row = [f64; COLUMNS];

/// A linear congruential generator: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// How much the signals go up and down with the hour, and go down on two days of seven.
#[derive(Clone, Copy)]
struct Rhythm {
    daily: f64,
    weekly: f64,
}

const USUAL: Rhythm = Rhythm { daily: 4.0, weekly: 0.0 };

/// Minutes of signals with a rhythm, a shared load and independent noise; the last two signals move
/// together. Their standard deviation is about 3.5.
fn signals(seed: u64, minutes: Range<usize>, rhythm: Rhythm) -> Vec<Row> {
    let mut random = Random(seed);
    let (mut load, mut own) = (0.0, [0.0; COLUMNS]);
    let row = |minute: usize| {
        load = 0.95 * load + 0.5 * random.normal();
        let weekend = if (minute / DAY) % 7 >= 5 { rhythm.weekly } else { 0.0 };
        let mut row = [0.0; COLUMNS];
        for (column, value) in row.iter_mut().enumerate() {
            own[column] = 0.7 * own[column] + random.normal();
            let number = column as f64;
            let angle = std::f64::consts::TAU * minute as f64 / DAY as f64 + number;
            *value = 50.0
                + 10.0 * number
                + rhythm.daily * angle.sin()
                + load * (1.0 + 0.2 * number)
                + own[column]
                - weekend;
        }
        row[5] = 1.1 * row[4] + 0.3 * random.normal();
        row
    };
    minutes.map(row).collect()
}

/// A model with its threshold, and the state of each entity after training.
struct Watch {
    model: Adaptive,
    rule: AlarmRule,
    past: BTreeMap<String, (Memory, AlarmState)>,
    trained_to: usize,
}

/// The verdict on a minute.
struct Said {
    decision: f64,
    alarmed: bool,
    new_level: Option<NewLevel>,
}

fn time(minute: usize) -> Timestamp {
    Timestamp::from_ms(1_790_000_000_000 + 60_000 * i64::try_from(minute).unwrap())
}

impl Watch {
    /// Trains on the same minutes of some entities.
    fn trained(entities: &[&[Row]]) -> Self {
        let minutes = entities[0].len();
        let order = Order {
            step: STEP,
            times: entities.iter().flat_map(|rows| (0..rows.len()).map(time)).collect(),
            entities: (0..entities.len() * minutes).map(|row| name(row / minutes)).collect(),
            normal: vec![true; entities.len() * minutes],
        };
        let values = entities.iter().flat_map(|rows| rows.iter().flatten()).copied().collect();
        let values = Array2::from_shape_vec((entities.len() * minutes, COLUMNS), values).unwrap();
        let params = AdaptiveParams::new(Settings::default(), order).check().unwrap();
        let Fitted { model, training } = params.fit(&DatasetBase::from(values)).unwrap();
        let threshold = FalseAlarmThreshold::default();
        let scores: Vec<&[f64]> = training.scores.values().map(Vec::as_slice).collect();
        let (levels, states) = alarm::calibrate(&threshold, STEP, &scores);
        let past = training.memories.into_iter().zip(states);
        let past = past.map(|((entity, memory), state)| (entity, (memory, state))).collect();
        Self { model, rule: AlarmRule::new(&threshold, levels, STEP), past, trained_to: minutes }
    }

    /// Scores the minutes of an entity that follow the training.
    fn watch(&self, entity: &str, rows: &[Row]) -> Vec<Said> {
        let unknown = || (self.model.following().fresh(), self.rule.fresh());
        let (mut memory, mut state) = self.past.get(entity).cloned().unwrap_or_else(unknown);
        let said = rows.iter().enumerate().map(|(row, values)| {
            let time_ms = time(self.trained_to + row).ms();
            let step = self.model.step(&mut memory, time_ms, values);
            let alarmed = step.open && step.decision > self.rule.threshold(&state);
            let judged = Judged { score: step.decision, alarmed, open: step.open };
            self.rule.observe(&mut state, time_ms, judged);
            self.model.judged(&mut memory, alarmed);
            Said { decision: step.decision, alarmed, new_level: memory.new_level() }
        });
        said.collect()
    }
}

fn name(entity: usize) -> String {
    format!("node-{entity}")
}

/// Scores the usual five days with a change in them.
fn watched(change: impl Fn(&mut [Row])) -> Vec<Said> {
    let watch = Watch::trained(&[&signals(1, 0..5 * DAY, USUAL)]);
    let mut rows = signals(2, 5 * DAY..10 * DAY, USUAL);
    change(&mut rows);
    watch.watch("node-0", &rows)
}

/// Counts alarms; one that begins within an hour of the last continues it, as in what is reported
/// of new levels.
fn alarms(said: &[Said]) -> usize {
    let mut quiet_minutes = 60;
    let begins = said.iter().filter(|said| {
        let begins = said.alarmed && quiet_minutes >= 60;
        quiet_minutes = if said.alarmed { 0 } else { quiet_minutes + 1 };
        begins
    });
    begins.count()
}

fn found(said: &[Said]) -> bool {
    said.iter().any(|said| said.alarmed)
}

/// Returns whether at most twice as many alarms began as the threshold allows, and all were short.
fn is_quiet(said: &[Said]) -> bool {
    let alarmed = said.iter().filter(|said| said.alarmed).count();
    alarms(said) * DAY <= 4 * said.len() && alarmed * 50 <= said.len()
}

#[test]
fn usual_days_raise_as_many_alarms_as_are_accepted() {
    let count = |seed: u64| {
        let watch = Watch::trained(&[&signals(seed, 0..5 * DAY, USUAL)]);
        let said = watch.watch("node-0", &signals(100 + seed, 5 * DAY..10 * DAY, USUAL));
        assert!(is_quiet(&said), "{} alarms with seed {seed}", alarms(&said));
        assert!(said.iter().all(|said| said.new_level.is_none()), "nothing is on a new level");
        // Counts each row at which the score rises above the threshold, even if it flickers.
        said.windows(2).filter(|pair| pair[1].alarmed && !pair[0].alarmed).count()
    };
    let counts: Vec<usize> = (1..=8).map(count).collect();
    let of_a_day = counts.iter().sum::<usize>() as f64 / 40.0;
    assert!((1.0..=2.5).contains(&of_a_day), "{of_a_day} a day instead of 2: {counts:?}");
}

#[test]
fn level_shift_that_stays_is_one_alarm_that_ends_within_half_a_day_and_names_the_new_level() {
    let said = watched(|rows| {
        for row in &mut rows[AT..] {
            row[1] += 25.0;
            row[2] += 25.0;
        }
    });
    assert!(found(&said[AT..AT + 3]));
    assert!(said[AT + 5..AT + 300].iter().all(|said| said.alarmed), "the alarm lasts");
    assert!(is_quiet(&said[AT + DAY / 2..]), "{} alarms", alarms(&said[AT + DAY / 2..]));
    let after = said[AT + 300..].iter().find_map(|said| said.new_level.as_ref()).unwrap();
    assert_eq!(after.columns, [1, 2]);
    let since = after.since_ms - time(5 * DAY + AT).ms();
    assert!((0..3 * 60_000).contains(&since), "{since} ms after the change");
}

#[test]
fn level_shift_that_goes_back_leaves_no_new_level() {
    let said = watched(|rows| {
        for row in &mut rows[AT..AT + 30] {
            row[1] += 25.0;
        }
    });
    assert!(found(&said[AT..AT + 3]));
    assert!(said.iter().all(|said| said.new_level.is_none()));
}

#[test]
fn ramp_over_six_hours_is_found_on_its_way_and_quiet_half_a_day_after() {
    let said = watched(|rows| {
        for (minute, row) in rows[AT..].iter_mut().enumerate() {
            row[1] += 25.0 * (minute as f64 / 360.0).min(1.0);
        }
    });
    assert!(found(&said[AT..AT + 180]));
    assert!(is_quiet(&said[AT + 360 + DAY / 2..]));
}

#[test]
fn tick_of_three_minutes_is_found_at_once_and_over_within_the_windows() {
    let said = watched(|rows| rows[AT..AT + 3].iter_mut().for_each(|row| row[3] += 40.0));
    assert!(found(&said[AT..AT + 3]));
    assert!(!found(&said[AT + 40..AT + 300]));
}

/// Two signals that move apart for twenty minutes at three o'clock on some nights.
fn job(rows: &mut [Row], nights: Range<usize>) {
    for night in nights {
        for row in &mut rows[night * DAY + 180..night * DAY + 200] {
            row[0] += 20.0;
            row[2] -= 20.0;
        }
    }
}

#[test]
fn state_that_training_saw_on_many_nights_scores_lower_but_a_fault_of_its_size_does_not() {
    let scores = |trained: Range<usize>| {
        let mut rows = signals(1, 0..5 * DAY, USUAL);
        job(&mut rows, trained);
        let watch = Watch::trained(&[&rows]);
        let mut rows = signals(2, 5 * DAY..10 * DAY, USUAL);
        job(&mut rows, 0..5);
        for row in &mut rows[AT + 700..AT + 720] {
            row[1] += 20.0;
            row[3] -= 20.0;
        }
        let said = watch.watch("node-0", &rows);
        assert!(found(&said[AT + 700..AT + 720]), "the fault is found");
        [AT + 199, AT + 719].map(|minute| said[minute].decision)
    };
    let ([known, fault], [once, _]) = (scores(0..5), scores(2..3));
    assert!(known < fault - 1.0, "{known} for the job, {fault} for the fault");
    assert!(known < once - 1.0, "{known}, and {once} where training saw it on one night");
}

#[test]
fn variance_of_one_signal_that_grows_is_found_within_the_hour() {
    let said = watched(|rows| {
        let centre = rows[AT - 1][4];
        for (minute, row) in rows[AT..AT + 60].iter_mut().enumerate() {
            let turned = if minute % 2 == 0 { -5.0 } else { 5.0 };
            row[4] = centre + turned * (row[4] - centre);
        }
    });
    assert!(found(&said[AT..AT + 60]));
}

#[test]
fn pair_of_signals_that_moves_apart_scores_higher_than_one_that_moves_together() {
    let moved = |sign: f64| {
        let said = watched(|rows| {
            for row in &mut rows[AT..AT + 30] {
                row[4] += 8.0;
                row[5] += sign * 9.0;
            }
        });
        said[AT + 20].decision
    };
    let (together, apart) = (moved(1.0), moved(-1.0));
    assert!(apart > together + 0.3, "{apart} apart, {together} together");
}

#[test]
fn column_that_is_missing_for_a_day_and_comes_back_raises_no_alarms_of_its_own() {
    for seed in 1..=6 {
        let watch = Watch::trained(&[&signals(seed, 0..5 * DAY, USUAL)]);
        let rows = signals(100 + seed, 5 * DAY..10 * DAY, USUAL);
        let usual = watch.watch("node-0", &rows);
        // Column 5 moves with column 4, column 2 by itself.
        for column in [2, 5] {
            let mut gone = rows.clone();
            gone[AT..AT + DAY].iter_mut().for_each(|row| row[column] = f64::NAN);
            let said = watch.watch("node-0", &gone);
            for (minutes, more) in [(AT..AT + DAY, 3), (AT + DAY..5 * DAY, 1)] {
                let [usual, found] = [&usual, &said].map(|said| alarms(&said[minutes.clone()]));
                let of = format!("seed {seed}, column {column}, minutes {minutes:?}");
                assert!(found <= usual + more, "{found} alarms instead of {usual}: {of}");
            }
        }
    }
}

#[test]
fn strong_daily_rhythm_raises_no_more_alarms_than_a_weak_one() {
    let strong = Rhythm { daily: 12.0, weekly: 0.0 };
    let watch = Watch::trained(&[&signals(1, 0..5 * DAY, strong)]);
    let said = watch.watch("node-0", &signals(2, 5 * DAY..10 * DAY, strong));
    assert!(is_quiet(&said), "{} alarms", alarms(&said));
}

// A weekend is a lasting change for this model: it has no profile of the week.
#[test]
fn weekly_rhythm_alarms_at_a_weekend_and_is_quiet_on_working_days() {
    let weekly = Rhythm { daily: 4.0, weekly: 8.0 };
    let watch = Watch::trained(&[&signals(1, 0..14 * DAY, weekly)]);
    let said = watch.watch("node-0", &signals(2, 14 * DAY..21 * DAY, weekly));
    // The training ends with a weekend.
    let working = alarms(&said[DAY / 2..5 * DAY]);
    assert!(working <= 25, "{working} alarms of working days");
    let alarmed = said[5 * DAY..].iter().filter(|said| said.alarmed).count();
    assert!(alarmed < 600, "{alarmed} minutes of a weekend");
}

#[test]
fn restart_with_counters_at_zero_is_one_short_alarm() {
    let said = watched(|rows| rows[AT..AT + 2].fill([0.0; COLUMNS]));
    assert!(found(&said[AT..AT + 2]));
    assert!(!found(&said[AT + 40..AT + 300]));
}

#[test]
fn new_entity_on_another_level_is_quiet_after_half_a_day_and_changes_nothing_for_the_others() {
    let watch = Watch::trained(&[&signals(1, 0..5 * DAY, USUAL), &signals(3, 0..5 * DAY, USUAL)]);
    let higher = |rows: Vec<Row>| -> Vec<Row> {
        rows.into_iter().map(|row| row.map(|value| value + 30.0)).collect()
    };
    let said = watch.watch("new", &higher(signals(5, 5 * DAY..10 * DAY, USUAL)));
    assert!(found(&said[..30]), "its usual level there is not learned yet");
    assert!(is_quiet(&said[DAY / 2..]), "{} alarms", alarms(&said[DAY / 2..]));
    assert!(is_quiet(&watch.watch("node-1", &signals(4, 5 * DAY..10 * DAY, USUAL))));
}

#[test]
fn quiet_entity_beside_a_restless_one_is_measured_by_its_own_deviations() {
    let times_five = |rows: Vec<Row>| -> Vec<Row> {
        rows.into_iter().map(|row| row.map(|value| 5.0 * value)).collect()
    };
    let restless = times_five(signals(3, 0..5 * DAY, USUAL));
    let watch = Watch::trained(&[&signals(1, 0..5 * DAY, USUAL), &restless]);
    let mut rows = signals(2, 5 * DAY..10 * DAY, USUAL);
    for row in &mut rows[AT..AT + 30] {
        row[1] += 10.0;
        row[2] += 10.0;
    }
    let said = watch.watch("node-0", &rows);
    assert!(found(&said[AT..AT + 30]));
    assert!(alarms(&said) <= 40, "{} alarms in five days", alarms(&said));
    let restless = times_five(signals(4, 5 * DAY..10 * DAY, USUAL));
    assert!(is_quiet(&watch.watch("node-1", &restless)));
}
