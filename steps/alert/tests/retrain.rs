//! A training that is requested because of drift.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use alert::retrain::{Request, STATE};
use contract::score::{Drift, FeatureDrift};
use contract::{Outcome, Span, StepError, Timestamp};
use fs_err as fs;
use store::{scores, state};
use support::{FILE, Pipeline, minute, window};

const RULES: &str = "  for: 1\n  resolve_after: 1\n  kinds: [anomaly, no_data, drift]\n";

fn pipeline(retrain: &str) -> Pipeline {
    let pipeline = Pipeline::new(RULES, FILE).unwrap();
    let path = pipeline.folder().join("cluster.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}scoring: {{drift: {{{retrain}}}}}\n")).unwrap();
    pipeline
}

/// Writes the window of a minute, which looks at the whole day.
fn score(pipeline: &Pipeline, number: i64, drifted: bool) {
    let mut score = window(minute(number), ".");
    score.drift = Some(Drift {
        since: minute(0),
        rows: 1440,
        features: vec![FeatureDrift {
            feature: "load".into(),
            stability_index: Some(0.7),
            missing_ratio: 0.0,
            usual_missing_ratio: 0.0,
            drifted,
        }],
    });
    scores::write_once(&pipeline.store().unwrap(), &score).unwrap();
}

fn run(pipeline: &Pipeline, now: Timestamp) -> Result<(), StepError> {
    alert::run(&pipeline.args(now), &mut Outcome::start("alert"))
}

/// Runs the step and returns the minute of the last request.
fn asked(pipeline: &Pipeline, number: i64) -> Option<Timestamp> {
    run(pipeline, minute(number)).unwrap();
    request(pipeline).map(|request| request.asked)
}

fn request(pipeline: &Pipeline) -> Option<Request> {
    let stored = state::read(&pipeline.store().unwrap(), "cluster", STATE).unwrap();
    stored.map(|stored| stored.value)
}

#[test]
fn drift_requests_a_training_once_per_interval() {
    let pipeline = pipeline("retrain: {pause: 3h}");
    score(&pipeline, 0, false);
    assert_eq!(asked(&pipeline, 0), None);
    score(&pipeline, 60, true);
    let first = Some(minute(60));
    assert_eq!(asked(&pipeline, 60), first);
    // The drift lasts. The minimum time has not passed, and a clock that jumped back does not end
    // it.
    for now in [61, 120, 180, 62] {
        score(&pipeline, now.max(121), true);
        assert_eq!(asked(&pipeline, now), first);
    }
    score(&pipeline, 240, true);
    assert_eq!(asked(&pipeline, 240), Some(minute(240)));
    // An alert about drift before the new model requests no training.
    pipeline.score(241, ["."; 300]).unwrap();
    assert_eq!(asked(&pipeline, 540), Some(minute(240)));
}

#[test]
fn retraining_starts_only_if_enabled_and_once() {
    let off = pipeline("stability_index: 0.3");
    score(&off, 60, true);
    assert_eq!(asked(&off, 60), None);
    assert_eq!(off.told().unwrap().len(), 1, "the alert is sent all the same");

    let on = pipeline("retrain: {}");
    score(&on, 60, true);
    assert_eq!(asked(&on, 60), Some(minute(60)));
    let day = Span::from_seconds(86_400);
    assert!(request(&on).unwrap().is_open(minute(61), day));
    let store = on.store().unwrap();
    let stored = state::read::<Request>(&store, "cluster", STATE).unwrap().unwrap();
    let started = Request { started: true, ..stored.value };
    state::write(&store, "cluster", STATE, &started, Some(&stored.etag)).unwrap();
    assert_eq!(asked(&on, 61), Some(minute(60)));
    assert!(!request(&on).unwrap().is_open(minute(61), day));
}

#[test]
fn unreachable_channel_does_not_stop_training() {
    let pipeline = pipeline("retrain: {}");
    fs::write(pipeline.folder().join("told"), b"").unwrap();
    score(&pipeline, 60, true);
    run(&pipeline, minute(60)).unwrap_err();
    assert_eq!(request(&pipeline).unwrap().asked, minute(60));
}
