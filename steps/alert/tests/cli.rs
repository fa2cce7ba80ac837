//! The program as users and pods run it.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use contract::{ErrorKind, Outcome, read_json};
use fs_err as fs;
use support::{FILE, Pipeline, STDOUT, minute};

const AT_ONCE: &str = "  for: 1\n  resolve_after: 1\n  cool_down: 0s\n";

fn command(pipeline: &Pipeline, now: i64) -> Command {
    let args = contract::step::command_line(&pipeline.args(minute(now))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_alert"));
    command.args(args).stdin(Stdio::null());
    command
}

fn run(pipeline: &Pipeline, now: i64) -> Output {
    command(pipeline, now).output().unwrap()
}

#[test]
fn messages_go_to_stdout_and_the_outcome_counts_them() {
    let pipeline = Pipeline::new(AT_ONCE, &format!("{STDOUT}{FILE}")).unwrap();
    pipeline.score(0, [".", "a"]).unwrap();
    let outcome = pipeline.folder().join("outcome.json");
    let output = command(&pipeline, 1).arg("--outcome").arg(&outcome).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("cluster is anomalous\nsince 2026-11-21 08:01 UTC\n"), "{text}");
    let outcome: Outcome = read_json(&outcome).unwrap();
    assert_eq!((outcome.counts["windows"], outcome.counts["messages_sent"]), (2, 1));
    assert!(outcome.outputs.contains_key("messages"));
    assert_eq!(pipeline.told().unwrap().len(), 1, "beside the document");
    assert!(run(&pipeline, 1).stdout.is_empty(), "the second run of a minute");
}

#[test]
fn exit_codes_match_error_kinds() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    pipeline.score(0, ["a"]).unwrap();
    fs::write(pipeline.folder().join("told"), b"").unwrap();
    let dead = run(&pipeline, 0);
    assert_eq!(dead.status.code(), Some(4));
    let text = String::from_utf8(dead.stderr).unwrap();
    assert!(text.contains("error: alert: channel `file told/alerts.jsonl`"), "{text}");
    assert!(text.contains("hint: "), "{text}");

    fs::write(pipeline.store_folder().join("state/cluster/alerts.json"), b"{").unwrap();
    assert_eq!(run(&pipeline, 0).status.code(), Some(3));

    let mut args = pipeline.args(minute(0));
    args.store = "ftp://host/store".into();
    let line = contract::step::command_line(&args).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_alert")).args(line).output().unwrap().status;
    assert_eq!(status.code(), Some(2));
    fs::write(pipeline.folder().join("cluster.yaml"), b"format: 1\nnam: x\n").unwrap();
    assert_eq!(run(&pipeline, 0).status.code(), Some(2));
    assert_eq!(Command::new(env!("CARGO_BIN_EXE_alert")).output().unwrap().status.code(), Some(2));
}

/// Two windows per minute with alternating verdicts, so that each window has a change to report.
fn busy(windows: i64) -> Pipeline {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    let verdicts = ["a.", ".a", "aa", "n.", "..", "-a"];
    let windows = (0..windows).map(|n| verdicts[usize::try_from(n * 7 / 2).unwrap() % 6]);
    pipeline.score(0, windows).unwrap();
    pipeline
}

#[test]
fn alert_killed_at_any_moment_loses_nothing_and_repeats_at_most_one_message() {
    const MINUTES: i64 = 60;
    let undisturbed = busy(MINUTES);
    let disturbed = busy(MINUTES);
    let mut kills = 0_usize;
    for now in (4..MINUTES).step_by(5) {
        assert!(run(&undisturbed, now).status.success());
        for attempt in 0..6_u32 {
            let mut child = command(&disturbed, now).stderr(Stdio::null()).spawn().unwrap();
            // A start takes about a million of these iterations; each attempt is killed at another
            // point.
            for spin in 0..(now.unsigned_abs() * 30_011) * u64::from(attempt) {
                std::hint::black_box(spin);
            }
            child.kill().unwrap();
            kills += usize::from(child.wait().unwrap().code().is_none());
        }
        assert!(run(&disturbed, now).status.success());
    }
    let expected = undisturbed.told().unwrap();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for message in disturbed.told().unwrap() {
        let same = expected.iter().find(|other| other.key == message.key);
        assert_eq!(same, Some(&message), "a repeat is the same message");
        *times.entry(message.key).or_default() += 1;
    }
    assert_eq!(times.len(), expected.len(), "everything was sent");
    assert!(kills > 20, "{kills} kills: too few to show anything");
    assert!(times.values().sum::<usize>() - times.len() <= kills);
    let state = |pipeline: &Pipeline| {
        fs::read(pipeline.store_folder().join("state/cluster/alerts.json")).unwrap()
    };
    assert_eq!(state(&disturbed), state(&undisturbed), "and the state is the same bytes");
}

#[test]
fn concurrent_alert_runs_send_each_message_once_and_losers_exit_5() {
    let alone = busy(9);
    assert!(run(&alone, 9).status.success());
    let shared = busy(9);
    let children: Vec<_> = (0..8)
        .map(|number| {
            let mut args = shared.args(minute(9));
            args.messages = shared.folder().join(format!("messages{number}.json"));
            let line = contract::step::command_line(&args).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_alert"));
            command.args(line).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let lost = i32::from(ErrorKind::LostRace.exit_code());
    for mut child in children {
        let code = child.wait().unwrap().code().unwrap();
        assert!(code == 0 || code == lost, "exit code {code}");
    }
    assert!(run(&shared, 9).status.success());
    let keys = |pipeline: &Pipeline| -> Vec<String> {
        pipeline.told().unwrap().into_iter().map(|message| message.key).collect()
    };
    assert_eq!(keys(&shared), keys(&alone));
}
