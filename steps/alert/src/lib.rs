//! Sends messages about alerts that started or ended, each once.
//!
//! It reads the score objects with its own cursor, so an unreachable channel never delays scoring.
//! [`state_machine`] finds what changed in a window, [`message`] groups it, [`outbox`] delivers it.
//! Messages are saved with the cursor *before* they are sent, and removed afterwards: two
//! concurrent runs cannot both make them, the [`lease`] lets only one run send, and after a run is
//! killed at most one message is repeated, with the same key.

pub mod archive;
pub mod channels;
mod clean;
pub mod failure;
mod heartbeat;
pub mod lease;
pub mod message;
pub mod outbox;
mod propose;
pub mod retrain;
mod silence;
pub mod stalled;
mod state;
pub mod state_machine;
mod text;
pub mod training;
pub mod wording;

use std::path::Path;

use contract::message::{Messages, Refused};
use contract::steps::AlertArgs;
use contract::{ErrorKind, Outcome, StepError, Timestamp, write_json};
use document::sections::Alert as Sections;
use store::{Follower, ObjectStore};

use crate::message::{Batch, Message};
use crate::outbox::{Delivery, Pending, Sender};
use crate::state::Keeper;
use crate::state_machine::Rules;
use crate::wording::Wording;

pub use state::AlertState;

/// Runs the step.
///
/// Errors: unavailable when a channel could not be reached (the state is saved, the other channels
/// were notified, the next run retries), lost race when another run sends or has sent the same
/// messages.
pub fn run(args: &AlertArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = Sections::read(&args.document)?;
    let store = store::open_shard(&args.store, args.shard)?;
    let folder = args.document.parent().unwrap_or(Path::new("."));
    let mut channels = channels::open(&document.alerts.channels, folder);
    let names: Vec<String> = channels.iter().map(|channel| channel.name().to_owned()).collect();
    let wording = Wording::new(&document)?;
    let opened = Keeper::open(store.as_ref(), &document.name, args.now);
    let (mut keeper, mut state) = match opened {
        Err(error) if error.kind == ErrorKind::Unavailable && args.ended.is_empty() => {
            return Err(stalled::without_store(&document, channels, args.now, error));
        }
        opened => opened?,
    };
    let before = state.clone();
    // The lease of a run that has ended or was killed.
    state.lease = None;
    let messages = messages(args, store.as_ref(), &document, &mut state, outcome)?;
    if args.ended.is_empty() && !has_stopped(&state) {
        heartbeat::send(&document, folder, &mut channels, args.now, outcome);
    }
    let pending = |message| Pending::new(wording.apply(message), names.clone());
    state.pending.extend(messages.into_iter().map(pending));
    for gone in outbox::forget_unknown(&mut state, &names) {
        outcome.warn(format!(
            "channel `{gone}` was removed from the document before it had received all messages"
        ));
    }
    outbox::shorten(&mut state.pending, &wording);
    let mut sender = Sender {
        channels,
        send: document.alerts.send,
        now: args.now,
        wording: &wording,
        pipeline: &document.name,
        time: outbox::sending_time(args.common.deadline),
        save: &mut |state| keeper.save(state),
        keep: &mut |message| archive::keep(store.as_ref(), message),
    };
    let mut delivery = Delivery::default();
    let saved = tell(&mut sender, &before, &mut state, &mut delivery);

    outcome.count("messages_sent", delivery.sent.len());
    outcome.count("messages_pending", state.pending.len());
    outcome.count("messages_refused", delivery.refused.len());
    if let Some(error) = &delivery.unkept {
        outcome.warn(format!("`lynceus messages` will not show every message: {}", error.message));
    }
    let result = saved.and_then(|()| told(&delivery, outcome));
    let AlertState { told_to, pending, .. } = state;
    let messages = Messages {
        format: Messages::FORMAT,
        pipeline: document.name.clone(),
        told_to,
        sent: delivery.sent,
        pending,
        refused: delivery.refused,
    };
    write_json(&args.messages, &messages)?;
    result
}

/// Returns the messages about scoring, or those about a training that has ended.
fn messages(
    args: &AlertArgs,
    store: &dyn ObjectStore,
    document: &Sections,
    state: &mut AlertState,
    outcome: &mut Outcome,
) -> Result<Vec<Message>, StepError> {
    if args.ended.is_empty() {
        scoring(args, store, document, state, outcome)
    } else {
        training(args, document, state)
    }
}

/// Returns whether people were told that scoring has stopped.
fn has_stopped(state: &AlertState) -> bool {
    state.progress.as_ref().is_some_and(|progress| progress.told.is_some())
}

/// Returns the messages about the windows scored since the last run, and whether scoring works.
fn scoring(
    args: &AlertArgs,
    store: &dyn ObjectStore,
    document: &Sections,
    state: &mut AlertState,
    outcome: &mut Outcome,
) -> Result<Vec<Message>, StepError> {
    if let Some(failed) =
        args.failed.as_ref().filter(|failed| failure::concerns(failed, args.shard))
    {
        failure::note(store, &document.name, args.now, failed)?;
    }
    let followed = follow(store, document, args.now, state, outcome)?;
    if followed.drifts {
        // Before the cursor moves: if the run is killed now, the next run makes the request again.
        retrain::ask(store, document, args.now, outcome)?;
    }
    let (now, scored_to, cause) = (args.now, followed.scored_to, stalled::cause(args));
    let shard = store.shard();
    let stalled = stalled::look(document, shard, state, stalled::Seen { now, scored_to, cause });
    let mut messages: Vec<Message> = followed.messages.into_iter().chain(stalled).collect();
    if let Some(shard) = shard {
        messages.iter_mut().for_each(|message| message::belong_to(message, shard));
    }
    propose::complete(document, &mut messages);
    Ok(messages)
}

/// Saves the messages, sends them under a lease, and saves the remaining ones.
fn tell(
    sender: &mut Sender<'_>,
    before: &AlertState,
    state: &mut AlertState,
    delivery: &mut Delivery,
) -> Result<(), StepError> {
    // Repeated alerts need no lease: sending them twice does no harm.
    sender.refresh(state, delivery);
    let sends = sender.has_work(state);
    if sends {
        state.lease = Some(lease::of_this_process(sender.now));
    }
    if state != before {
        (sender.save)(state)?;
    }
    if !sends {
        return Ok(());
    }
    sender.deliver(state, delivery)?;
    state.lease = None;
    (sender.save)(state)
}

/// The result of the windows that were scored since the last run.
struct Followed {
    /// The changes to report, without text.
    messages: Vec<Message>,
    /// Whether the drift alert fires, and not only because no later window has a drift report.
    drifts: bool,
    /// End of the last window that was scored; nothing before the first.
    scored_to: Option<Timestamp>,
}

/// Updates the state with every window that was scored since the last run.
fn follow(
    store: &dyn ObjectStore,
    document: &Sections,
    now: Timestamp,
    state: &mut AlertState,
    outcome: &mut Outcome,
) -> Result<Followed, StepError> {
    let rules = Rules::of(&document.alerts);
    let follower = Follower::open(store, &document.name, now)?;
    let (mut batch, mut windows, mut drifts) = (Batch::default(), 0, false);
    for score in follower.after(state.told_to) {
        let score = score?;
        let mut changes = state.tracks.observe(&score, &rules);
        if let Some(shard) = store.shard() {
            // A shard's change about all of its entities does not concern the whole pipeline.
            let of_all = changes.iter_mut().filter(|change| change.entity.is_empty());
            of_all.for_each(|change| change.entity = message::shard_words(shard));
        }
        for change in &changes {
            state.note_alert(message::alert_of(change.clone()));
        }
        drifts |= state.tracks.drifts(&score);
        batch.add(&score, changes);
        state.told_to = Some(score.time);
        windows += 1;
    }
    outcome.count("windows", windows);
    outcome.count("changes", batch.changes());
    outcome.count("firing", state.firing.len());
    Ok(Followed { messages: batch.into_messages(), drifts, scored_to: follower.scored_to() })
}

/// Returns the message about a training that has ended, if the document enables it and it was not
/// sent before.
fn training(
    args: &AlertArgs,
    document: &Sections,
    state: &mut AlertState,
) -> Result<Vec<Message>, StepError> {
    let training = training::read(&args.ended, args.failed.as_deref())?;
    if !document.alerts.training.contains(&training.result) {
        return Ok(Vec::new());
    }
    let message = message::of_training(&document.name, training, args.now);
    Ok(if state.is_new_training(&message.key) { vec![message] } else { Vec::new() })
}

/// Reports each channel that failed; if any did, the run must be retried.
fn told(delivery: &Delivery, outcome: &mut Outcome) -> Result<(), StepError> {
    for (name, until) in &delivery.paused {
        outcome.warn(format!("channel `{name}` is rate-limited until {until}"));
    }
    for (name, error) in &delivery.doubted {
        outcome.warn(format!("channel `{name}` rejected a message: {}", error.message));
    }
    for refused in &delivery.refused {
        let Refused { message, channel, why, .. } = refused;
        outcome
            .warn(format!("channel `{channel}` permanently rejected `{}`: {why}", message.title));
    }
    for (name, error) in &delivery.failed {
        outcome.warn(format!("channel `{name}`: {}", error.message));
    }
    let Some((name, error)) = delivery.failed.iter().next() else { return Ok(()) };
    let others = match delivery.failed.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    let message = format!("channel `{name}`{others} cannot be reached: {}", error.message);
    let kept = "the next run sends the waiting messages; the other channels received theirs";
    Err(StepError::unavailable(message).hint(match &error.hint {
        Some(hint) => format!("{hint}; {kept}"),
        None => kept.to_owned(),
    }))
}
