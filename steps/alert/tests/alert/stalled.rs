//! Stopped scoring, and the messages in the store.

use alert::message::{Message, Status};
use alert::{AlertState, archive};
use contract::artifact::write_file;
use contract::steps::AlertArgs;
use contract::{ErrorKind, Outcome, StepError, read_json, write_json};
use store::{Watermark, state, watermark};

use crate::support::{FILE, Pipeline, minute};

/// The channel gets an alert immediately, and no repeats.
const RULES: &str = "  for: 1\n";

impl Pipeline {
    /// Moves the watermark.
    fn scored_to(&self, number: i64) {
        let store = self.store().unwrap();
        let before = watermark::read(&store, "cluster").unwrap();
        let mark = Watermark::new(minute(number));
        let expected = before.as_ref().map(|stored| stored.etag.as_str());
        watermark::write(&store, "cluster", &mark, expected).unwrap();
    }

    /// Runs the step after a tick in which `collect` failed with this text, or no step failed.
    fn tick(&self, now: i64, failed: Option<&str>) -> Vec<Message> {
        let outcomes: Vec<_> = ["collect", "feature", "score"]
            .map(|name| self.folder().join(name).join("outcome.json"))
            .to_vec();
        for (path, step) in outcomes.iter().zip(["collect", "feature", "score"]) {
            let mut outcome = Outcome::start(step);
            if let Some(words) = failed {
                let error = StepError::unavailable(words).hint("check the URL");
                outcome.error = Some(error);
            }
            write_json(path, &outcome).unwrap();
        }
        Pipeline::told_by(&AlertArgs { tick: outcomes, ..self.args(minute(now)) })
    }

    fn told_by(args: &AlertArgs) -> Vec<Message> {
        alert::run(args, &mut Outcome::start("alert")).unwrap();
        let messages: contract::message::Messages = read_json(&args.messages).unwrap();
        messages.sent.into_iter().map(|sent| sent.message).collect()
    }
}

#[test]
fn stopped_scoring_is_notified_once_with_cause_and_once_when_it_continues() {
    let pipeline = Pipeline::new(RULES, FILE).unwrap();
    pipeline.scored_to(0);
    assert!(pipeline.tick(1, None).is_empty());
    for now in 2..6 {
        assert!(pipeline.tick(now, Some("no answer")).is_empty(), "{now}: not for long yet");
    }
    let [stopped] = <[_; 1]>::try_from(pipeline.tick(6, Some("Prometheus is gone"))).unwrap();
    assert_eq!(
        stopped.text,
        "cluster is no longer scored\nsince 2026-11-21 08:00 UTC\n\
         collect: Prometheus is gone (hint: check the URL)"
    );
    assert_eq!(stopped.key, "cluster/scoring/stopped/20261121T080600Z");
    let state = state::read::<AlertState>(&pipeline.store().unwrap(), "cluster", "alerts");
    let state = state.unwrap().unwrap().value;
    assert_eq!(state.firing.len(), 1, "an Alertmanager hears it again each run");
    for now in 7..60 {
        assert!(pipeline.tick(now, Some("Prometheus is gone")).is_empty(), "{now}: told once");
    }
    pipeline.scored_to(59);
    let [over] = <[_; 1]>::try_from(pipeline.tick(60, None)).unwrap();
    assert_eq!(
        over.text,
        "cluster is scored again\nnot scored from 2026-11-21 08:00 UTC to 09:00 UTC (1h)"
    );
    assert_eq!(over.alerts[0].status, Status::Resolved);
    pipeline.scored_to(60);
    assert!(pipeline.tick(61, None).is_empty());
}

#[test]
fn pause_without_ticks_is_reported_by_the_next_tick() {
    let pipeline = Pipeline::new(RULES, FILE).unwrap();
    for now in 1..4 {
        pipeline.scored_to(now - 1);
        assert!(pipeline.tick(now, None).is_empty(), "{now}");
    }
    pipeline.scored_to(32);
    let [over] = <[_; 1]>::try_from(pipeline.tick(33, None)).unwrap();
    assert_eq!(
        over.text,
        "cluster is scored again\nnot scored from 2026-11-21 08:02 UTC to 08:33 UTC (31m)\n\
         no tick ran in that time"
    );
}

#[test]
fn killed_or_incomplete_tick_is_reported_as_cause() {
    let pipeline = Pipeline::new(RULES, FILE).unwrap();
    pipeline.scored_to(0);
    let collect = pipeline.folder().join("collect/outcome.json");
    let score = pipeline.folder().join("score/outcome.json");
    write_json(&collect, &Outcome::start("collect")).unwrap();
    let tick = vec![collect, score];
    let run = |now, failed: Option<&str>| {
        let failed = failed.map(str::to_owned);
        Pipeline::told_by(&AlertArgs { tick: tick.clone(), failed, ..pipeline.args(minute(now)) })
    };
    assert!(run(1, None).is_empty());
    let killed = run(9, None);
    assert!(killed[0].text.contains("score: ended without an outcome"), "{}", killed[0].text);

    let pipeline = Pipeline::new(RULES, FILE).unwrap();
    pipeline.scored_to(0);
    let run = |now| {
        let failed = Some("pod deleted".to_owned());
        Pipeline::told_by(&AlertArgs { tick: tick.clone(), failed, ..pipeline.args(minute(now)) })
    };
    assert!(run(1).is_empty());
    assert!(run(9)[0].text.ends_with("pod deleted"), "whoever ran the tick knows");
}

#[test]
fn stalled_scoring_is_not_notified_before_first_model_or_when_disabled() {
    let pipeline = Pipeline::new(RULES, FILE).unwrap();
    for now in 0..20 {
        assert!(pipeline.tick(now, None).is_empty(), "ticks that wait for a model end well");
    }
    assert!(pipeline.tick(20, Some("no answer")).is_empty(), "not for long yet");
    assert_eq!(pipeline.tick(30, Some("no answer")).len(), 1, "it never could score");

    let pipeline = Pipeline::new("  kinds: [anomaly, no_data]\n", FILE).unwrap();
    pipeline.scored_to(0);
    for now in 1..20 {
        assert!(pipeline.tick(now, Some("no answer")).is_empty(), "{now}");
    }
    let silence = "  silences: [{kinds: [scoring_stopped]}]\n";
    let pipeline = Pipeline::new(silence, FILE).unwrap();
    pipeline.scored_to(0);
    for now in 1..20 {
        assert!(pipeline.tick(now, Some("no answer")).is_empty(), "{now}");
    }
}

#[test]
fn every_message_is_stored_even_when_channels_fail() {
    let gone = "    - file: {path: cluster.yaml/told.jsonl}\n";
    let rules = "  for: 1\n  resolve_after: 1\n  cool_down: 0s\n";
    let pipeline = Pipeline::new(rules, gone).unwrap();
    pipeline.score(0, ["a", ".", "a"]).unwrap();
    let error = alert::run(&pipeline.args(minute(2)), &mut Outcome::start("alert")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "the only channel cannot be reached");
    let read = |after, until| {
        let store = pipeline.store().unwrap();
        archive::read(&store, "cluster", minute(after), minute(until)).unwrap()
    };
    let titles: Vec<_> = read(-1, 2).into_iter().map(|message| message.title).collect();
    assert_eq!(titles, ["cluster is anomalous", "cluster is normal again", "cluster is anomalous"]);
    assert_eq!(read(0, 1).len(), 1, "after the start, up to the end");
    // Two days later, and again: nothing is written twice.
    drop(alert::run(&pipeline.args(minute(2880)), &mut Outcome::start("alert")));
    assert_eq!(read(-1, 2880).len(), 3);

    let none = Pipeline::new(rules, "    []\n").unwrap();
    none.score(0, ["a"]).unwrap();
    alert::run(&none.args(minute(0)), &mut Outcome::start("alert")).unwrap();
    let store = none.store().unwrap();
    assert_eq!(archive::read(&store, "cluster", minute(-1), minute(0)).unwrap().len(), 1);
    let state = state::read::<AlertState>(&store, "cluster", "alerts").unwrap().unwrap().value;
    assert!(state.pending.is_empty(), "there is no channel to wait for");
    write_file(&none.folder().join("store/messages/cluster/date=2026-11-21/x.json"), b"{").unwrap();
    let broken = archive::read(&store, "cluster", minute(-1), minute(0)).unwrap_err();
    assert!(broken.message.contains("date=2026-11-21/x.json"), "{broken}");
}
