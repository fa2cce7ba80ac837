//! Late ticks.

use contract::StepError;
use contract::score::{LateTicks, LateWindows};
use store::{ObjectStore, state};

/// Maximum number of late ticks that are recorded.
const MOST: usize = 100;

/// Records the windows of a late tick, and drops the oldest record.
///
/// A tick that was killed before it moved the watermark may have recorded windows that this tick
/// scores again: the record of this tick replaces that one.
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
