//! Resources of pods: CPU, memory and time, and when pods are retried.

use contract::{ErrorKind, Stage};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::workflow::{Backoff, RetryStrategy};

/// The user and group of every pod; images name the same one.
pub(super) const USER: i64 = 65_532;

/// Deadline, in seconds, of a training and of the pod of each of its steps.
pub(super) const TRAINING_DEADLINE_SECONDS: i64 = 4 * 3600;
pub(super) const STEP_DEADLINE_SECONDS: i32 = 3600;

/// Deadline of a scoring in seconds: enough to catch up a day; the next tick continues.
pub(super) const SCORING_DEADLINE_SECONDS: i32 = 600;

/// Pods of one training that run at the same time.
pub(super) const PARALLELISM: u32 = 4;

/// Retries after the first attempt.
const RETRIES: i32 = 3;

/// Resource requests and limits; a step that exceeds the limits has a fault.
#[derive(Debug, Clone, Copy)]
struct Figures {
    processor_request: &'static str,
    processor_limit: &'static str,
    memory_request: &'static str,
    memory_limit: &'static str,
}

/// Returns the resources of a step in training.
///
/// Training on one day of minutes takes 33 MiB and 0.2 s of CPU time in its largest step; on the
/// bundled sample, `validate` takes 90 MiB. Requests are near that, so that a training fits beside
/// other work on a node of two cores; limits leave room for ten days of many entities.
pub(super) fn training(stage: Stage) -> ResourceRequirements {
    let (processor_request, memory_request, memory_limit) = match stage {
        Stage::Collect | Stage::Score | Stage::Deploy => ("20m", "64Mi", "512Mi"),
        Stage::Label | Stage::Alert | Stage::Export => ("20m", "32Mi", "128Mi"),
        Stage::Feature => ("100m", "128Mi", "2Gi"),
        Stage::Validate | Stage::Train | Stage::Select | Stage::Report => ("100m", "128Mi", "1Gi"),
    };
    resources(Figures { processor_request, processor_limit: "2", memory_request, memory_limit })
}

/// Returns the resources of a step in the scoring pod: it processes minutes, not days, in 20 MiB.
pub(super) fn scoring(stage: Stage) -> ResourceRequirements {
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

/// Returns the resources of the endpoint: it answers thousands of requests a second on one CPU.
pub(super) fn serving() -> ResourceRequirements {
    resources(Figures {
        processor_request: "100m",
        processor_limit: "2",
        memory_request: "32Mi",
        memory_limit: "256Mi",
    })
}

/// Returns the resources of an agent: it takes 4 MiB, 27 MiB with its program, and 0.03 % of a CPU
/// at a step of 10 s; after a restart it reads events again.
pub(super) fn agent() -> ResourceRequirements {
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

/// Returns the resources of Argo's own containers.
pub(super) fn executor() -> ResourceRequirements {
    resources(Figures {
        processor_request: "10m",
        processor_limit: "1",
        memory_request: "32Mi",
        memory_limit: "512Mi",
    })
}

fn resources(figures: Figures) -> ResourceRequirements {
    let pair = |cpu: &str, memory: &str| {
        let quantity = |name: &str, value: &str| (name.to_owned(), Quantity(value.to_owned()));
        Some([quantity("cpu", cpu), quantity("memory", memory)].into())
    };
    ResourceRequirements {
        requests: pair(figures.processor_request, figures.memory_request),
        limits: pair(figures.processor_limit, figures.memory_limit),
        ..ResourceRequirements::default()
    }
}

/// Returns when a step is retried: after the exit codes for which a retry may help, and when the
/// pod itself was lost. No `retryPolicy` is set, so only the expression decides.
pub(super) fn retry() -> RetryStrategy {
    RetryStrategy {
        limit: IntOrString::Int(RETRIES),
        expression: retry_expression(),
        backoff: Backoff {
            duration: "10s".to_owned(),
            factor: IntOrString::Int(2),
            max_duration: "10m".to_owned(),
        },
    }
}

/// Returns the retry rule of the step contract as an Argo expression; exit codes are strings there.
/// The code is that of the container `main`; in a container set, the message contains the name and
/// the exit code of the failed container.
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
