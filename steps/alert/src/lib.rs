//! Tells people what began and what ended, once.
//!
//! It follows the score objects with a cursor of its own, so a dead channel never holds scoring
//! back. [`machine`] says what changed in a window, [`message`] groups it, [`outbox`] delivers.
//! Messages are saved with the cursor *before* they are sent and crossed out after: two runs at
//! once cannot both make them, and a run killed at any moment repeats at most the one it was
//! sending, with the same key.

pub mod channels;
pub mod machine;
pub mod message;
pub mod outbox;
mod text;

use std::path::Path;

use contract::steps::AlertArgs;
use contract::{Outcome, StepError, Timestamp, write_json};
use document::Document;
use serde::{Deserialize, Serialize};
use store::{ObjectStore, Stored, state, watermark};

use crate::machine::{Rules, Tracks};
use crate::message::Batch;
use crate::outbox::{Delivery, Pending, Sent};

const STATE: &str = "alerts";

/// `state/<pipeline>/alerts.json`: what the next run carries on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertState {
    /// Version of this format.
    pub format: u32,
    /// End of the last window that was looked at.
    pub told_to: Option<Timestamp>,
    /// Where each entity stands.
    pub tracks: Tracks,
    /// Messages that have not reached every channel, oldest first.
    pub pending: Vec<Pending>,
}

impl AlertState {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
}

impl Default for AlertState {
    fn default() -> Self {
        Self { format: Self::FORMAT, told_to: None, tracks: Tracks::default(), pending: Vec::new() }
    }
}

/// `messages`: what a run of the step sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Messages {
    /// Version of this format.
    pub format: u32,
    /// The pipeline.
    pub pipeline: String,
    /// End of the last window that was looked at.
    pub told_to: Option<Timestamp>,
    /// What was sent, and through which channels.
    pub sent: Vec<Sent>,
    /// What is still to be sent through which channels, by the next run.
    pub pending: Vec<Pending>,
}

/// Runs the step.
///
/// Errors: unavailable when a channel could not be reached (the state is saved, the others were
/// told, the next run tries again), lost race when another run has told the same windows.
pub fn run(args: &AlertArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = document::read(&args.document)?;
    let store = store::open(&args.store)?;
    let folder = args.document.parent().unwrap_or(Path::new("."));
    let mut channels = channels::open(&document.alerts.channels, folder);
    let names: Vec<String> = channels.iter().map(|channel| channel.name().to_owned()).collect();

    let Stored { value: mut state, mut etag } = read_state(store.as_ref(), &document.name)?;
    let before = state.clone();
    let (batch, windows) = follow(store.as_ref(), &document, args.now, &mut state)?;
    let changed = batch.changes();
    let pending = |message| Pending { message, channels: names.clone() };
    state.pending.extend(batch.into_messages().into_iter().map(pending));
    for gone in outbox::forget_unknown(&mut state.pending, &names) {
        outcome.warn(format!(
            "channel `{gone}` is no longer in the document: some messages never reached it"
        ));
    }
    outbox::shorten(&mut state.pending);

    let mut save = |state: &AlertState| {
        let expected = (!etag.is_empty()).then_some(etag.as_str());
        etag = state::write(store.as_ref(), &document.name, STATE, state, expected)?;
        Ok(())
    };
    let mut delivery = Delivery::default();
    if state != before {
        save(&state)?;
    }
    let saved = outbox::deliver(&mut state, &mut channels, &mut delivery, &mut save);

    outcome.count("windows", windows);
    outcome.count("changes", changed);
    outcome.count("messages_sent", delivery.sent.len());
    outcome.count("messages_pending", state.pending.len());
    let result = saved.and_then(|()| told(&delivery, outcome));
    let Delivery { sent, .. } = delivery;
    let AlertState { told_to, pending, .. } = state;
    let pipeline = document.name;
    write_json(&args.messages, &Messages { format: 1, pipeline, told_to, sent, pending })?;
    result
}

fn read_state(store: &dyn ObjectStore, pipeline: &str) -> Result<Stored<AlertState>, StepError> {
    let stored = state::read::<AlertState>(store, pipeline, STATE)?;
    let stored = stored.unwrap_or(Stored { value: AlertState::default(), etag: String::new() });
    if stored.value.format == AlertState::FORMAT {
        return Ok(stored);
    }
    Err(StepError::refused(format!(
        "`{}` has format {}, this version reads format {}",
        state::key(pipeline, STATE),
        stored.value.format,
        AlertState::FORMAT
    )))
}

/// Moves the state over every window that was scored since; returns what is to be told, and the
/// number of windows.
fn follow(
    store: &dyn ObjectStore,
    document: &Document,
    now: Timestamp,
    state: &mut AlertState,
) -> Result<(Batch, usize), StepError> {
    let rules = Rules::of(&document.alerts);
    // Behind the watermark every window has its object: nothing can appear before the cursor.
    let scored = watermark::read(store, &document.name)?;
    let until = scored.map_or(now, |scored| scored.value.scored_to.min(now));
    let (mut batch, mut windows) = (Batch::default(), 0);
    for score in store::scores::read_after(store, &document.name, state.told_to, until) {
        let score = score?;
        batch.add(&score, state.tracks.observe(&score, &rules));
        state.told_to = Some(score.time);
        windows += 1;
    }
    Ok((batch, windows))
}

/// Reports each channel that failed; any of them makes the run one to be tried again.
fn told(delivery: &Delivery, outcome: &mut Outcome) -> Result<(), StepError> {
    for (name, error) in &delivery.failed {
        outcome.warn(format!("channel `{name}`: {}", error.message));
    }
    let Some((name, error)) = delivery.failed.iter().next() else { return Ok(()) };
    let others = match delivery.failed.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    let message = format!("channel `{name}`{others} could not be told: {}", error.message);
    Err(StepError::unavailable(message)
        .hint("the messages are kept and the next run sends them; the other channels were told"))
}
