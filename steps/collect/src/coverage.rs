//! The part of its range that a tick could not collect, for `score` and for messages.

use contract::coverage::Coverage;
use contract::{Outcome, StepError};

use crate::join::Joined;
use crate::range::Due;

/// Returns the values that the sources could not collect.
///
/// Errors: the failure, if not even the first due window has data.
pub(crate) fn of(
    sources: &mut [Joined<'_>],
    due: Due,
    outcome: &mut Outcome,
) -> Result<Coverage, StepError> {
    let ends = sources.iter().filter_map(|joined| joined.source.end());
    let first = ends.min_by_key(|end| end.at);
    let until = first.map_or(due.end, |end| end.at);
    let error = first.and_then(|end| end.error.as_ref());
    let nothing = until <= due.scored_to && due.scored_to < due.end;
    if let (Some(error), true) = (error, nothing && !first.is_some_and(|end| end.is_partial)) {
        return Err(error.clone());
    }
    let waiting = (until < due.end).then(|| match error {
        Some(error) => error.message.clone(),
        None => "one tick does not hold them all".to_owned(),
    });
    if let Some(reason) = &waiting {
        outcome.warn(format!("windows after `{until}` wait for the next tick: {reason}"));
    }
    let mut gaps: Vec<_> =
        sources.iter_mut().flat_map(|joined| joined.source.take_gaps()).collect();
    gaps.retain(|gap| gap.first <= until);
    gaps.sort_by_key(|gap| gap.first);
    Ok(Coverage { format: Coverage::FORMAT, until, gaps, waiting })
}
