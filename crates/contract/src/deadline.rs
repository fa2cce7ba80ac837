//! The deadline of a step: even if a service does not answer, the step ends, names the service, and
//! can be retried.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use crate::step::{Common, Stage, explain, tell};
use crate::{Outcome, Span, StepError, write_json};

/// The service for which the process is waiting, for the error of a deadline.
static WAITS_FOR: Mutex<String> = Mutex::new(String::new());

/// Records the outside service for which a step is about to wait, as errors name it: `Prometheus
/// http://prometheus:9090`. The text must not contain secrets. An empty text removes the record.
pub fn waits_for(service: &str) {
    let mut waits_for = WAITS_FOR.lock().unwrap_or_else(PoisonError::into_inner);
    service.clone_into(&mut waits_for);
}

/// Watches over a running step.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// Whether the step has ended or its time is over; the first of the two sets it.
    is_decided: Arc<AtomicBool>,
    /// Dropped with the step, which ends the watch.
    _watch: Option<Sender<()>>,
}

impl Deadline {
    /// Starts the watch if the flags have a deadline. After the deadline the outcome is written,
    /// and the process ends with the exit code of an unavailable service. Outputs are renamed to
    /// their final path only when they are complete, so none is left half-written.
    pub(crate) fn start(stage: Stage, common: &Common) -> Self {
        let is_decided = Arc::new(AtomicBool::new(false));
        let Some(deadline) = common.deadline else { return Self { is_decided, _watch: None } };
        let (watch, ended) = mpsc::channel::<()>();
        let (decided, common) = (Arc::clone(&is_decided), common.clone());
        std::thread::spawn(move || {
            if ended.recv_timeout(deadline.to_std()) != Err(RecvTimeoutError::Timeout)
                || decided.swap(true, Ordering::SeqCst)
            {
                return;
            }
            let error = over(deadline);
            let code = error.kind.exit_code();
            let mut outcome = Outcome::start(stage.name());
            outcome.fail(&error, deadline);
            if let Some(path) = &common.outcome {
                // The exit code says as much.
                drop(write_json(path, &outcome));
            }
            if let Some(path) = &common.termination_log {
                explain(path, &error);
            }
            tell(common.log, stage, &error);
            // A blocked call cannot be cancelled.
            std::process::exit(code.into());
        });
        Self { is_decided, _watch: Some(watch) }
    }

    /// Records that the step has ended; does not return if the deadline passed first.
    pub(crate) fn met(self) {
        if self.is_decided.swap(true, Ordering::SeqCst) {
            loop {
                std::thread::park();
            }
        }
    }
}

fn over(deadline: Span) -> StepError {
    let waits_for = WAITS_FOR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let what = match waits_for.as_str() {
        "" => String::new(),
        service => format!(": it was waiting for {service}"),
    };
    StepError::unavailable(format!("the step did not end within its deadline of `{deadline}`{what}"))
        .hint("check that the service is running and answers quickly; a tick must end within `scoring.every`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadline_error_names_the_awaited_service() {
        waits_for("Prometheus `http://p:9090`");
        let error = over(Span::from_seconds(25));
        waits_for("");
        assert_eq!(error.kind, crate::ErrorKind::Unavailable);
        assert_eq!(
            error.message,
            "the step did not end within its deadline of `25s`: it was waiting for Prometheus `http://p:9090`"
        );
    }
}
