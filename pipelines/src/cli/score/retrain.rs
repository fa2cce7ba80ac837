//! Starts the training that drift requested, as a separate process for which the tick does not
//! wait.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use alert::retrain::{Request, STATE};
use contract::{ErrorKind, SYSTEM_HINT, StepError, Timestamp};
use fs_err as fs;
use store::state;

use super::ScoreArgs;
use crate::cli::context::Context;
use crate::cli::{Global, say};
use crate::run::this_program;

/// Log file of the training, beside the runs of its pipeline.
pub(crate) const LOG: &str = "retrain.log";

/// Starts the requested training, if none of this pipeline is running on this machine, and returns
/// the path of its log.
///
/// The process locks the log while it runs. The request is marked as done before the start: a kill
/// between the two loses this training, but two trainings never start. If the process cannot be
/// started, the request is reopened.
pub(super) fn start(
    global: &Global,
    args: &ScoreArgs,
    context: &Context,
    now: Timestamp,
) -> Result<Option<PathBuf>, StepError> {
    let document = &context.document;
    // A sample has fixed times, but this training would use the clock.
    let settings = document.scoring.drift.retrain.as_ref().filter(|_| !args.document.sample);
    let Some(settings) = settings else { return Ok(None) };
    let store = context.store.open()?;
    let mut asked = None;
    for path in context.paths() {
        let stored = state::read::<Request>(store.as_ref(), &path, STATE)?;
        let open = stored.filter(|stored| stored.value.is_open(now, settings.pause));
        // One training covers all shards, so requests of other shards find it already running.
        asked = asked.or(open.map(|stored| (path, stored)));
    }
    let Some((path_of_state, stored)) = asked else { return Ok(None) };
    let path = context.store.root.join("runs").join(&document.name).join(LOG);
    let log = fs::OpenOptions::new().create(true).append(true).open(&path);
    let log = log.map_err(|e| StepError::writing(&path, &e))?;
    match log.file().try_lock() {
        Ok(()) => log.set_len(0).map_err(|e| StepError::writing(&path, &e))?,
        Err(std::fs::TryLockError::WouldBlock) => {
            say("drift asks for a training; it starts when the one under way has ended");
            return Ok(None);
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(StepError::writing(&path, &error)),
    }
    let started = Request { started: true, ..stored.value };
    let write = |request: &Request, etag: &str| {
        state::write(store.as_ref(), &path_of_state, STATE, request, Some(etag))
    };
    let etag = match write(&started, &stored.etag) {
        Err(error) if error.kind == ErrorKind::LostRace => return Ok(None),
        written => written?,
    };
    if let Err(error) = spawn(global, args, log, &path, now) {
        write(&Request { started: false, ..started }, &etag)?;
        return Err(error);
    }
    Ok(Some(path))
}

fn spawn(
    global: &Global,
    args: &ScoreArgs,
    log: fs::File,
    path: &Path,
    now: Timestamp,
) -> Result<(), StepError> {
    let program = this_program()?;
    let mut command = Command::new(&program);
    let document = &args.document;
    command.arg("run").arg(&document.pipeline).arg("--now").arg(now.to_string());
    for overlay in &document.overlay {
        command.arg("--overlay").arg(overlay);
    }
    for set in &document.set {
        command.arg("--set").arg(set);
    }
    let options = args.process.options(global);
    command.arg("--jobs").arg(options.jobs.to_string());
    command.arg("--threads").arg(options.threads.to_string());
    command.arg("--retries").arg(options.retries.to_string());
    command.arg("--store").arg(&global.store).arg("--pipelines").arg(&global.pipelines);
    let log = log.into_parts().0;
    let copy = log.try_clone().map_err(|e| StepError::writing(path, &e))?;
    // Ctrl-C at the tick's terminal must not stop the training.
    let spawned = command.stdin(Stdio::null()).stdout(copy).stderr(log).process_group(0).spawn();
    // The training continues after this process ends; nothing waits for it.
    spawned.map(drop).map_err(|e| {
        StepError::unavailable(format!("cannot start `{}`: {e}", program.display()))
            .hint(SYSTEM_HINT)
    })
}
