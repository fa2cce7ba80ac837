//! Which messages are sent, and how often.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "../support/mod.rs"]
mod support;

mod dead_channels;
mod features;
mod stalled;

use std::collections::BTreeSet;

use alert::AlertState;
use alert::message::{Batch, MAX_MESSAGES, Message, Status};
use alert::state_machine::{Rules, Tracks};
use contract::message::Messages;
use contract::{ErrorKind, Outcome, Span, StepError, read_json};
use document::alerts::Alerts;
use fs_err as fs;
use proptest::prelude::*;
use store::{Condition, ObjectStore as _, Put, Watermark, state, watermark};
use support::{FILE, Pipeline, VERSION, minute, window};

const AT_ONCE: &str = "  for: 1\n  resolve_after: 1\n  cool_down: 0s\n";

/// Runs the step at a minute; returns its result, its output, and its outcome.
fn run(pipeline: &Pipeline, now: i64) -> (Result<(), StepError>, Messages, Outcome) {
    let args = pipeline.args(minute(now));
    let mut outcome = Outcome::start("alert");
    let result = alert::run(&args, &mut outcome);
    (result, read_json(&args.messages).unwrap(), outcome)
}

fn sent(pipeline: &Pipeline, now: i64) -> Vec<Message> {
    let (result, messages, _) = run(pipeline, now);
    result.unwrap();
    messages.sent.into_iter().map(|sent| sent.message).collect()
}

#[test]
fn message_names_entity_start_cause_and_model() {
    let pipeline = Pipeline::new("  for: 2\n  resolve_after: 2\n", FILE).unwrap();
    pipeline.score(0, [".", "a", "a", "a", ".", "."]).unwrap();
    let messages = sent(&pipeline, 9);
    assert_eq!(
        messages[0].text,
        format!(
            "cluster is anomalous\n\
             since 2026-11-21 08:01 UTC\n\
             - memory_used_bytes 7.9 GiB, usually 2.1 GiB to 3.4 GiB (above by 3.45 times that range)\n\
             - cpu_busy_ratio 98.7 %, usually 10 % to 40 % (above by 1.96 times that range)\n\
             - load missing, usually 0\n\
             model {VERSION}"
        )
    );
    assert_eq!(
        messages[1].text,
        format!(
            "cluster is normal again\n\
             anomalous from 2026-11-21 08:01 UTC to 08:04 UTC (3m)\n\
             model {VERSION}"
        )
    );
    assert_eq!(messages[0].key, "cluster/20261121T080200Z");
    assert_eq!(messages.len(), 2);
    assert_eq!(pipeline.told().unwrap(), messages, "the file has them line by line");
}

#[test]
fn alarm_ending_on_new_level_names_features_and_time() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    pipeline.score(0, [".", "a", "a", "s"]).unwrap();
    let messages = sent(&pipeline, 9);
    assert_eq!(
        messages[1].text,
        format!(
            "cluster is normal again\n\
             anomalous from 2026-11-21 08:01 UTC to 08:03 UTC (2m)\n\
             new level since 2026-11-21 08:01 UTC: load\n\
             model {VERSION}"
        )
    );
}

#[test]
fn many_entities_that_change_together_are_one_message() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    let all = format!("n{}.", "a".repeat(40));
    pipeline.score(0, [".".repeat(42), all].iter().map(String::as_str)).unwrap();
    let messages = sent(&pipeline, 1);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].alerts.len(), 41);
    let node = |number: usize| {
        format!(
            "- node-0{number}: since 2026-11-21 08:01 UTC\n  \
             memory_used_bytes 7.9 GiB, usually 2.1 GiB to 3.4 GiB (above by 3.45 times that range)\n"
        )
    };
    assert_eq!(messages[0].title, "cluster: 40 are anomalous, node-00 sends no data");
    assert_eq!(
        messages[0].text,
        format!(
            "cluster: 40 are anomalous, node-00 sends no data\n{}- and 35 more\n- node-00: since \
             2026-11-21 08:01 UTC, 12.5 % of its features have values\nmodel {VERSION}",
            [1, 2, 3, 4, 5].map(node).concat()
        )
    );
}

#[test]
fn the_second_run_of_a_minute_sends_nothing_and_changes_nothing() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    pipeline.score(0, ["a"]).unwrap();
    let told = sent(&pipeline, 0);
    assert_eq!(told.len(), 1);
    let remembered: AlertState =
        state::read(&pipeline.store().unwrap(), "cluster", "alerts").unwrap().unwrap().value;
    assert_eq!(remembered.told[0].title, told[0].title);
    assert_eq!((remembered.told.len(), remembered.told[0].channels.len()), (1, 1));
    let state = pipeline.store().unwrap().get("state/cluster/alerts.json").unwrap();
    assert!(sent(&pipeline, 0).is_empty());
    assert_eq!(pipeline.store().unwrap().get("state/cluster/alerts.json").unwrap(), state);
}

#[test]
fn summary_of_ended_urgent_alarms_is_not_urgent() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    let verdicts = ["u", "."].into_iter().cycle().take(12);
    pipeline.score(0, verdicts.clone().chain(["a"])).unwrap();
    let [summary] = <[_; 1]>::try_from(sent(&pipeline, 13)).unwrap();
    let alert = &summary.alerts[0];
    assert_eq!((alert.status, alert.changes), (Status::Firing, 13));
    assert!(!summary.urgent && !alert.urgent, "{}", summary.title);
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    pipeline.score(0, verdicts.chain(["u"])).unwrap();
    assert!(sent(&pipeline, 13)[0].urgent);
}

#[test]
fn catch_up_of_a_day_is_one_summary() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    // One node flaps all day, one stops sending data, one is anomalous from minute 7 to the end.
    let windows: Vec<_> = (0..1440)
        .map(|minute| {
            let flapping = if minute % 2 == 0 { 'a' } else { '.' };
            let silent = if minute < 600 { '.' } else { 'n' };
            format!("{flapping}{silent}{}", if minute < 7 { '.' } else { 'a' })
        })
        .collect();
    pipeline.score(0, windows.iter().map(String::as_str)).unwrap();
    let (result, messages, outcome) = run(&pipeline, 1439);
    result.unwrap();
    assert_eq!(messages.sent.len(), 1);
    assert_eq!(outcome.counts["windows"], 1440);
    assert_eq!(outcome.counts["changes"], 1442);
    assert_eq!(
        messages.sent[0].message.text,
        format!(
            "cluster: node-02 is anomalous, node-01 sends no data, node-00 is normal again\n- \
             node-02: since 2026-11-21 08:07 UTC\n  memory_used_bytes 7.9 GiB, usually 2.1 GiB to \
             3.4 GiB (above by 3.45 times that range)\n- node-01: since 2026-11-21 18:00 UTC, 12.5 \
             % of its features have values\n- node-00: from 2026-11-22 07:58 UTC to 07:59 UTC \
             (1m), 1440 changes\n  memory_used_bytes 7.9 GiB, usually 2.1 GiB to 3.4 GiB (above by \
             3.45 times that range)\nsummary of 2026-11-21 08:00 UTC to 2026-11-22 07:59 \
             UTC\nmodel {VERSION}"
        )
    );
}

#[test]
fn windows_after_watermark_or_current_time_send_nothing() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    pipeline.score(0, ["a", ".", "a", "."]).unwrap();
    assert_eq!(sent(&pipeline, 0).len(), 1);
    let scored_to = |minutes| Watermark::new(minute(minutes));
    let store = pipeline.store().unwrap();
    let etag = watermark::write(&store, "cluster", &scored_to(1), None).unwrap();
    assert_eq!(sent(&pipeline, 9).len(), 1);
    watermark::write(&store, "cluster", &scored_to(3), Some(&etag)).unwrap();
    assert_eq!(sent(&pipeline, 9).len(), 2);
}

#[test]
fn a_torn_line_does_not_spoil_the_next_one() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    pipeline.score(0, ["a"]).unwrap();
    let file = pipeline.folder().join("told/alerts.jsonl");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, b"{\"key\":\"clu").unwrap();
    let messages = sent(&pipeline, 0);
    let text = fs::read_to_string(&file).unwrap();
    let last: Message = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last, messages[0]);
}

#[test]
fn a_state_or_score_that_cannot_be_read_is_refused_by_name() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    let store = pipeline.store().unwrap();
    let args = pipeline.args(minute(5));
    let later = serde_json::to_vec(&AlertState { format: 2, ..AlertState::default() }).unwrap();
    for bytes in [b"{".as_slice(), b"[]", b"\xff", &later] {
        let put = store.put("state/cluster/alerts.json", bytes, Condition::Any).unwrap();
        assert_ne!(put, Put::Conflict);
        let error = alert::run(&args, &mut Outcome::start("alert")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.message.contains("state/cluster/alerts.json"), "{error}");
    }
    assert!(!args.messages.exists(), "nothing half-written");
}

/// Changes of an entity, without how they were grouped.
fn changes(messages: &[Message]) -> Vec<(String, Status, i64)> {
    let of = |message: &Message| {
        let time = message.time.ms();
        let change = |alert: &alert::message::Alert| {
            (format!("{}{:?}", alert.entity, alert.kind), alert.status, time)
        };
        message.alerts.iter().map(change).collect::<Vec<_>>()
    };
    messages.iter().flat_map(of).collect()
}

proptest! {
    /// Property: however the windows are divided into runs, the same messages are made, as long as
    /// no run has so many that it makes a summary.
    #[test]
    fn any_division_into_runs_gives_the_same_messages(
        windows in prop::collection::vec("[aan.\\-]{2}", 1..60),
        cuts in prop::collection::btree_set(0..60_usize, 0..20),
        (for_windows, resolve_after, cool_down) in (1..4_u32, 1..4_u32, 0..8_i64),
    ) {
        let cool_down = Span::from_seconds(60 * cool_down);
        let rules = Rules { for_windows, resolve_after, cool_down, ..Rules::of(&Alerts::default()) };
        let run = |tracks: &mut Tracks, range: std::ops::Range<usize>| {
            let mut messages = Vec::new();
            for (number, verdicts) in (0..).zip(&windows).skip(range.start).take(range.len()) {
                let score = window(minute(number), verdicts);
                // Each window has a separate batch, because grouping by run is not tested here.
                let mut batch = Batch::default();
                batch.add(&score, tracks.observe(&score, &rules));
                messages.extend(batch.into_messages());
            }
            messages
        };
        let undivided = run(&mut Tracks::default(), 0..windows.len());
        let mut state = AlertState::default();
        let mut divided = Vec::new();
        let mut start = 0;
        for cut in cuts.into_iter().map(|cut| cut.min(windows.len())).chain([windows.len()]) {
            divided.extend(run(&mut state.tracks, start..cut.max(start)));
            start = cut.max(start);
            // Between two runs the state is serialised to a file.
            state = serde_json::from_slice(&serde_json::to_vec(&state).unwrap()).unwrap();
        }
        prop_assert_eq!(&divided, &undivided);
        let keys: BTreeSet<_> = undivided.iter().map(|message| &message.key).collect();
        prop_assert_eq!(keys.len(), undivided.len(), "each message has a key of its own");
        let mut state = std::collections::BTreeMap::new();
        for (alert, status, _) in changes(&undivided) {
            prop_assert_ne!(state.insert(alert, status), Some(status), "fires and ends in turn");
        }
    }

    /// Property: a summary reports every change, and the final state of each alert.
    #[test]
    fn a_summary_counts_every_change(windows in prop::collection::vec("[an.]{3}", 40..80)) {
        let usual = Rules::of(&Alerts::default());
        let rules = Rules { for_windows: 1, resolve_after: 1, cool_down: Span::ZERO, ..usual };
        let (mut tracks, mut batch, mut each) = (Tracks::default(), Batch::default(), Vec::new());
        for (number, verdicts) in (0..).zip(&windows) {
            let score = window(minute(number), verdicts);
            let changes = tracks.observe(&score, &rules);
            let mut one = Batch::default();
            one.add(&score, changes.clone());
            each.extend(one.into_messages());
            batch.add(&score, changes);
        }
        let messages = batch.clone().into_messages();
        if each.len() <= MAX_MESSAGES {
            prop_assert_eq!(&messages, &each);
            return Ok(());
        }
        prop_assert_eq!(messages.len(), 1);
        let told: u32 = messages[0].alerts.iter().map(|alert| alert.changes).sum();
        prop_assert_eq!(told as usize, changes(&each).len());
        let firing = messages[0].alerts.iter().filter(|alert| alert.status == Status::Firing);
        let firing: Vec<_> = firing.map(|alert| (alert.entity.as_str(), alert.kind, alert.since)).collect();
        let mut expected: Vec<_> = tracks.firing().collect();
        expected.retain(|alert| firing.contains(alert));
        prop_assert_eq!(firing.len(), tracks.firing().count());
        prop_assert_eq!(expected.len(), firing.len());
    }
}

#[test]
fn templates_and_links_are_filled_in() {
    let rules = "  for: 1\n  links: {dashboard: 'https://g/{pipeline}?f={from}&t={to}&e={entity}'}\n  \
                 templates:\n    title: '[{{ pipeline }}] {{ title }}'\n    text: |\n      \
                 {{ time }}: {% for alert in alerts %}{{ alert.entity }} {{ alert.kind }} {{ alert.status }}\n      \
                 {{ alert.causes[0].text }}\n      {{ alert.links[0].url }}{% endfor %}\n";
    let pipeline = Pipeline::new(rules, FILE).unwrap();
    pipeline.score(0, [".a"]).unwrap();
    let messages = sent(&pipeline, 0);
    assert_eq!(messages[0].title, "[cluster] cluster: node-01 is anomalous");
    assert_eq!(
        messages[0].text.trim_end(),
        "2026-11-21 08:00 UTC: node-01 anomaly firing\n\
         memory_used_bytes 7.9 GiB, usually 2.1 GiB to 3.4 GiB (above by 3.45 times that range)\n\
         https://g/cluster?f=1795246200000&t=1795248300000&e=node-01"
    );
}

#[test]
fn only_lease_holder_sends_until_it_expires() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    pipeline.score(0, ["a"]).unwrap();
    let lease = alert::lease::Lease { since: minute(0), process: Some("another machine".into()) };
    let state = AlertState { lease: Some(lease), ..AlertState::default() };
    state::write(&pipeline.store().unwrap(), "cluster", "alerts", &state, None).unwrap();
    for now in [0, 2] {
        let args = pipeline.args(minute(now));
        let error = alert::run(&args, &mut Outcome::start("alert")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::LostRace);
    }
    assert!(pipeline.told().unwrap().is_empty());
    assert_eq!(sent(&pipeline, 3).len(), 1, "three minutes on");
}

#[test]
fn the_examples_of_the_readme_are_read() {
    let readme = include_str!("../../README.md");
    let mut blocks =
        readme.split("```yaml\n").skip(1).map(|text| text.split("```").next().unwrap());
    let (section, templates) = (blocks.next().unwrap(), blocks.next().unwrap());
    let pipeline = Pipeline::new("", FILE).unwrap();
    let path = pipeline.folder().join("cluster.yaml");
    let usual = fs::read_to_string(&path).unwrap();
    let head = usual.split("alerts:\n").next().unwrap();
    fs::write(&path, format!("{head}{section}{templates}")).unwrap();
    let document = document::read(&path).unwrap();
    assert_eq!(document.alerts.channels.len(), 7);
    assert!(document.alerts.templates.text.is_some());
}
