//! Values that could not be fetched: recorded as gaps, reported as warnings.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use contract::coverage::{Gap, GapKind};
use contract::{Outcome, Span, Timestamp};

use super::pieces::Hole;

/// The gaps of a run.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    gaps: Vec<Gap>,
    /// Contents of the warnings: for each query and kind, the number of points, and the first
    /// reason.
    told: BTreeMap<(String, GapKind), Told>,
}

#[derive(Debug)]
struct Told {
    points: usize,
    first: Timestamp,
    last: Timestamp,
    reason: String,
}

/// Several series of an entity.
pub(crate) struct Ambiguous<'a> {
    pub(crate) query: &'a str,
    pub(crate) entity: &'a str,
    /// Their times, in order; consecutive ones are a step apart.
    pub(crate) times: &'a [Timestamp],
    pub(crate) step: Span,
    pub(crate) reason: &'a str,
}

impl Gaps {
    /// Records points of a query that could not be fetched for any entity.
    pub(crate) fn hole(&mut self, query: &str, hole: Hole) {
        let (first, last) = (hole.grid.first, hole.grid.last());
        let told = Told { points: hole.grid.points, first, last, reason: hole.reason.clone() };
        self.tell(query, hole.kind, told);
        let (query, entity) = (query.to_owned(), None);
        self.gaps.push(Gap { first, last, query, entity, kind: hole.kind, reason: hole.reason });
    }

    /// Records times at which several series had the same entity.
    pub(crate) fn ambiguous(&mut self, found: &Ambiguous<'_>) {
        let Ambiguous { query, entity, times, step, reason } = *found;
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return };
        let told = Told { points: times.len(), first, last, reason: reason.to_owned() };
        self.tell(query, GapKind::Ambiguous, told);
        for run in times.chunk_by(|one, next| *next - *one <= step) {
            self.gaps.push(Gap {
                first: run[0],
                last: run[run.len() - 1],
                query: query.to_owned(),
                entity: Some(entity.to_owned()),
                kind: GapKind::Ambiguous,
                reason: reason.to_owned(),
            });
        }
    }

    fn tell(&mut self, query: &str, kind: GapKind, more: Told) {
        match self.told.entry((query.to_owned(), kind)) {
            Entry::Vacant(entry) => {
                entry.insert(more);
            }
            Entry::Occupied(mut entry) => {
                let told = entry.get_mut();
                told.points += more.points;
                (told.first, told.last) = (told.first.min(more.first), told.last.max(more.last));
            }
        }
    }

    /// Warns about missing values, once for each query and kind.
    pub(crate) fn warn(&self, outcome: &mut Outcome) {
        let points: usize = self.told.values().map(|told| told.points).sum();
        outcome.count("points_missing", points);
        for ((query, kind), told) in &self.told {
            let Told { points, first, last, reason } = told;
            let word = kind.word();
            outcome.warn(format!(
                "query `{query}`: {points} points from `{first}` to `{last}` are missing values ({word}: {reason})"
            ));
        }
    }

    /// Takes the gaps, in order of time.
    pub(crate) fn take(&mut self) -> Vec<Gap> {
        let mut gaps = std::mem::take(&mut self.gaps);
        gaps.sort_by(|a, b| (a.first, &a.query, &a.entity).cmp(&(b.first, &b.query, &b.entity)));
        gaps
    }
}
