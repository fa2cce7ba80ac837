//! Messages that a channel rejects, and channels with wrong settings.

use alert::AlertState;
use store::state;

use super::chats::{TELEGRAM_OK, telegram};
use super::double::{Answer, Double};
use super::support::{FILE, Pipeline};
use super::webhook::{self, webhook};
use super::{AT_ONCE, run};

const UNWANTED: Answer =
    Answer(400, "", r#"{"ok":false,"description":"Bad Request: can't parse"}"#);
const NAME: &str = "telegram -1001";

/// Minutes of a day, in which a channel may be corrected.
const DAY: i64 = 24 * 60;

fn kept(pipeline: &Pipeline) -> AlertState {
    state::read(&pipeline.store().unwrap(), "cluster", "alerts").unwrap().unwrap().value
}

fn titles(pipeline: &Pipeline) -> Vec<String> {
    pipeline.told().unwrap().into_iter().map(|message| message.title).collect()
}

#[test]
fn repeatedly_refused_message_is_dropped_and_blocks_no_other() {
    let double = Double::new(TELEGRAM_OK);
    double.answers_to("is anomalous", UNWANTED);
    let pipeline = telegram(&double, "");
    pipeline.score(0, ["a", "."]).unwrap();
    let first = run(&pipeline, 1);
    first.result.clone().unwrap();
    assert_eq!(first.waiting(), [NAME], "the message behind it was taken");
    let told = double.asked().pop().unwrap().json();
    assert!(told["text"].as_str().unwrap().starts_with("cluster is normal again"));
    for minute in 2..5 {
        assert_eq!(run(&pipeline, minute).waiting(), [NAME], "another try may bring it through");
    }
    let fifth = run(&pipeline, 5);
    fifth.result.clone().unwrap();
    assert_eq!(fifth.waiting(), [NAME], "it may be corrected");
    assert_eq!(double.asked().len(), 4);
    assert_eq!(titles(&pipeline).len(), 3, "the others get a message about it before");
    let last = run(&pipeline, DAY + 1);
    last.result.clone().unwrap();
    assert!(last.waiting().is_empty());
    let refused = &last.messages.refused[0];
    assert_eq!((refused.channel.as_str(), refused.message.alerts.len()), (NAME, 1));
    assert_eq!(kept(&pipeline).refused, last.messages.refused, "it can be read");
    let news = pipeline.told().unwrap().pop().unwrap();
    assert_eq!(news.title, "cluster: channel telegram -1001 refused a message");
    let words = "can't parse\nnot sent: cluster is anomalous";
    assert!(news.text.contains("at 2026-11-21 08:05 UTC\n") && news.text.ends_with(words));
    assert!(!last.kept.contains("hunter2"), "{}", last.kept);

    pipeline.score(DAY + 6, ["a"]).unwrap();
    for minute in 6..12 {
        assert_eq!(run(&pipeline, DAY + minute).waiting(), [NAME]);
    }
    assert_eq!(run(&pipeline, 2 * DAY + 7).messages.refused.len(), 1);
    assert_eq!(
        titles(&pipeline).len(),
        4,
        "a channel that accepted nothing since is reported once"
    );
    pipeline.score(2 * DAY + 8, ["."]).unwrap();
    run(&pipeline, 2 * DAY + 8);
    let state = kept(&pipeline);
    assert!(state.trouble.is_empty(), "it takes messages: {:?}", state.trouble);
    assert_eq!(state.refused.len(), 2);
}

#[test]
fn oversized_message_is_dropped_at_once() {
    let double = Double::new(webhook::OK);
    double.answers_to("anomalous", Answer(413, "", "too large"));
    let pipeline = webhook(&double);
    pipeline.score(0, ["a"]).unwrap();
    let done = run(&pipeline, 0);
    done.result.clone().unwrap();
    assert!(done.waiting().is_empty() && !done.kept.contains("hunter2"));
    assert_eq!((double.asked().len(), done.messages.refused.len()), (1, 1));
    assert_eq!(titles(&pipeline).len(), 2);
}

#[test]
fn a_message_that_a_server_fails_at_holds_back_the_others_for_an_hour() {
    let double = Double::new(webhook::OK);
    double.answers_to("is anomalous", Answer(500, "", "oops"));
    let pipeline = webhook(&double);
    pipeline.score(0, ["a", "."]).unwrap();
    for minute in [1, 59] {
        let failed = run(&pipeline, minute);
        assert!(
            failed.failure().contains("500 Internal Server Error: oops"),
            "{}",
            failed.failure()
        );
        assert_eq!((failed.waiting().len(), double.asked().len()), (2, 1), "it may be dead");
    }
    let hour = run(&pipeline, 61);
    hour.result.clone().unwrap();
    assert_eq!((hour.waiting().len(), hour.sent()), (1, 2), "it was the message");
    for minute in 62..70 {
        run(&pipeline, minute).result.unwrap();
    }
    let told = titles(&pipeline);
    assert_eq!(
        told.len(),
        5,
        "both, that it is dead, that it is not, and what it refuses: {told:?}"
    );
    assert!(told[4].ends_with("refused a message"), "{told:?}");
    let last = run(&pipeline, DAY);
    assert_eq!((last.waiting().len(), last.messages.refused.len()), (0, 1));
}

#[test]
fn a_server_that_fails_for_days_loses_no_message() {
    let double = Double::new(Answer(503, "", "maintenance"));
    let pipeline = webhook(&double);
    pipeline.score(0, ["a", "."]).unwrap();
    for minute in (1..3 * DAY).step_by(97) {
        let failed = run(&pipeline, minute);
        assert!(failed.failure().contains("503 Service Unavailable"), "{}", failed.failure());
        assert_eq!(failed.waiting().len(), 2, "at minute {minute}");
    }
    assert_eq!(titles(&pipeline).len(), 3, "both, and once that it is dead");
    double.answers(Some(webhook::OK));
    double.asked();
    let back = run(&pipeline, 3 * DAY);
    back.result.clone().unwrap();
    assert!(back.waiting().is_empty() && back.messages.refused.is_empty());
    let order: Vec<_> = double.asked().iter().map(|one| one.json()["title"].clone()).collect();
    assert_eq!(order, ["cluster is anomalous", "cluster is normal again"], "oldest first");
}

#[test]
fn channel_asking_for_an_hour_of_delay_counts_as_failing() {
    let double = Double::new(Answer(429, "Retry-After: 60\r\n", "later"));
    let pipeline = webhook(&double);
    pipeline.score(0, ["a"]).unwrap();
    for minute in (0..60).step_by(2) {
        run(&pipeline, minute).result.unwrap();
    }
    assert_eq!(titles(&pipeline).len(), 1);
    assert!(run(&pipeline, 61).failure().contains("429 Too Many Requests"));
    assert_eq!(titles(&pipeline).len(), 2, "the others get a message");
    double.answers(Some(webhook::OK));
    assert!(run(&pipeline, 63).waiting().is_empty());
}

#[test]
fn a_pause_until_next_year_is_a_clock_that_was_ahead() {
    let double = Double::new(Answer(429, "Retry-After: 600\r\n", "later"));
    let pipeline = webhook(&double);
    pipeline.score(0, ["a"]).unwrap();
    run(&pipeline, 365 * DAY).result.unwrap();
    double.answers(Some(webhook::OK));
    assert!(run(&pipeline, 1).waiting().is_empty());
}

#[test]
fn alertmanager_after_first_channel_gets_nothing() {
    let double = Double::new(Answer(200, "", ""));
    let second = format!("{FILE}    - alertmanager: {{url: '{}'}}\n", double.url());
    let pipeline = Pipeline::new(&format!("{AT_ONCE}  send: first\n"), &second).unwrap();
    pipeline.score(0, ["a", "a", "a"]).unwrap();
    for minute in 0..3 {
        run(&pipeline, minute).result.unwrap();
    }
    assert_eq!((double.asked().len(), titles(&pipeline).len()), (0, 1));
}

#[test]
fn a_token_that_a_server_repeats_is_not_repeated() {
    let double = Double::new(Answer(401, "", "the token hunter2 is not known"));
    let channel = format!(
        "    - alertmanager: {{url: '{}', auth: {{bearer_token: {{file: token}}}}}}\n{FILE}",
        double.url()
    );
    let pipeline = Pipeline::new(AT_ONCE, &channel).unwrap();
    fs_err::write(pipeline.folder().join("token"), "hunter2\n").unwrap();
    pipeline.score(0, ["a"]).unwrap();
    let failed = run(&pipeline, 0);
    assert!(failed.failure().contains("the token *** is not known"), "{}", failed.failure());
    assert!(!failed.kept.contains("hunter2"), "{}", failed.kept);
}

#[test]
fn correctable_refusal_is_retried_and_blocks_no_other_channel() {
    for status in [401, 403, 404] {
        let double = Double::new(Answer(status, "", "no"));
        let pipeline = webhook(&double);
        pipeline.score(0, ["a", "."]).unwrap();
        for minute in 1..12 {
            let failed = run(&pipeline, minute);
            assert!(failed.failure().contains(&format!("`: {status} ")));
            assert_eq!(failed.waiting().len(), 2);
        }
        assert_eq!(titles(&pipeline).len(), 3, "the others have both, and that it fails");
        double.answers(Some(webhook::OK));
        let done = run(&pipeline, 12);
        done.result.clone().unwrap();
        assert!(done.waiting().is_empty() && done.messages.refused.is_empty());
    }
}

#[test]
fn refusal_of_first_channel_reaches_the_next_at_once_and_once() {
    let double = Double::new(UNWANTED);
    let url = double.url();
    let first = format!("    - webhook: {{url: '{url}', timeout: 2s}}\n{FILE}");
    let pipeline = Pipeline::new(&format!("{AT_ONCE}  send: first\n"), &first).unwrap();
    pipeline.score(0, ["a", ".", "a"]).unwrap();
    let done = run(&pipeline, 3);
    done.result.clone().unwrap();
    assert!(done.waiting().is_empty(), "{:?}", done.waiting());
    let told = titles(&pipeline);
    let news = told.iter().filter(|title| title.contains("refused a message"));
    assert_eq!((told.len(), news.count()), (4, 1), "{told:?}");
}

#[test]
fn refusing_channels_do_not_report_each_other_endlessly() {
    let double = Double::new(UNWANTED);
    let url = double.url();
    let channels =
        ["one", "two"].map(|name| format!("    - webhook: {{url: '{url}/{name}', timeout: 2s}}\n"));
    let pipeline = Pipeline::new(AT_ONCE, &channels.concat()).unwrap();
    pipeline.score(0, ["a"]).unwrap();
    for minute in 0..15 {
        run(&pipeline, minute).result.unwrap();
    }
    assert_eq!(kept(&pipeline).pending.len(), 3, "the alert, and that each refused it");
    run(&pipeline, DAY + 15).result.unwrap();
    let state = kept(&pipeline);
    assert_eq!(state.refused.len(), 4, "the alert twice, and to each that the other refused it");
    assert!(state.pending.is_empty());
    pipeline.score(DAY + 16, [".", "a"].into_iter().cycle().take(30)).unwrap();
    for minute in 16..60 {
        run(&pipeline, DAY + minute).result.unwrap();
    }
    run(&pipeline, 2 * DAY + 60).result.unwrap();
    assert_eq!(kept(&pipeline).refused.len(), 20, "the last ones");
    assert!(kept(&pipeline).pending.is_empty());
}

#[test]
fn template_with_empty_result_falls_back_to_the_default_text() {
    let rules =
        format!("{AT_ONCE}  templates: {{title: ' ', text: '{{% if false %}}x{{% endif %}}'}}\n");
    let pipeline = Pipeline::new(&rules, FILE).unwrap();
    pipeline.score(0, ["a"]).unwrap();
    run(&pipeline, 0).result.unwrap();
    let message = pipeline.told().unwrap().pop().unwrap();
    assert_eq!(message.title, "cluster is anomalous");
    assert!(message.text.starts_with("cluster is anomalous\n"), "{}", message.text);
}
