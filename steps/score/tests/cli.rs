//! The program as the runner and pods run it: a store, a live model, and windows to score.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use contract::FeatureContract;
use contract::score::Verdict;
use frames::FeatureTable;
use store::{Watermark, watermark};
use support::Scorer;
use support::small_model::{features, hashes, minute};

/// Returns a table without a column's values.
fn with_gap(mut table: FeatureTable, column: usize) -> FeatureTable {
    table.table.columns[column].values.iter_mut().for_each(|value| *value = f64::NAN);
    table
}

#[test]
fn each_window_gets_one_object_and_the_alarm_names_its_cause() {
    let scorer = Scorer::new();
    let rows = features(&[101, 102, 103], &[""], &[102]);
    let scored = scorer.tick(&rows, 103);
    assert_eq!((&scored["windows"], &scored["anomalous"]), (&3.into(), &1.into()));
    let verdicts = [101, 102, 103].map(|number| scorer.window(number).entities[0].verdict);
    assert_eq!(verdicts, [Verdict::Normal, Verdict::Anomalous, Verdict::Normal]);
    let alarm = &scorer.window(102).entities[0];
    assert_eq!(alarm.causes[0].feature, "memory_used_bytes");
    assert!(alarm.causes[0].value.unwrap() > alarm.causes[0].usual_high);
    assert!(alarm.members[0].vote && alarm.members[0].calibrated > 0.99);

    let before = hashes(&scorer.path("store")).unwrap();
    assert_eq!(scorer.tick(&rows, 103)["windows"], 0);
    assert_eq!(scorer.tick(&rows, 101)["windows"], 0, "a tick that comes late");
    assert_eq!(hashes(&scorer.path("store")).unwrap(), before);
}

#[test]
fn a_window_scored_alone_is_scored_as_in_a_batch() {
    let (batch, alone) = (Scorer::new(), Scorer::new());
    let minutes: Vec<i64> = (101..120).collect();
    batch.tick(&features(&minutes, &["a", "b"], &[105, 106]), 119);
    for minute in minutes {
        alone.tick(&features(&[minute], &["a", "b"], &[105, 106]), minute);
    }
    assert_eq!(batch.hashes_but_of_the_clock(), alone.hashes_but_of_the_clock());
}

#[test]
fn objects_written_before_a_kill_are_not_written_twice() {
    let scorer = Scorer::new();
    scorer.tick(&features(&[101, 102], &[""], &[]), 102);
    let current = watermark::read(&scorer.store(), "cluster").unwrap().unwrap();
    let before = Watermark::new(minute(100));
    watermark::write(&scorer.store(), "cluster", &before, Some(&current.etag)).unwrap();
    // The same windows have other values now: the first scores are kept.
    let scored = scorer.tick(&features(&[101, 102, 103], &[""], &[101]), 103);
    assert_eq!((&scored["windows"], &scored["scored_before"]), (&3.into(), &2.into()));
    assert_eq!(scorer.window(101).entities[0].verdict, Verdict::Normal);
}

#[test]
fn missing_data_is_a_verdict_of_its_own() {
    let scorer = Scorer::new();
    scorer.tick(&features(&[101], &["a", "b"], &[]), 101);
    // Entity b has no data, and then no entity has data.
    scorer.tick(&features(&[102], &["a"], &[]), 102);
    scorer.tick(&features(&[], &[], &[]), 103);
    let verdicts = |number| {
        let entities = scorer.window(number).entities;
        entities.into_iter().map(|score| (score.entity, score.verdict)).collect::<Vec<_>>()
    };
    let of = |a, b| vec![("a".to_owned(), a), ("b".to_owned(), b)];
    assert_eq!(verdicts(102), of(Verdict::Normal, Verdict::NoData));
    assert_eq!(verdicts(103), of(Verdict::NoData, Verdict::NoData));

    let gaps = with_gap(with_gap(features(&[104], &["a"], &[]), 0), 1);
    scorer.tick(&gaps, 104);
    assert_eq!(verdicts(104)[0].1, Verdict::NoData);
    scorer.tick(&with_gap(features(&[105], &["a"], &[]), 0), 105);
    assert_eq!(verdicts(105)[0].1, Verdict::Normal, "half of the features are enough");
}

#[test]
fn an_entity_that_is_gone_is_forgotten_and_a_cluster_that_was_never_seen_is_not() {
    let scorer = Scorer::new();
    scorer.tick(&features(&[101], &["a", "b"], &[]), 101);
    scorer.tick(&features(&(102..=170).collect::<Vec<_>>(), &["a"], &[]), 170);
    let names = |number| {
        scorer.window(number).entities.into_iter().map(|score| score.entity).collect::<Vec<_>>()
    };
    assert_eq!(names(161), ["a", "b"]);
    assert_eq!(names(162), ["a"]);

    let silent = Scorer::new();
    silent.tick(&features(&[], &[], &[]), 101);
    assert_eq!(silent.window(101).entities[0].entity, "");
    assert_eq!(silent.window(101).entities[0].verdict, Verdict::NoData);
}

#[test]
fn warm_up_rows_are_not_scored() {
    let scorer = Scorer::new();
    let mut rows = features(&[101, 102], &["new"], &[101]);
    rows.warm_up[0] = true;
    scorer.tick(&rows, 102);
    assert_eq!(scorer.window(101).entities[0].verdict, Verdict::NoData);
    assert_eq!(scorer.window(102).entities[0].verdict, Verdict::Normal);
}

#[test]
fn a_new_model_is_used_by_the_next_tick_and_named_in_its_objects() {
    let scorer = Scorer::new();
    scorer.tick(&features(&[101], &[""], &[]), 101);
    let second = scorer.promote(&features(&(0..90).collect::<Vec<_>>(), &[""], &[]), minute(102));
    scorer.tick(&features(&[102], &[""], &[]), 102);
    assert_eq!(scorer.window(102).version, second);
    assert_ne!(scorer.window(101).version, second);
}

#[test]
fn a_tick_before_the_first_model_scores_nothing_and_is_no_failure() {
    let scorer = Scorer::without_model();
    let scored = scorer.tick(&features(&[101], &[""], &[]), 101);
    assert_eq!(scored["windows"], 0);
    assert_eq!(scored["no_model"], "no model of `cluster` is `live` yet");
    assert!(watermark::read(&scorer.store(), "cluster").unwrap().is_none(), "nothing was scored");
}

#[test]
fn unscorable_input_is_refused_with_a_reason() {
    let rows = features(&[101], &[""], &[]);
    let scorer = Scorer::new();
    let mut other = rows.clone();
    other.contract = FeatureContract { fill: "zero".into(), ..other.contract };
    let (code, said) = scorer.refusal(&other, 101);
    assert_eq!(code, Some(3));
    assert!(said.contains("fill `zero` is not `none`"), "{said}");

    let state = scorer.path("store/state/cluster/watermark.safetensors");
    fs_err::write(&state, "{\"format\": 1, \"scored_to\": 7}").unwrap();
    let (code, said) = scorer.refusal(&rows, 101);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("watermark.safetensors"), "{said}");
}
