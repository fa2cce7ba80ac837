//! Channels against real servers, and against doubles of the two services that cannot be run here.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "../support/mod.rs"]
mod support;

mod alertmanager;
mod chats;
mod double;
mod email;
mod golden;
mod heartbeat;
mod refusals;
mod webhook;

use contract::message::Messages;
use contract::steps::AlertArgs;
use contract::{ErrorKind, Outcome, StepError, Timestamp, read_json};
use fs_err as fs;
use support::Pipeline;

const AT_ONCE: &str = "  for: 1\n  resolve_after: 1\n  cool_down: 0s\n";

/// Results of one run of the step.
struct Run {
    result: Result<(), StepError>,
    messages: Messages,
    /// Everything that is stored or shown, as text: it must not contain a secret.
    kept: String,
}

/// Runs the step at a time.
fn run_at(pipeline: &Pipeline, now: Timestamp) -> Run {
    run_with(pipeline, &pipeline.args(now))
}

fn run_with(pipeline: &Pipeline, args: &AlertArgs) -> Run {
    let mut outcome = Outcome::start("alert");
    let result = alert::run(args, &mut outcome);
    let state = fs::read_to_string(pipeline.store_folder().join("state/cluster/alerts.json"));
    let messages = fs::read_to_string(&args.messages).unwrap();
    let kept = format!("{result:?} {outcome:?} {messages} {}", state.unwrap_or_default());
    Run { result, messages: read_json(&args.messages).unwrap(), kept }
}

/// Runs the step at a minute.
fn run(pipeline: &Pipeline, now: i64) -> Run {
    run_at(pipeline, support::minute(now))
}

impl Run {
    /// Returns the text of the error that the run must have ended with.
    fn failure(&self) -> String {
        let error = self.result.as_ref().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        error.to_string()
    }

    /// Returns the names of the channels that still wait for a message.
    fn waiting(&self) -> Vec<&str> {
        self.messages.pending.iter().flat_map(|one| &one.channels).map(String::as_str).collect()
    }

    fn sent(&self) -> usize {
        self.messages.sent.len()
    }
}
