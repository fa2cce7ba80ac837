//! The dead man's switch: a heartbeat URL and an Alertmanager's watchdog.

use contract::{Outcome, StepError};
use store::{Watermark, watermark};

use super::double::{Answer, Double};
use super::support::{Pipeline, minute};

fn scored_to(pipeline: &Pipeline, number: i64) {
    let store = pipeline.store().unwrap();
    let before = watermark::read(&store, "cluster").unwrap();
    let mark = Watermark::new(minute(number));
    let expected = before.as_ref().map(|stored| stored.etag.as_str());
    watermark::write(&store, "cluster", &mark, expected).unwrap();
}

/// Runs the step after a tick that succeeded or failed; returns its outcome.
fn run(pipeline: &Pipeline, now: i64, failed: bool) -> Outcome {
    let mut args = pipeline.args(minute(now));
    args.failed = failed.then(|| "no answer".to_owned());
    let mut outcome = Outcome::start("alert");
    let done: Result<(), StepError> = alert::run(&args, &mut outcome);
    assert!(done.is_ok() || failed, "{done:?}");
    outcome
}

#[test]
fn heartbeat_is_sent_by_each_run_until_scoring_has_stopped() {
    let server = Double::new(Answer(200, "", "OK"));
    let rules =
        format!("  for: 1\n  heartbeat: {{url: '{}', ping: {{file: ping}}}}\n", server.url());
    let pipeline = Pipeline::new(&rules, "    []\n").unwrap();
    let url = format!("{}/ping/3f1c-secret?status=up", server.url());
    fs_err::write(pipeline.folder().join("ping"), &url).unwrap();
    scored_to(&pipeline, 0);
    run(&pipeline, 1, false);
    let [asked] = <[_; 1]>::try_from(server.asked()).unwrap();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("GET", "/ping/3f1c-secret?status=up")
    );
    for now in 2..6 {
        run(&pipeline, now, true);
    }
    assert_eq!(server.asked().len(), 4, "not stopped for long enough to say so");
    for now in 6..10 {
        run(&pipeline, now, true);
    }
    assert!(server.asked().is_empty(), "whoever waits for it raises the alarm");
    scored_to(&pipeline, 10);
    run(&pipeline, 11, false);
    assert_eq!(server.asked().len(), 1);
    server.answers(Some(Answer(404, "", "no such check 3f1c-secret")));
    let outcome = run(&pipeline, 12, false);
    let warned = outcome.warnings.join(" ");
    assert!(warned.contains("heartbeat was not sent") && warned.contains("404"), "{warned}");
    assert!(!warned.contains("/ping/3f1c"), "{warned}");
}

#[test]
fn watchdog_fires_with_each_run_until_scoring_has_stopped() {
    let server = Double::new(Answer(200, "", ""));
    let channel = format!("    - alertmanager: {{url: '{}', watchdog: true}}\n", server.url());
    let pipeline = Pipeline::new("  for: 1\n", &channel).unwrap();
    scored_to(&pipeline, 0);
    run(&pipeline, 1, false);
    let [asked] = <[_; 1]>::try_from(server.asked()).unwrap();
    let alert = &asked.json()[0];
    assert_eq!(alert["labels"]["alertname"], "LynceusWatchdog");
    assert_eq!(alert["labels"]["severity"], "none");
    assert_eq!(alert["endsAt"], "2026-11-21T08:06:00Z");
    for now in 2..10 {
        run(&pipeline, now, true);
    }
    server.asked();
    run(&pipeline, 10, true);
    let names: Vec<_> =
        server.asked().iter().map(|asked| asked.json()[0]["labels"].clone()).collect();
    assert!(names.iter().all(|labels| labels["alertname"] == "LynceusScoringStopped"), "{names:?}");
}
