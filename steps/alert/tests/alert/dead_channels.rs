//! Unreachable channels, and the working channels meanwhile.

use contract::ErrorKind;
use fs_err as fs;

use super::support::{FILE, Pipeline, STDOUT};
use super::{AT_ONCE, run, sent};

#[test]
fn failing_channel_is_reported_once_and_gets_its_messages_later() {
    let both = format!("{FILE}{STDOUT}");
    let pipeline = Pipeline::new(AT_ONCE, &both).unwrap();
    pipeline.score(0, ["a", "."]).unwrap();
    let in_the_way = pipeline.folder().join("told");
    fs::write(&in_the_way, b"").unwrap();
    let (result, messages, outcome) = run(&pipeline, 1);
    let error = result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("file told/alerts.jsonl"), "{error}");
    assert_eq!(outcome.warnings.len(), 1, "once, not for each message");
    assert!(messages.sent.iter().all(|sent| sent.channels == ["stdout"]));
    assert_eq!((messages.sent.len(), messages.pending.len()), (3, 2));
    let news = &messages.sent[2].message;
    assert_eq!(news.title, "cluster: channel file told/alerts.jsonl cannot be reached");
    assert!(news.text.contains("since 2026-11-21 08:01 UTC\ncannot write"), "{}", news.text);
    let (result, messages, _) = run(&pipeline, 2);
    assert!(result.is_err() && messages.sent.is_empty(), "it is reported once");
    let keys: Vec<_> = messages.pending.iter().map(|one| one.message.key.clone()).collect();

    pipeline.score(2, ["a"]).unwrap();
    fs::remove_file(&in_the_way).unwrap();
    let (result, messages, _) = run(&pipeline, 3);
    result.unwrap();
    let channels: Vec<_> = messages.sent.iter().map(|sent| sent.channels.join("+")).collect();
    let file = "file told/alerts.jsonl";
    // Working channels get their messages first; then the channel that failed gets all of them.
    let expected = [&format!("stdout+{file}"), file, file, "stdout"];
    assert_eq!(channels, expected, "each message once");
    let back = &messages.sent[3].message;
    assert_eq!(back.title, "cluster: channel file told/alerts.jsonl can be reached again");
    let told = pipeline.told().unwrap();
    let told: Vec<_> = told.iter().map(|message| message.key.clone()).collect();
    let newest = messages.sent[0].message.key.clone();
    assert_eq!(told, [keys, vec![newest]].concat(), "oldest first, none twice");
    assert!(sent(&pipeline, 4).is_empty());
}

#[test]
fn send_first_falls_back_to_next_channel_on_failure() {
    let rules = format!("{AT_ONCE}  send: first\n");
    let pipeline = Pipeline::new(&rules, &format!("{FILE}{STDOUT}")).unwrap();
    pipeline.score(0, ["a"]).unwrap();
    let (result, messages, _) = run(&pipeline, 0);
    result.unwrap();
    assert_eq!(messages.sent[0].channels, ["file told/alerts.jsonl"], "and no other channel");
    fs::remove_dir_all(pipeline.folder().join("told")).unwrap();
    fs::write(pipeline.folder().join("told"), b"").unwrap();
    pipeline.score(1, ["."]).unwrap();
    let (result, messages, _) = run(&pipeline, 1);
    assert_eq!(result.unwrap_err().kind, ErrorKind::Unavailable, "the run fails");
    assert_eq!(messages.sent.len(), 2, "the message, and that the first channel is dead");
    assert!(messages.sent.iter().all(|sent| sent.channels == ["stdout"]));
    assert!(messages.pending.is_empty(), "it was sent, so the first channel does not get it later");
}

#[test]
fn permanently_failing_channel_does_not_grow_the_state() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    fs::write(pipeline.folder().join("told"), b"").unwrap();
    for now in 0..60 {
        pipeline.score(now, [if now % 2 == 0 { "a" } else { "." }]).unwrap();
        run(&pipeline, now).0.unwrap_err();
    }
    let (_, messages, _) = run(&pipeline, 60);
    assert!(messages.pending.len() < 51, "{}", messages.pending.len());
    let changes = messages.pending.iter().flat_map(|one| &one.message.alerts);
    assert_eq!(changes.map(|alert| alert.changes).sum::<u32>(), 60, "nothing goes untold");
    fs::remove_file(pipeline.folder().join("told")).unwrap();
    assert_eq!(sent(&pipeline, 60).len(), messages.pending.len());
}

#[test]
fn removed_channel_is_dropped_with_a_warning() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    pipeline.score(0, ["a"]).unwrap();
    fs::write(pipeline.folder().join("told"), b"").unwrap();
    run(&pipeline, 0).0.unwrap_err();
    pipeline.document(AT_ONCE, STDOUT).unwrap();
    let (result, messages, outcome) = run(&pipeline, 0);
    result.unwrap();
    assert!(messages.pending.is_empty() && messages.sent.is_empty());
    assert!(outcome.warnings[0].contains("file told/alerts.jsonl"), "{:?}", outcome.warnings);
    assert!(run(&pipeline, 0).2.warnings.is_empty(), "once");
}
