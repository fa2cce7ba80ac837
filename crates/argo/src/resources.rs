//! Resources of pods: CPU, memory and time, and when pods are retried.

use contract::ErrorKind;
use contract::resources::Resources;
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

/// Returns the resources of the endpoint: it answers thousands of requests a second on one CPU.
pub(super) fn serving() -> ResourceRequirements {
    resources(Resources { cpu: "100m", memory: "32Mi", cpu_limit: "2", memory_limit: "256Mi" })
}

/// Returns the resources of an agent: it takes 4 MiB, 27 MiB with its program, and 0.03 % of a CPU
/// at a step of 10 s; after a restart it reads events again.
pub(super) fn agent() -> ResourceRequirements {
    resources(Resources { cpu: "10m", memory: "32Mi", cpu_limit: "500m", memory_limit: "64Mi" })
}

/// Returns the resources of Argo's own containers.
pub(super) fn executor() -> ResourceRequirements {
    resources(Resources { cpu: "10m", memory: "32Mi", cpu_limit: "1", memory_limit: "512Mi" })
}

/// Returns resources as Kubernetes has them.
pub(super) fn resources(figures: Resources) -> ResourceRequirements {
    let pair = |cpu: &str, memory: &str| {
        let quantity = |name: &str, value: &str| (name.to_owned(), Quantity(value.to_owned()));
        Some([quantity("cpu", cpu), quantity("memory", memory)].into())
    };
    ResourceRequirements {
        requests: pair(figures.cpu, figures.memory),
        limits: pair(figures.cpu_limit, figures.memory_limit),
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
