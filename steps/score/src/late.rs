//! Ticks that came late.

use contract::StepError;
use contract::score::{LateTicks, LateWindows};
use store::{ObjectStore, state};

/// Late ticks that are remembered.
const MOST: usize = 100;

/// Records the windows of a late tick, and drops the oldest record.
///
/// A tick that was killed before it moved the watermark has noted windows that this one scores
/// again: this one's note takes the place of that.
pub(crate) fn note(
    store: &dyn ObjectStore,
    pipeline: &str,
    late: LateWindows,
) -> Result<(), StepError> {
    let stored = state::read::<LateTicks>(store, pipeline, LateTicks::NAME)?;
    let (mut ticks, etag) = match stored {
        Some(stored) => (stored.value.ticks, Some(stored.etag)),
        None => (Vec::new(), None),
    };
    ticks.retain(|tick| tick.last < late.first);
    ticks.push(late);
    ticks.drain(..ticks.len().saturating_sub(MOST));
    let remembered = LateTicks { format: LateTicks::FORMAT, ticks };
    state::write(store, pipeline, LateTicks::NAME, &remembered, etag.as_deref()).map(drop)
}
