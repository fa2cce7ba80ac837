//! `lynceus watch`: runs a tick each `scoring.every` until Ctrl-C, for installations without Argo.

use contract::{ErrorKind, Span, StepError, Timestamp};
use serde_json::Value;

use super::context::{Context, DocumentArgs, clock};
use super::run::{ProcessArgs, block_on};
use super::score::{self, ScoreArgs};
use super::{Global, OutputFormat, print, say, tell};
use crate::run::{INTERRUPTED, end_well_on_signals, wait_for_signal};

/// Flags of `lynceus watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Start after this time, if the pipeline has never scored a window
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Stop after this many ticks instead of on Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    ticks: Option<u64>,
    #[command(flatten)]
    process: ProcessArgs,
}

pub(crate) fn execute(global: &Global, args: WatchArgs) -> Result<(), StepError> {
    let WatchArgs { document, since, ticks, process } = args;
    if document.sample {
        let error = StepError::usage("`--sample` has ended: none of its windows will become due");
        return Err(error.hint("lynceus run PIPELINE --sample scores it"));
    }
    // Errors of the document are reported now, while the user can correct them.
    let mut context = Context::new(global, &document)?;
    let name = context.document.name.clone();
    say(&format!("scoring {name} every {}; Ctrl-C stops it", context.document.scoring.every));
    let args = ScoreArgs::for_watch(document, since, process);
    let stopped =
        format!("stopped; the next tick of {name} scores the windows that come due meanwhile");
    end_well_on_signals(stopped.clone());
    match follow(global, &args, &mut context, ticks) {
        Err(error) if error.message != INTERRUPTED => Err(error),
        Ok(End::Ticks) => Ok(()),
        // A signal is the normal end of a watch, at any point of a tick.
        Ok(End::Signal) | Err(_) => {
            say(&stopped);
            Ok(())
        }
    }
}

/// Why a watch ended.
enum End {
    /// All requested ticks are done.
    Ticks,
    /// The process received a signal.
    Signal,
}

/// Runs a tick each time a window is due.
fn follow(
    global: &Global,
    args: &ScoreArgs,
    context: &mut Context,
    ticks: Option<u64>,
) -> Result<End, StepError> {
    let mut done = 0_u64;
    loop {
        match score::once(global, args, context, clock()) {
            Err(error) if error.message == INTERRUPTED => return Ok(End::Signal),
            // The next tick starts at the watermark and catches up.
            Err(error) => tell(&error),
            Ok(scored) => show(global, &scored)?,
        }
        done += 1;
        if ticks.is_some_and(|ticks| done >= ticks) {
            return Ok(End::Ticks);
        }
        // A change of the document applies from the next tick on. An invalid document is reported,
        // and the last valid one is used.
        match Context::new(global, args.document()) {
            Ok(read) => *context = read,
            Err(error) => tell(&error),
        }
        let scoring = &context.document.scoring;
        if block_on(wait_for_signal(until_next(clock(), scoring.every, scoring.delay)))? {
            return Ok(End::Signal);
        }
    }
}

/// Returns the time until the next tick: a window is due when its delay is over.
fn until_next(now: Timestamp, every: Span, delay: Span) -> Span {
    let next = (now - delay).floor(every) + every + delay;
    next - now
}

fn show(global: &Global, scored: &Value) -> Result<(), StepError> {
    if global.output() == OutputFormat::Json {
        let line = serde_json::to_string(scored)
            .map_err(|e| StepError::new(ErrorKind::Bug, format!("cannot write a tick: {e}")))?;
        return print(&format!("{line}\n"));
    }
    print(&format!("{}  {}", clock(), score::words(scored)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_starts_when_the_delay_of_a_window_is_over() {
        let wait = |now: i64, every: i64, delay: i64| {
            let [every, delay] = [every, delay].map(Span::from_seconds);
            until_next(Timestamp::from_ms(now * 1000), every, delay).seconds()
        };
        assert!((wait(6000, 60, 30) - 30.0).abs() < 1e-9, "the window that ends at 6000");
        assert!((wait(6030, 60, 30) - 60.0).abs() < 1e-9);
        assert!((wait(6031, 60, 30) - 59.0).abs() < 1e-9);
        assert!((wait(6000, 60, 90) - 30.0).abs() < 1e-9, "a delay longer than a tick");
    }
}
