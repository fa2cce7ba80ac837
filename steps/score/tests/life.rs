//! Events during scoring: models change, data stops, clocks jump, ticks are killed.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use contract::score::{LateTicks, LateWindows, Verdict};
use frames::samples::SampleRows;
use frames::{FeatureTable, SamplesWriter};
use fs_err as fs;
use support::Scorer;
use support::small_model::{COLUMNS, features, minute};

fn quiet(minutes: std::ops::RangeInclusive<i64>) -> FeatureTable {
    features(&minutes.collect::<Vec<_>>(), &["a", "b"], &[])
}

#[test]
fn window_without_samples_is_no_data_despite_fill() {
    let scorer = Scorer::new();
    let path = scorer.path("samples.parquet");
    let mut rows = SampleRows { columns: vec![Vec::new(); 2], ..SampleRows::default() };
    for number in [101, 102, 103] {
        rows.times.push(minute(number));
        rows.entities.push(String::new());
        let value = (number != 102).then_some(1.0);
        rows.columns.iter_mut().for_each(|column| column.push(value));
    }
    let mut writer = SamplesWriter::create(&path, &COLUMNS, false).unwrap();
    writer.write(&rows).unwrap();
    writer.publish().unwrap();
    let mut args = scorer.args(&features(&[101, 102, 103], &[""], &[]), 103);
    args.samples = Some(path);
    scorer.tick_with(&args);
    let verdicts = [101, 102, 103].map(|number| scorer.window(number).entities[0].verdict);
    assert_eq!(verdicts, [Verdict::Normal, Verdict::NoData, Verdict::Normal]);
}

#[test]
fn late_ticks_are_recorded() {
    let scorer = Scorer::new();
    let late = || {
        let stored = store::state::read::<LateTicks>(&scorer.store(), "cluster", LateTicks::NAME);
        stored.unwrap().map(|stored| stored.value.ticks)
    };
    scorer.tick(&quiet(101..=101), 101);
    assert_eq!(late(), None);
    scorer.tick(&quiet(102..=110), 110);
    let expected = LateWindows { at: minute(110), first: minute(102), last: minute(108) };
    assert_eq!(late(), Some(vec![expected.clone()]));
    scorer.tick(&quiet(102..=110), 110);
    assert_eq!(late(), Some(vec![expected.clone()]), "a tick that has nothing to do");

    let before = scorer.watermark();
    scorer.tick(&quiet(111..=115), 115);
    scorer.set_back(&before);
    scorer.tick(&quiet(111..=120), 120);
    let after_a_kill = LateWindows { at: minute(120), first: minute(111), last: minute(118) };
    assert_eq!(late(), Some(vec![expected, after_a_kill]), "the killed tick's note is replaced");
}

#[test]
fn a_clock_that_jumps_ahead_uses_up_one_window_and_not_an_hour() {
    let scorer = Scorer::new();
    scorer.tick(&quiet(101..=105), 105);
    let scored = scorer.tick(&quiet(101..=106), 166);
    assert_eq!((&scored["windows"], &scored["silent"]), (&2.into(), &59.into()));
    assert_eq!(scorer.watermark().scored_to, minute(107));
    scorer.tick(&quiet(101..=106), 106);
    assert_eq!(scorer.watermark().scored_to, minute(107), "and when it jumps back");
    scorer.tick(&quiet(101..=120), 120);
    assert_eq!(scorer.window(108).entities[0].verdict, Verdict::Normal);

    let (code, said) = {
        fs::remove_file(scorer.path("scored.json")).unwrap();
        scorer.refusal(&quiet(101..=120), 120 + 30 * 1440)
    };
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("check the clock"), "{said}");
    assert_eq!(scorer.watermark().scored_to, minute(120));
}

#[test]
fn windows_older_than_catch_up_are_skipped_with_a_warning() {
    let scorer = Scorer::new();
    let last = 100 + 1440 + 10;
    let scored = scorer.tick(&quiet(last - 5..=last), last);
    assert_eq!((&scored["windows"], &scored["given_up"]), (&1440.into(), &10.into()));
}

#[test]
fn after_a_kill_and_a_switch_the_state_is_that_of_a_tick_that_ended_before_the_switch() {
    let (killed, undisturbed) = (Scorer::new(), Scorer::new());
    for scorer in [&killed, &undisturbed] {
        let before = scorer.watermark();
        scorer.tick(&quiet(101..=105), 105);
        if std::ptr::eq(scorer, &raw const killed) {
            scorer.set_back(&before);
        }
        scorer.promote(&quiet(0..=90), minute(106));
        scorer.tick(&quiet(101..=110), 110);
    }
    assert_eq!(killed.window(106).switched_from.unwrap(), undisturbed.window(105).version);
    assert_eq!(killed.window(107).switched_from, None);
    let [killed, undisturbed] =
        [killed, undisturbed].map(|scorer| scorer.hashes_but_of_the_clock());
    assert_eq!(killed, undisturbed);
}

#[test]
fn a_challenger_scores_the_same_windows_and_changes_nothing_else() {
    let (with, without) = (Scorer::new(), Scorer::new());
    let live = with.live_version();
    let shadow = with.promote(&quiet(0..=50), minute(100));
    with.point("live", &live, minute(100));
    with.point("shadow", &shadow, minute(100));
    for scorer in [&with, &without] {
        scorer.tick(&features(&[101, 102], &["a", "b"], &[102]), 102);
    }
    let (mut of_both, of_live) = (with.window(102), without.window(102));
    let challenger = of_both.shadow.take().unwrap();
    assert_eq!(of_both, of_live);
    assert_eq!((challenger.version, challenger.entities.len()), (shadow.clone(), 2));
    assert_eq!(challenger.entities[0].verdict, Verdict::Anomalous);
    assert!(challenger.entities[0].causes.is_empty(), "it causes no alert");

    // An unreadable challenger does not affect scoring.
    let path = with.path("store/models/cluster/versions").join(&shadow).join("reference.json");
    fs::write(&path, "{}").unwrap();
    let output = with.output(&quiet(103..=103), 103);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("`shadow` does not score"));
    assert_eq!(with.window(103).shadow, None);
}

#[test]
fn a_bundle_that_was_cached_is_used_if_its_hashes_are_right() {
    let scorer = Scorer::new();
    let tick = |number: i64| {
        let mut args = scorer.args(&quiet(number..=number), number);
        args.model_cache = Some(scorer.path("cache"));
        scorer.run(&args)
    };
    assert!(tick(101).status.success());
    let reference = format!("models/cluster/versions/{}/reference.json", scorer.live_version());
    let kept = fs::read(scorer.path("store").join(&reference)).unwrap();
    fs::remove_file(scorer.path("store").join(&reference)).unwrap();
    assert!(tick(102).status.success(), "the store need not be asked");
    fs::write(scorer.path("cache").join(&reference), "{}").unwrap();
    assert_eq!(tick(103).status.code(), Some(3), "a cache that was tampered with is not used");
    fs::write(scorer.path("store").join(&reference), kept).unwrap();
    assert!(tick(103).status.success());
}

#[test]
fn drift_is_reported_hourly_once_enough_of_a_day_is_scored() {
    let scorer = Scorer::new();
    let last = 100 + 20 * 60;
    let mut rows = quiet(101..=last);
    // The first feature moves by a third of its range; the second loses a quarter of its values.
    let [moved, missing] = rows.table.columns.as_mut_slice() else { panic!("two columns") };
    moved.values.iter_mut().for_each(|value| *value += 0.33);
    missing.values.iter_mut().step_by(4).for_each(|value| *value = f64::NAN);
    let scored = scorer.tick(&rows, last);
    assert_eq!(scored["drifted"], serde_json::json!(COLUMNS));
    let said: Vec<i64> =
        (101..=last).filter(|number| scorer.window(*number).drift.is_some()).collect();
    assert_eq!(said, [1200, 1260], "18 hours after 101, on the hour");
    let drift = scorer.window(1260).drift.unwrap();
    assert!(drift.features[0].stability_index.unwrap() > 0.25);
    assert!(drift.features[1].stability_index.unwrap() < 0.05);
    assert!((drift.features[1].missing_ratio - 0.25).abs() < 0.01);

    let same = Scorer::new();
    same.tick(&quiet(101..=last), last);
    let drift = same.window(1260).drift.unwrap();
    assert_eq!(drift.drifted().count(), 0, "{drift:?}");
}

#[test]
fn windows_that_could_not_be_collected_are_no_data_with_the_reason_or_wait() {
    use contract::coverage::{Coverage, Gap, GapKind};
    let scorer = Scorer::new();
    let samples = scorer.path("samples.parquet");
    let mut rows = SampleRows { columns: vec![Vec::new(); 2], ..SampleRows::default() };
    for number in 101..=104 {
        rows.times.push(minute(number));
        rows.entities.push(String::new());
        rows.columns.iter_mut().for_each(|column| column.push(Some(1.0)));
    }
    let mut writer = SamplesWriter::create(&samples, &COLUMNS, false).unwrap();
    writer.write(&rows).unwrap();
    writer.publish().unwrap();
    let coverage = Coverage {
        format: Coverage::FORMAT,
        until: minute(103),
        gaps: vec![Gap {
            first: minute(102),
            last: minute(102),
            query: "load".to_owned(),
            entity: None,
            kind: GapKind::Incomplete,
            reason: "store 10.0.0.7 did not answer".to_owned(),
        }],
        waiting: Some("503".to_owned()),
    };
    let path = scorer.path("coverage.json");
    contract::write_json(&path, &coverage).unwrap();
    let mut args = scorer.args(&features(&[101, 102, 103, 104], &[""], &[]), 104);
    (args.samples, args.coverage) = (Some(samples), Some(path));
    scorer.tick_with(&args);
    let verdicts = [101, 102, 103].map(|number| scorer.window(number).entities[0].verdict);
    assert_eq!(verdicts, [Verdict::Normal, Verdict::NoData, Verdict::Normal]);
    let reason = scorer.window(102).entities[0].reason.clone();
    let expected = "incomplete: query `load`: store 10.0.0.7 did not answer";
    assert_eq!(reason.as_deref(), Some(expected));
    assert_eq!(scorer.watermark().scored_to, minute(103), "the window of 104 waits");
    let scored: serde_json::Value = contract::read_json(&scorer.path("scored.json")).unwrap();
    assert_eq!((&scored["waiting"], &scored["reasons"][expected]), (&1.into(), &1.into()));
}

#[test]
fn columns_that_the_source_has_only_since_the_training_do_not_stop_the_scoring() {
    let scorer = Scorer::new();
    let mut table = features(&[101], &[""], &[]);
    let mut column = table.contract.columns[0].clone();
    column.name = "newer".to_owned();
    table.contract.columns.insert(0, column);
    let mut values = table.table.columns[0].clone();
    values.name = "newer".to_owned();
    table.table.columns.insert(0, values);
    scorer.tick(&table, 101);
    assert_eq!(scorer.window(101).entities[0].verdict, Verdict::Normal);
}
