//! What pods are given: processor, memory, time, and when they are tried again.

use contract::{ErrorKind, Stage};

use super::pod::Resources;
use super::workflow::{Backoff, RetryStrategy};

/// The user and group of every pod; images name the same one.
pub(super) const USER: i64 = 65_532;

/// Seconds after which a training is ended, and the pod of one of its steps.
pub(super) const TRAINING_DEADLINE_SECONDS: u32 = 4 * 3600;
pub(super) const STEP_DEADLINE_SECONDS: u32 = 3600;

/// Seconds after which a scoring is ended: time to catch up a day; then the next tick continues.
pub(super) const SCORING_DEADLINE_SECONDS: u32 = 600;

/// Pods of one training at once.
pub(super) const PARALLELISM: u32 = 4;

/// Tries after the first.
const RETRIES: u32 = 3;

/// Factor between requests and limits; a step that needs more has a problem.
#[derive(Debug, Clone, Copy)]
struct Figures {
    processor_request: &'static str,
    processor_limit: &'static str,
    memory_request: &'static str,
    memory_limit: &'static str,
}

/// Returns what a step is given in training.
///
/// A training of a day of minutes takes 33 MiB and 0.2 s of a processor in its largest step; of the
/// bundled sample validate takes 90 MiB. Requests are near that, so that a training fits beside other
/// work on a node of two cores; limits leave room for ten days of many entities.
pub(super) fn training(stage: Stage) -> Resources {
    let (processor_request, memory_request, memory_limit) = match stage {
        Stage::Collect | Stage::Score | Stage::Deploy => ("20m", "64Mi", "512Mi"),
        Stage::Label | Stage::Alert | Stage::Export => ("20m", "32Mi", "128Mi"),
        Stage::Feature => ("100m", "128Mi", "2Gi"),
        Stage::Validate | Stage::Train | Stage::Select | Stage::Report => ("100m", "128Mi", "1Gi"),
    };
    resources(Figures { processor_request, processor_limit: "2", memory_request, memory_limit })
}

/// Returns what a step is given in the scoring pod: it sees minutes, not days, in 20 MiB.
pub(super) fn scoring(stage: Stage) -> Resources {
    let (processor_request, memory_request, memory_limit) = match stage {
        Stage::Feature => ("10m", "32Mi", "512Mi"),
        Stage::Alert => ("10m", "32Mi", "128Mi"),
        Stage::Collect
        | Stage::Label
        | Stage::Validate
        | Stage::Train
        | Stage::Select
        | Stage::Deploy
        | Stage::Score
        | Stage::Export
        | Stage::Report => ("10m", "32Mi", "256Mi"),
    };
    resources(Figures { processor_request, processor_limit: "1", memory_request, memory_limit })
}

/// Returns what the endpoint is given: it answers thousands of requests a second on one processor.
pub(super) fn serving() -> Resources {
    resources(Figures {
        processor_request: "100m",
        processor_limit: "2",
        memory_request: "32Mi",
        memory_limit: "256Mi",
    })
}

/// Returns what an agent is given: it takes 4 MiB, 27 MiB with its program, and 0.03 % of a processor at
/// a step of 10 s; after a restart it reads events again.
pub(super) fn agent() -> Resources {
    resources(Figures {
        processor_request: "10m",
        processor_limit: "500m",
        memory_request: "32Mi",
        memory_limit: "64Mi",
    })
}

/// Returns how many threads a step uses in training.
pub(super) fn threads(stage: Stage) -> u16 {
    match stage {
        Stage::Feature | Stage::Train => 2,
        Stage::Collect
        | Stage::Label
        | Stage::Validate
        | Stage::Select
        | Stage::Deploy
        | Stage::Score
        | Stage::Alert
        | Stage::Export
        | Stage::Report => 1,
    }
}

/// Returns what Argo's own containers are given.
pub(super) fn executor() -> Resources {
    resources(Figures {
        processor_request: "10m",
        processor_limit: "1",
        memory_request: "32Mi",
        memory_limit: "512Mi",
    })
}

fn resources(figures: Figures) -> Resources {
    let pair = |cpu: &str, memory: &str| {
        [("cpu".to_owned(), cpu.to_owned()), ("memory".to_owned(), memory.to_owned())].into()
    };
    Resources {
        requests: pair(figures.processor_request, figures.memory_request),
        limits: pair(figures.processor_limit, figures.memory_limit),
    }
}

/// Returns when a step is tried again: after the exit codes that say it may help, and when the pod
/// itself was lost. Without a policy beside it, the expression alone decides.
pub(super) fn retry() -> RetryStrategy {
    RetryStrategy {
        limit: RETRIES,
        expression: retry_expression(),
        backoff: Backoff { duration: "10s".to_owned(), factor: 2, max_duration: "10m".to_owned() },
    }
}

/// Returns the retry rule of the step contract in Argo's words; exit codes are texts there. The code is
/// that of the container `main`: of a set, the message says which container failed, and how.
pub fn retry_expression() -> String {
    let kinds = [
        ErrorKind::Bug,
        ErrorKind::Usage,
        ErrorKind::Refused,
        ErrorKind::Unavailable,
        ErrorKind::LostRace,
    ];
    let retried = kinds.iter().filter(|kind| kind.is_retried());
    let codes: Vec<String> = retried.map(|kind| format!("'{}'", kind.exit_code())).collect();
    let retried = kinds.iter().filter(|kind| kind.is_retried());
    let digits: String = retried.map(|kind| kind.exit_code().to_string()).collect();
    format!(
        "lastRetry.exitCode in [{}] || lastRetry.status == 'Error' || \
         lastRetry.message matches '^[^ ]+: [^ ]+ .exit code [{digits}][)]'",
        codes.join(", ")
    )
}
