//! Exact default messages of each channel: `tests/golden/<channel>.txt`.
//!
//! `LYNCEUS_UPDATE=1 cargo test -p alert` updates them with the messages that are sent now.

use std::collections::BTreeMap;
use std::path::Path;

use contract::StepError;
use contract::score::{Combined, MemberScore, WindowScore};
use fs_err as fs;
use store::scores;

use super::double::{Answer, Double};
use super::email::Smtp;
use super::support::{Pipeline, minute, outcomes, window};
use super::{AT_ONCE, Run, run, run_with};

/// All channels.
struct Channels {
    telegram: Double,
    others: Double,
    smtp: Smtp,
    mails: usize,
}

const RULES: &str = "  time_zone: Europe/Brussels\n  training: [promoted, finished, refused, failed]\n  \
     links: {grafana: 'https://grafana.example.com/d/lynceus?from={from}&to={to}&var-entity={entity}'}\n";

impl Channels {
    fn pipeline(&self) -> Pipeline {
        let (telegram, others, port) = (self.telegram.url(), self.others.url(), &self.smtp.port);
        let channels = format!(
            "    - file: {{path: told/alerts.jsonl}}\n\
             \x20   - telegram: {{chat: '-1001', url: '{telegram}', token: {{file: token}}}}\n\
             \x20   - slack: {{webhook: {{file: webhook}}, url: '{others}'}}\n\
             \x20   - alertmanager: {{url: '{others}'}}\n\
             \x20   - webhook: {{url: '{others}/hook'}}\n\
             \x20   - email: {{host: localhost, port: {port}, security: none, from: watch@example.com, to: [ops@example.com]}}\n"
        );
        let pipeline = Pipeline::new(&format!("{AT_ONCE}{RULES}"), &channels).unwrap();
        fs::write(pipeline.folder().join("token"), "1:a").unwrap();
        fs::write(pipeline.folder().join("webhook"), format!("{others}/services/x")).unwrap();
        pipeline
    }

    /// Returns the messages of each channel, with JSON formatted.
    fn got(&mut self, done: &Run) -> BTreeMap<&'static str, String> {
        done.result.clone().unwrap();
        let pretty = |body: &str| {
            let value: serde_json::Value = serde_json::from_str(body).unwrap();
            format!("{}\n", serde_json::to_string_pretty(&value).unwrap())
        };
        let mut got = BTreeMap::new();
        let mut add =
            |channel, text: &str| got.entry(channel).or_insert_with(String::new).push_str(text);
        for sent in &done.messages.sent {
            add("stdout", &format!("{}\n", sent.message.text));
            let line = serde_json::to_string(&sent.message).unwrap();
            add("file", &pretty(&line));
            self.mails += 1;
            add("email", &self.smtp.mail(self.mails).unwrap());
        }
        for request in self.telegram.asked() {
            add("telegram", &pretty(&request.body));
        }
        for request in self.others.asked() {
            let channel = match request.path.as_str() {
                "/services/x" => "slack",
                "/hook" => "webhook",
                _ => "alertmanager",
            };
            add(channel, &pretty(&request.body));
        }
        got
    }
}

fn scored(pipeline: &Pipeline, change: impl Fn(&mut WindowScore), verdicts: &str, number: i64) {
    let mut score = window(minute(number), verdicts);
    change(&mut score);
    scores::write_once(&pipeline.store().unwrap(), &score).unwrap();
}

fn urgent(score: &mut WindowScore) {
    for entity in &mut score.entities {
        entity.urgent = true;
        entity.combined = Some(Combined { score: 10.27, threshold: 5.67 });
        entity.members = vec![MemberScore {
            kind: "adaptive".into(),
            decision: 10.27,
            calibrated: 1.0,
            threshold: 5.67,
            vote: true,
        }];
    }
}

/// Name of the situation, an optional earlier run that is not part of it, and the run that sends
/// messages.
type Situation = (&'static str, Option<fn(&Pipeline) -> Run>, fn(&Pipeline) -> Run);

fn firing(pipeline: &Pipeline) -> Run {
    scored(pipeline, urgent, "a", 0);
    run(pipeline, 0)
}

const SITUATIONS: [Situation; 6] = [
    ("firing", None, firing),
    ("resolved", Some(firing), |pipeline| {
        scored(pipeline, |_| {}, ".", 7);
        run(pipeline, 7)
    }),
    ("grouped", None, |pipeline| {
        scored(pipeline, |_| {}, &"a".repeat(7), 0);
        run(pipeline, 0)
    }),
    ("no_data", None, |pipeline| {
        scored(pipeline, |_| {}, ".n", 0);
        run(pipeline, 0)
    }),
    ("training promoted", None, |pipeline| {
        let mut args = pipeline.args(minute(0));
        args.ended = outcomes::training(pipeline.folder(), Some(&outcomes::deployment(true)), None);
        run_with(pipeline, &args)
    }),
    ("training refused", None, |pipeline| {
        let mut args = pipeline.args(minute(0));
        let error = StepError::refused("3 of 56 expectations do not hold");
        args.ended = outcomes::training(pipeline.folder(), None, Some(("validate", &error)));
        run_with(pipeline, &args)
    }),
];

#[test]
fn usual_messages_match_the_golden_file() {
    let mut channels = Channels {
        telegram: Double::new(Answer(200, "", r#"{"ok":true,"result":{}}"#)),
        others: Double::new(Answer(200, "", "ok")),
        smtp: Smtp::start("plain"),
        mails: 0,
    };
    let names = ["stdout", "file", "telegram", "slack", "alertmanager", "webhook", "email"];
    let mut texts: BTreeMap<&str, String> =
        names.into_iter().map(|name| (name, String::new())).collect();
    for (situation, before, happens) in SITUATIONS {
        let pipeline = channels.pipeline();
        if let Some(before) = before {
            channels.got(&before(&pipeline));
        }
        let got = channels.got(&happens(&pipeline));
        for (name, text) in &mut texts {
            let nothing = "nothing\n".to_owned();
            let content = got.get(name).unwrap_or(&nothing);
            text.push_str(&format!("===== {situation}\n{content}\n"));
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (name, text) in texts {
        let path = folder.join(format!("{name}.txt"));
        if std::env::var_os("LYNCEUS_UPDATE").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            golden == text,
            "{name}: `LYNCEUS_UPDATE=1 cargo test -p alert` takes the new text\n{text}"
        );
    }
}
