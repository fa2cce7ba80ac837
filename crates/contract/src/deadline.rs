//! The deadline of a step: even if a service hangs, the step ends, names what it was waiting for,
//! and can be retried.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use crate::step::{Common, Stage, explain, tell};
use crate::{Outcome, Span, StepError, write_json};

/// What the process is waiting for, for the error of a deadline.
static WAITS_FOR: Mutex<String> = Mutex::new(String::new());

/// Notes which outside service a step is about to wait for, as an error names it: `Prometheus
/// http://prometheus:9090`. It must hold no secrets. An empty text takes the note back.
pub fn waits_for(service: &str) {
    let mut waits_for = WAITS_FOR.lock().unwrap_or_else(PoisonError::into_inner);
    service.clone_into(&mut waits_for);
}

/// Watches over a running step.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// Says that the step has ended, or that its time is over: whoever sets it first decides.
    is_decided: Arc<AtomicBool>,
    /// Dropped with the step, which ends the watch.
    _watch: Option<Sender<()>>,
}

impl Deadline {
    /// Starts the watch, where the flags name a deadline. When it is over, the outcome is written
    /// and the process ends with the exit code of an unavailable service: outputs are renamed into
    /// place when they are whole, so none is left half-written.
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
            // What hangs cannot be asked to end.
            std::process::exit(code.into());
        });
        Self { is_decided, _watch: Some(watch) }
    }

    /// Says that the step has ended; a step whose time was over at this moment does not return.
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
