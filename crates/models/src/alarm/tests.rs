use super::*;

const MINUTE: Span = Span::from_seconds(60);

/// Scores of an exponential distribution, from a linear congruential generator.
fn scores(count: usize) -> Vec<f64> {
    let mut state = 7_u64;
    let draw = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        -(1.0 - (state >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)).ln()
    };
    (0..count).map(draw).collect()
}

fn rule(per_day: f64, scores: &[f64]) -> (AlarmRule, AlarmState) {
    let threshold = FalseAlarmThreshold { per_day, ..FalseAlarmThreshold::default() };
    let (levels, mut states) = calibrate(&threshold, MINUTE, &[scores]);
    (AlarmRule::new(&threshold, levels, MINUTE), states.remove(0))
}

fn judged(score: f64, alarmed: bool) -> Judged {
    Judged { score, alarmed, open: true }
}

/// Runs in which scores are above the threshold.
fn alarms(rule: &AlarmRule, state: &mut AlarmState, scores: &[f64]) -> usize {
    let mut before = false;
    let begun = scores.iter().map(|score| {
        let alarmed = *score > rule.threshold(state);
        rule.observe(state, 0, judged(*score, alarmed));
        let begins = alarmed && !before;
        before = alarmed;
        usize::from(begins)
    });
    begun.sum()
}

#[test]
fn alarm_count_matches_expectation() {
    let scores = scores(14_400);
    for per_day in [1.0, 2.0, 6.0, 12.0] {
        for training in [&scores[..], &scores[..300]] {
            let (rule, mut state) = rule(per_day, training);
            let alarms = alarms(&rule, &mut state, &scores) as f64;
            let expected = 10.0 * per_day;
            let within = 0.5 * expected..=2.0 * expected;
            assert!(within.contains(&alarms), "{per_day} a day, 10 days: {alarms}");
        }
    }
}

#[test]
fn permanent_rise_of_scores_is_one_alarm_then_the_expected_number() {
    let scores = scores(14_400);
    let (rule, mut state) = rule(2.0, &scores);
    let higher: Vec<f64> = scores.iter().map(|score| score + 10.0).collect();
    assert_eq!(alarms(&rule, &mut state, &higher[..720]), 1);
    let later = alarms(&rule, &mut state, &higher[720..]);
    assert!((9..=38).contains(&later), "{later} in the nine days and a half after");
}

#[test]
fn quiet_scores_lower_the_threshold_within_the_history() {
    let scores = scores(14_400);
    let (rule, mut state) = rule(2.0, &scores);
    let before = rule.threshold(&state);
    let quiet: Vec<f64> = scores[..4320].iter().map(|score| 0.5 * score).collect();
    alarms(&rule, &mut state, &quiet);
    assert!(rule.threshold(&state) < 0.7 * before);
}

// More hours with anomalies than the rank of the threshold would raise it.
#[test]
fn a_few_anomalies_among_the_training_scores_do_not_raise_the_threshold_by_their_height() {
    let clean = scores(4320);
    let mut odd = clean.clone();
    for row in [610, 2110, 3610] {
        odd[row..row + 30].fill(40.0);
    }
    let [clean, odd] = [&clean, &odd].map(|scores| {
        let (rule, state) = rule(2.0, scores);
        rule.threshold(&state)
    });
    assert!(odd < clean + 1.5, "{odd} {clean}");
}

#[test]
fn with_few_peaks_the_threshold_lies_above_the_largest_score() {
    let mut scores = vec![0.0; 100];
    scores[50] = 3.0;
    let (rule, state) = rule(2.0, &scores);
    for state in [&state, &rule.fresh()] {
        assert!((rule.threshold(state) - 3.1).abs() < 1e-6);
    }
}

/// A rule whose threshold is 2.0 above the start of the tail, with 30 rows to rearm.
fn even_rule() -> (AlarmRule, AlarmState, f64) {
    let levels =
        AlarmLevels { tail_start: 1.0, tail_scale: 0.5, peaks_per_day: 20.0, stay_below: 1.0 };
    let rule = AlarmRule::new(&FalseAlarmThreshold::default(), levels, MINUTE);
    let state = AlarmState { peaks: vec![3.0; 72].into(), ..AlarmState::default() };
    (rule, state, 3.0)
}

#[test]
fn score_below_the_highest_of_the_last_alarm_starts_a_new_one_only_after_thirty_rows() {
    let (rule, mut state, threshold) = even_rule();
    let mut judge = |score: f64| {
        let alarmed = score > rule.threshold(&state);
        rule.observe(&mut state, 0, judged(score, alarmed));
        alarmed
    };
    assert!(!judge(threshold - 0.5), "before an alarm");
    assert!(judge(threshold + 0.5));
    assert!(judge(threshold + 0.3), "the same alarm");
    assert!(!judge(0.0), "its end");
    assert!(!judge(threshold + 0.4), "less than it was");
    assert!(judge(threshold + 0.6), "more than it was");
    assert!(!judge(0.0));
    for row in 1..30 {
        assert!(!judge(threshold + 0.55), "row {row} after the second alarm");
    }
    assert!(judge(threshold + 0.1), "armed again");
}

#[test]
fn urgent_score_starts_an_alarm_at_once_whatever_the_last_one_was() {
    let (rule, mut state, threshold) = even_rule();
    for score in [100.0, 0.0, threshold + 1.2] {
        let alarmed = score > rule.threshold(&state);
        rule.observe(&mut state, 0, judged(score, alarmed));
    }
    assert_eq!(state.rows, 0, "half of the tail's scale times ln(14) is 1.32");
    let urgent = threshold + 1.4;
    assert!(urgent > rule.threshold(&state));
    rule.observe(&mut state, 0, judged(urgent, true));
    assert!(state.is_urgent());
}

#[test]
fn scores_that_are_held_back_after_an_alarm_are_no_peaks() {
    let peaks = |rearm_rows: u32, open: bool| {
        let (mut rule, mut state, threshold) = even_rule();
        rule.rearm_rows = rearm_rows;
        for row in 0..60 {
            let score = if row % 10 == 0 { threshold + 0.9 - 0.01 * f64::from(row) } else { 0.0 };
            let alarmed = (open || row == 0) && score > rule.threshold(&state);
            rule.observe(&mut state, 0, Judged { score, alarmed, open });
            // Without the first alarm of the hour, whose score is a peak anyway.
            if row == 0 {
                state.open_peak = 0.0;
            }
        }
        (0..60).for_each(|_| rule.observe(&mut state, 0, judged(0.0, false)));
        state.peaks.iter().filter(|peak| f64::from(**peak) > threshold).count()
    };
    assert_eq!([peaks(1440, true), peaks(0, true)], [0, 1]);
    assert_eq!(peaks(1440, false), 1, "the gate was closed, so nothing was held back");
}

#[test]
fn state_of_an_earlier_version_has_no_rows_to_rearm() {
    let state = AlarmState { rows: 3, open_peak: 2.0, ..AlarmState::default() };
    let mut earlier = Arrays::default()
        .with("time_ms", Numbers::I64(vec![0]))
        .with("peaks", Numbers::F32(Vec::new()))
        .with("open_rows", Numbers::U32(vec![0]))
        .with("open_peak", Numbers::F64(vec![2.0]))
        .with("alarm_rows", Numbers::U32(vec![3]))
        .with("urgent", Numbers::U8(vec![0]));
    assert_eq!(AlarmState::from_arrays(&mut earlier).unwrap(), state);
    let state = AlarmState { rearm_rows: 30, highest: 4.0, ..state };
    assert_eq!(AlarmState::from_arrays(&mut state.to_arrays()).unwrap(), state);
}

#[test]
fn an_alarm_holds_down_to_its_lower_level_and_teaches_nothing_for_half_a_day() {
    let levels =
        AlarmLevels { tail_start: 1.0, tail_scale: 1.0, peaks_per_day: 20.0, stay_below: 1.0 };
    let rule = AlarmRule::new(&FalseAlarmThreshold::default(), levels, MINUTE);
    let peaks = (0..72).map(|rank| single(levels.passed((f64::from(rank) + 1.0) / 3.0))).collect();
    let mut state = AlarmState { peaks, ..AlarmState::default() };
    let threshold = rule.onset(&state);
    assert!((threshold - levels.passed(2.0)).abs() < 0.1, "{threshold}");
    let mut judge = |score: f64| {
        let alarmed = score > rule.threshold(&state);
        rule.observe(&mut state, 0, judged(score, alarmed));
        (alarmed, state.is_urgent())
    };
    assert_eq!(judge(threshold - 0.5), (false, false));
    assert_eq!(judge(threshold + 0.5), (true, false));
    assert_eq!(judge(threshold + 3.0), (true, true));
    assert_eq!(judge(threshold - 0.5), (true, true), "still the same alarm");
    for _ in 0..717 {
        assert_eq!(judge(threshold + 3.0), (true, true), "kept out");
    }
    // From then on scores of the same height are learned, and usual ones below them end it.
    let taught = (0..600_usize).map(|row| if row % 60 == 0 { 3.0 } else { 1.5 });
    let taught: Vec<bool> = taught.map(|above| judge(threshold + above).0).collect();
    assert!(taught[..60].iter().all(|alarmed| *alarmed), "an hour is not enough");
    assert_eq!(taught.last(), Some(&false), "the new usual");
}
