//! The program with runs and stores: the texts and elements of its page.

mod html;
mod made;

use contract::read_json;
use contract::run::{RunRecord, RunStatus};
use html::Parsed;
use made::{Made, at, overwrite};
use serde_json::{Value, json};

#[test]
fn training_page_names_live_version_and_reason() {
    let made = Made::new(&[""]).unwrap();
    let page = made.page(&["--run", "run"]).unwrap();
    let parsed = Parsed::of(&page);
    let text = parsed.text();
    for words in [
        "a new version went live",
        "its inlier ratio on validation is 0.9900, the champion's 0.9700",
        "memory_used_bytes",
        "Promoted. Version 20261121T095900Z-aaaaaaaaaaaa took over the alias live from",
        "gap length",
        "2026-11-21 08:07:00",
        "from the cache",
        "why train-z_score",
        "a warning of select",
        "33.4 MiB",
        "dddddddddddd",
        "Purpose",
        "There were no labelled faults in its own data set",
    ] {
        assert!(text.contains(words), "{words} is not in: {text}");
    }
    parsed.check();
    let drawn = parsed.elements("svg").len();
    assert_eq!(drawn, 3 + 2 + 2, "a detector in three sizes, two features, lineage in two sizes");
}

#[test]
fn score_page_shows_faults_alarms_and_gaps() {
    let made = Made::new(&[""]).unwrap();
    let page = made.whole_page().unwrap();
    let parsed = Parsed::of(&page);
    let text = parsed.text();
    for words in [
        "It found 1 of 2 labelled faults, 1 min after its start, and raised",
        "and raised 4 alarms outside of a fault",
        "memory stress",
        "3 windows of the range were not scored",
        "2026-11-21 13:00:00 to 13:02:00",
        "All windows of the range were scored by version",
        "Windows keep the scores of the version that was live when they were scored.",
        "Ranking of the scores",
        "z score",
    ] {
        assert!(text.contains(words), "{words} is not in: {text}");
    }
    parsed.check();
}

#[test]
fn scores_alone_need_no_run() {
    let made = Made::new(&["node-a", "node-b"]).unwrap();
    let page = made.page(&["--store", "store", "--from", &at(199)]).unwrap();
    let text = Parsed::of(&page).text();
    assert!(text.contains("cluster: 4 alarms"), "{text}");
    assert!(text.contains("117 windows of 1 min for 2 entities. It raised 4 alarms; 9.8 % of the scored time was anomalous"), "{text}");
    assert!(text.contains("node-b"), "{text}");
    assert!(text.contains("This range has no labelled fault"), "{text}");
}

#[test]
fn range_without_scores_is_reported_and_succeeds() {
    let made = Made::new(&[""]).unwrap();
    let page = made.page(&["--store", "store", "--from", &at(5), "--to", &at(10)]).unwrap();
    assert!(Parsed::of(&page).text().contains("No window of that range was scored"));
}

#[test]
fn the_same_inputs_give_the_same_bytes_at_any_thread_count() {
    let made = Made::new(&["a", "b"]).unwrap();
    let flags = ["--run", "run", "--store", "store", "--from", &at(199)];
    let page = made.page(&flags).unwrap();
    for threads in ["1", "2"] {
        let mut flags = flags.to_vec();
        flags.extend(["--threads", threads]);
        assert_eq!(made.page(&flags).unwrap(), page);
    }
    let flags: Vec<&str> = [&flags[..], &["--tables", "tables"]].concat();
    assert_eq!(made.page(&flags).unwrap(), page, "tables are beside it");
    let first = contract::artifact::sha256_path(&made.path("tables")).unwrap();
    made.page(&flags).unwrap();
    assert_eq!(contract::artifact::sha256_path(&made.path("tables")).unwrap(), first);
}

#[test]
fn run_refused_at_validate_has_a_page_with_the_reason() {
    let made = Made::new(&[""]).unwrap();
    for name in ["train-z_score", "select", "deploy", "validate/dataset"] {
        fs_err::remove_dir_all(made.path("run").join(name)).unwrap();
    }
    let error = json!({"kind": "refused", "message": "an expectation does not hold: row_count"});
    made.outcome("validate", "refused", 3, Some(&error)).unwrap();
    let states = [
        ("feature", "done"),
        ("validate", "failed"),
        ("train-z_score", "skipped"),
        ("select", "skipped"),
    ];
    let tasks = states.map(|(name, state)| json!({"name": name, "state": state, "attempts": 1}));
    made.record("refused", &json!(tasks)).unwrap();
    let page = made.page(&["--run", "run"]).unwrap();
    let parsed = Parsed::of(&page);
    let text = parsed.text();
    assert!(text.contains("cluster: the data was refused"), "{text}");
    assert!(
        text.contains("The run was refused at validate: an expectation does not hold: row_count."),
        "{text}"
    );
    assert!(text.contains("memory_used_bytes"), "its features are shown: {text}");
    parsed.check();
}

#[test]
fn incomplete_or_broken_run_still_has_a_page() {
    let made = Made::new(&[""]).unwrap();
    let files = contract::artifact::files_below(&made.path("run")).unwrap();
    let whole = made.whole_page().unwrap();
    for file in files.iter().filter(|file| !["run.json", "document.yaml"].contains(&file.as_str()))
    {
        let path = made.path("run").join(file);
        let bytes = fs_err::read(&path).unwrap();
        fs_err::remove_file(&path).unwrap();
        Parsed::of(&made.whole_page().unwrap()).check();
        for broken in [&b""[..], b"{\"format\": 1", &bytes[..bytes.len() / 2]] {
            overwrite(&path, broken).unwrap();
            let page = made.whole_page().unwrap();
            Parsed::of(&page).check();
            assert!(page != whole || file.contains("candidate"), "{file} matters");
        }
        overwrite(&path, &bytes).unwrap();
    }
    assert_eq!(made.whole_page().unwrap(), whole, "all is in place again");
}

#[test]
fn names_from_outside_stay_text() {
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&lt;";
    let made = Made::new(&[hostile, "]]></svg><style>*{display:none}"]).unwrap();
    let error = json!({"kind": "refused", "message": hostile, "hint": hostile});
    made.outcome("select", "refused", 3, Some(&error)).unwrap();
    let page = made.whole_page().unwrap();
    let parsed = Parsed::of(&page);
    parsed.check();
    assert!(parsed.text().contains(hostile), "shown as it is");
    assert_eq!(parsed.elements("style").len(), 1);
    assert!(parsed.elements("img").is_empty() && parsed.elements("script").is_empty());
}

#[test]
fn a_hundred_entities_fit_on_a_small_page() {
    let names: Vec<String> = (0..100).map(|number| format!("node-{number:03}")).collect();
    let made = Made::new(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let page = made.whole_page().unwrap();
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    let parsed = Parsed::of(&page);
    parsed.check();
    assert!(parsed.text().contains("from the smallest to the largest of all"));
}

#[test]
fn tables_hold_numbers_as_they_are() {
    let made = Made::new(&[""]).unwrap();
    let flags = ["--run", "run", "--store", "store", "--from", &at(199), "--tables", "tables"];
    made.page(&flags).unwrap();
    let faults: Value = contract::read_json(&made.path("tables/faults.json")).unwrap();
    assert_eq!(faults[1]["delay_seconds"], json!(60.0), "{faults}");
    assert_eq!((&faults[0]["found"], &faults[1]["found"]), (&json!(false), &json!(true)));
    assert_eq!(faults[1]["causes"], json!("memory_used_bytes cpu_busy_ratio"));
    let tasks = fs_err::read_to_string(made.path("tables/tasks.csv")).unwrap();
    assert!(tasks.starts_with("task,state,seconds,peak_memory_bytes"), "{tasks}");
    assert!(tasks.contains("select,done,0.25,35000000,1,"), "{tasks}");
    let comparison: Value = contract::read_json(&made.path("tables/comparison.json")).unwrap();
    assert_eq!(comparison[0]["challenger"], json!(0.99));
    for file in contract::artifact::files_below(&made.path("tables")).unwrap() {
        let kind = file.rsplit_once('.').map(|(_, kind)| kind);
        assert!(matches!(kind, Some("csv" | "json")), "{file}");
    }
}

#[test]
fn usage_and_data_errors_have_different_exit_codes() {
    let made = Made::new(&[""]).unwrap();
    let key = store::scores::key("cluster", made::minute(205));
    overwrite(&made.path("store").join(key), b"{").unwrap();
    for (flags, code, words) in [
        (vec![], 2, "--run"),
        (vec!["--run", "nowhere"], 2, "run.json"),
        (vec!["--run", "store"], 2, "runs/<pipeline>/"),
        (vec!["--run", "run", "--from", "2026-11-21T00:00:00Z"], 2, "--store"),
        (vec!["--store", "store", "--from", "2027-01-01T00:00:00Z"], 2, "--from must come"),
        (vec!["--store", "store", "--labels", "nowhere.parquet"], 2, "nowhere.parquet"),
        (vec!["--store", "store", "--from", "2026-11-21T11:00:00Z"], 3, "20261121T112500Z"),
    ] {
        let output = made.output(&flags).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {stderr}");
        assert!(stderr.contains(words), "{flags:?}: {stderr}");
        assert!(!made.path("report.html").exists(), "no half-written page");
    }
}

#[test]
fn a_run_of_pods_needs_no_record() {
    let made = Made::new(&[""]).unwrap();
    fs_err::remove_file(made.path("run/run.json")).unwrap();
    let page = made.page(&["--run", "run"]).unwrap();
    let parsed = Parsed::of(&page);
    parsed.check();
    let text = parsed.text();
    assert!(text.contains("cluster: a new version went live"), "{text}");
    let order = ["collect", "label", "feature", "validate", "train-z_score", "select", "deploy"];
    let places: Vec<_> = order.iter().map(|task| text.find(&format!(" {task} done"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {text}");
}

#[test]
fn run_whose_first_pod_never_ended_has_a_page_and_a_record() {
    let made = Made::new(&[""]).unwrap();
    fs_err::create_dir(made.path("empty")).unwrap();
    let record = made.path("record").display().to_string();
    let flags = ["--run", "empty", "--record", &record, "--run-name", "uid-1"];
    Parsed::of(&made.page(&flags).unwrap()).check();
    let run: RunRecord = read_json(&made.path("record/run.json")).unwrap();
    assert_eq!((run.run.as_str(), run.status, run.tasks.len()), ("uid-1", RunStatus::Failed, 0));
}

/// A message that a channel accepted, as `alert` records it.
fn sent(key: &str, minute: i64, title: &str, channel: &str) -> Value {
    let message = json!({"format": 1, "key": key, "pipeline": "cluster", "from": at(minute),
        "time": at(minute), "version": "", "alerts": [], "title": title, "text": title});
    json!({"message": message, "channels": [channel]})
}

/// The file of `alert --messages`.
fn messages(sent: &[Value]) -> String {
    json!({"format": 1, "pipeline": "cluster", "told_to": null, "sent": sent, "pending": []})
        .to_string()
}

#[test]
fn trials_messages_and_later_features_are_shown() {
    let made = Made::new(&[""]).unwrap();
    let trial = |number: u64, value: f64, kept: bool| {
        json!({"trial": number, "parameters": {"threshold": number}, "metric": "average_precision",
            "value": value, "rows": 120, "seconds": 0.5, "kept": kept})
    };
    let trials = json!([trial(1, 0.5, false), trial(2, 0.75, true)]);
    let file = made.path("run/train-z_score/candidate/trials.json");
    overwrite(&file, trials.to_string().as_bytes()).unwrap();
    let mut sent = sent("a", 250, "cluster is <anomalous>", "stdout");
    sent["message"]["urgent"] = true.into();
    let messages = messages(&[sent]);
    overwrite(&made.path("messages.json"), messages.as_bytes()).unwrap();
    let later = made.later().unwrap().display().to_string();
    let page = made
        .page(&[
            "--run",
            "run",
            "--store",
            "store",
            "--from",
            &at(199),
            "--features",
            &later,
            "--messages",
            "messages.json",
        ])
        .unwrap();
    let parsed = Parsed::of(&page);
    parsed.check();
    let text = parsed.text();
    for words in [
        "z score: 2 trials in 1 s; number 2 was kept, with average precision 0.75",
        "This range has 1 message",
        "cluster is <anomalous> yes stdout",
        "320 rows, one every 1 min",
    ] {
        assert!(text.contains(words), "{words} is not in: {text}");
    }
}

#[test]
fn status_shows_stored_state_of_ticks() {
    let made = Made::new(&[""]).unwrap();
    let flags = ["--store", "store", "--from", &at(199)];
    let text = Parsed::of(&made.page(&flags).unwrap()).text();
    assert!(text.contains("No window was scored late"), "{text}");
    let write = |name: &str, state: &Value| {
        store::state::write(&made.store().unwrap(), "cluster", name, state, None).unwrap();
    };
    write(
        "late",
        &json!({"format": 1, "ticks": [
            {"at": at(150), "first": at(100), "last": at(148)},
            {"at": at(260), "first": at(241), "last": at(258)},
        ]}),
    );
    let told = |key: &str, minute: i64, title: &str| json!({"key": key, "time": at(minute), "title": title, "channels": ["chat", "mail"]});
    let both = [told("b", 260, "one that is known twice"), told("a", 250, "one from a pod")];
    write(
        "alerts",
        &json!({"format": 1, "told_to": null, "tracks": {}, "pending": [], "told": both}),
    );
    let known = sent("b", 260, "one that is known twice", "chat");
    overwrite(&made.path("messages.json"), messages(&[known]).as_bytes()).unwrap();
    let flags = [&flags[..], &["--messages", "messages.json", "--tables", "tables"]].concat();
    let parsed = Parsed::of(&made.page(&flags).unwrap());
    parsed.check();
    let text = parsed.text();
    for words in ["This range has 2 messages", "one from a pod no chat, mail"] {
        assert!(text.contains(words), "{words} is not in: {text}");
    }
    let late: Value = contract::read_json(&made.path("tables/late.json")).unwrap();
    let expected = json!([{"first": at(241), "last": at(258), "windows": 18, "at": at(260),
        "longest_wait_seconds": 1140.0}]);
    assert_eq!(late, expected, "the other tick is outside of the range");
}

#[test]
fn windows_before_the_first_are_not_missing() {
    let made = Made::new(&[""]).unwrap();
    let text = Parsed::of(&made.page(&["--store", "store", "--from", &at(0)]).unwrap()).text();
    assert!(text.contains("The first stored window is that of"), "{text}");
    assert!(text.contains("3 windows of the range were not scored"), "{text}");
    let text = Parsed::of(&made.page(&["--store", "store", "--from", &at(210)]).unwrap()).text();
    assert!(!text.contains("The first stored window"), "{text}");
}

#[test]
fn alarm_and_fault_list_their_leading_features() {
    let made = Made::new(&[""]).unwrap();
    let store = made.store().unwrap();
    let all = store::scores::read_after(&store, "cluster", None, made::minute(400));
    for (number, window) in all.map(Result::unwrap).enumerate() {
        let mut window = window;
        let alarmed = contract::score::Verdict::Anomalous;
        for score in window.entities.iter_mut().filter(|score| score.verdict == alarmed) {
            score.diagnosis = Some(contract::score::Diagnosed {
                kind: if number % 4 == 0 { "disk_stress" } else { "memory_stress" }.to_owned(),
                nearest: "memory_stress".to_owned(),
                probability: 0.9,
                likeness: 0.8,
            });
        }
        let key = store::scores::key("cluster", window.time);
        overwrite(&made.path("store").join(key), &serde_json::to_vec(&window).unwrap()).unwrap();
    }
    let page =
        made.page(&["--run", "run", "--store", "store", "--from", &at(199), "--tables", "t"]);
    let parsed = Parsed::of(&page.unwrap());
    parsed.check();
    assert!(parsed.text().contains("memory stress ("), "some of its windows: {}", parsed.text());
    for (table, row) in [("faults", 1), ("alarms", 0)] {
        let rows: Value = contract::read_json(&made.path(&format!("t/{table}.json"))).unwrap();
        assert!(rows[row]["looked_like"].is_string(), "{rows}");
    }
}

#[test]
fn page_has_a_table_of_diagnosed_alarms() {
    let made = Made::new(&[""]).unwrap();
    let file = made.path("run/select/outcome.json");
    let mut outcome: Value = contract::read_json(&file).unwrap();
    let called = json!({"cpu_stress": {"cpu_stress": 5, "unknown": 2}});
    outcome["details"] = json!({"test.diagnosis": called});
    contract::write_json(&file, &outcome).unwrap();
    let parsed = Parsed::of(&made.page(&["--run", "run"]).unwrap());
    parsed.check();
    let text = parsed.text();
    assert!(
        text.contains("On the test part it named 7 alarmed rows, 71.4 % of them rightly"),
        "{text}"
    );
    assert!(text.contains("Was cpu stress unknown cpu stress 5 2"), "{text}");
}

#[test]
fn times_are_those_of_the_documents_zone() {
    let made = Made::new(&[""]).unwrap();
    let document = fs_err::read_to_string(made.path("run/document.yaml")).unwrap();
    let document = format!("{document}\nalerts: {{time_zone: Asia/Tokyo}}\n");
    overwrite(&made.path("run/document.yaml"), document.as_bytes()).unwrap();
    let text = Parsed::of(&made.whole_page().unwrap()).text();
    assert!(text.contains("All times are Asia/Tokyo"), "{text}");
    assert!(text.contains("2026-11-21 22:00:00 to 22:02:00"), "13:00 in UTC: {text}");
}
