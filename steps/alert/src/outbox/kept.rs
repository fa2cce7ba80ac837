//! Limits of the stored state: pending messages, and the channels they wait for.

use std::collections::{BTreeMap, BTreeSet};

pub use contract::alerts::Trouble;
pub use contract::message::{Pending, Refused, Sent};

use crate::AlertState;
use crate::message;
use crate::wording::Wording;

/// Maximum number of messages kept for an unreachable channel; more are merged into one summary.
pub const MAX_PENDING: usize = 50;

/// Removes channels that are no longer in the document from the messages, and returns their names.
/// Messages without any remaining channel are dropped once they are in the store.
pub fn forget_unknown(state: &mut AlertState, names: &[String]) -> BTreeSet<String> {
    let mut gone = BTreeSet::new();
    for Pending { channels, .. } in &mut state.pending {
        gone.extend(channels.extract_if(.., |name| !names.contains(name)));
    }
    state.pending.retain(|pending| !pending.channels.is_empty() || !pending.is_kept);
    state.trouble.retain(|name, _| names.contains(name));
    gone
}

/// Merges the messages about alerts that wait for the same channels, if there are more than
/// [`MAX_PENDING`], so that the state does not grow while a channel is unreachable.
pub fn shorten(pending: &mut Vec<Pending>, wording: &Wording<'_>) {
    let is_summed = |one: &Pending| !one.message.alerts.is_empty();
    let mut counts: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for one in pending.iter().filter(|one| is_summed(one)) {
        *counts.entry(one.channels.clone()).or_default() += 1;
    }
    for channels in counts.into_iter().filter(|(_, n)| *n > MAX_PENDING).map(|(names, _)| names) {
        let long: Vec<_> =
            pending.extract_if(.., |one| one.channels == channels && is_summed(one)).collect();
        let message = long.into_iter().map(|pending| pending.message).reduce(message::merge);
        pending.extend(message.map(|message| Pending::new(wording.apply(message), channels)));
    }
    // Messages about trainings and channels are few; a channel that was unreachable this long needs
    // only the last ones.
    let others = pending.iter().filter(|one| !is_summed(one)).count();
    let mut surplus = others.saturating_sub(MAX_PENDING);
    pending.retain(|one| {
        let drops = !is_summed(one) && surplus > 0;
        surplus -= usize::from(drops);
        !drops
    });
}
