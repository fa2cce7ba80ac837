//! Ctrl-C and SIGTERM: a runner ends its tasks; between two runs the program exits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};

use contract::{SYSTEM_HINT, Span, StepError};
use tokio::signal::unix::{SignalKind, signal};

use super::INTERRUPTED;

/// Waits for this time, or for Ctrl-C or SIGTERM; returns whether one of these signals arrived.
pub async fn wait_for_signal(time: Span) -> Result<bool, StepError> {
    let mut interrupt = Interrupt::new()?;
    Ok(tokio::time::timeout(time.to_std(), interrupt.wait()).await.is_ok())
}

/// The error of a run that was interrupted; the caller recognises it by [`INTERRUPTED`].
pub(super) fn interrupted() -> StepError {
    StepError::unavailable(INTERRUPTED).hint("run the same command again to resume")
}

/// Ctrl-C and SIGTERM.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

/// Whether a runner handles signals itself, to end its tasks properly.
static LISTENING: AtomicBool = AtomicBool::new(false);

/// Last message of a command for which a signal is a successful end.
static LAST_WORDS: OnceLock<String> = OnceLock::new();

/// Makes a signal between two runs a successful end: the program prints this text and ends with
/// code 0.
pub fn end_well_on_signals(words: String) {
    // A program watches one pipeline, so the text of the first call is kept.
    LAST_WORDS.get_or_init(|| words);
}

/// Ends the program, with the message of a run, on a signal while no runner handles signals: once a
/// handler is installed, the default action of the signals is disabled until the process ends.
fn end_on_signals_between_runs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Ok(mut signals) = Signals::new() else { return };
                loop {
                    signals.wait().await;
                    if !LISTENING.load(Ordering::SeqCst) {
                        end_by_signal();
                    }
                }
            });
        });
    });
}

fn end_by_signal() {
    let code = if let Some(words) = LAST_WORDS.get() {
        crate::cli::say(words);
        0
    } else {
        crate::cli::tell(&interrupted());
        130
    };
    #[expect(clippy::exit, reason = "as a signal does, with our code")]
    std::process::exit(code);
}

/// Handles signals while a runner is active.
pub(super) struct Interrupt {
    signals: Signals,
    /// Whether a signal arrived, so that the program is about to end.
    heard: bool,
}

impl Interrupt {
    pub(super) fn new() -> Result<Self, StepError> {
        let signals = Signals::new()?;
        end_on_signals_between_runs();
        LISTENING.store(true, Ordering::SeqCst);
        Ok(Self { signals, heard: false })
    }

    pub(super) async fn wait(&mut self) {
        self.signals.wait().await;
        self.heard = true;
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        LISTENING.store(self.heard, Ordering::SeqCst);
    }
}

impl Signals {
    /// Starts to handle signals.
    pub(crate) fn new() -> Result<Self, StepError> {
        let listen = |kind| {
            signal(kind).map_err(|e| {
                StepError::unavailable(format!("cannot listen for signals: {e}")).hint(SYSTEM_HINT)
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for a signal.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
