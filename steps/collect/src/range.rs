//! The requested points in time.

use contract::steps::CollectArgs;
use contract::{Span, StepError, TimeRange, Timestamp};
use document::features::lookback;
use document::sections::Collect as Sections;

/// Maximum number of points that a Prometheus returns for each series of one request.
pub(crate) const MAX_POINTS: usize = 11_000;

/// Additional requested steps before the lookback: if the sample at the beginning of the lookback
/// is missing, its entity must not be considered new.
const MORE_STEPS: i64 = 5;

/// Maximum number of windows that one tick catches up; the rest waits for the next tick.
const MOST_WINDOWS: i64 = 10_000;

/// Hint for a source whose rows are all outside the range.
pub(crate) const OTHER_RANGE_HINT: &str =
    "set another evaluation time with `--now TIME`, or a longer `range`";

/// The due windows: those that end in `(after, end]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// Windows that end at or before this time are not requested.
    pub(crate) after: Timestamp,
    /// End of the last window, a multiple of the step.
    pub(crate) end: Timestamp,
    /// The windows after this time are scored; the earlier ones are the lookback of their features.
    pub(crate) scored_to: Timestamp,
}

impl Due {
    /// Returns the times of the windows.
    pub(crate) fn range(self) -> TimeRange {
        TimeRange { after: self.after, until: self.end }
    }

    /// Returns the range of a training: the document's `range`, or from `--start` on.
    pub(crate) fn for_training(document: &Sections, args: &CollectArgs) -> Result<Self, StepError> {
        let end = args.now.floor(document.step);
        let after = args.start.unwrap_or(end - args.range.unwrap_or(document.range));
        if after >= end {
            return Err(StepError::usage(format!(
                "a start at `{after}` leaves no window until `{end}`, the last one at `--now`"
            ))
            .hint("choose an earlier --start, or a later --now"));
        }
        Ok(Self { after, end, scored_to: after })
    }

    /// Returns the range for scoring: the windows after `scored_to`, no older than `catch_up`, and
    /// before them the lookback of their features. Without a watermark a single window is due.
    pub(crate) fn for_scoring(
        document: &Sections,
        now: Timestamp,
        scored_to: Option<Timestamp>,
    ) -> Self {
        let end = (now - document.scoring.delay).floor(document.step);
        let after = match scored_to {
            Some(scored_to) => scored_to.max(end - document.scoring.catch_up),
            None => end - document.step,
        };
        if after >= end {
            return Self { after: end, end, scored_to: end };
        }
        let most = Span::from_ms(document.step.ms().saturating_mul(MOST_WINDOWS));
        let end = end.min(after.floor(document.step) + most);
        let lookback = lookback(document.step, &document.features, &document.fill);
        // Features without a lookback need no history.
        let more = if lookback > Span::ZERO { MORE_STEPS * document.step.ms() } else { 0 };
        Self { after: after - lookback - Span::from_ms(more), end, scored_to: after }
    }

    /// Returns whether a time is inside.
    pub(crate) fn contains(&self, time: Timestamp) -> bool {
        self.after < time && time <= self.end
    }

    /// Returns the points of the step grid inside.
    pub(crate) fn grid(&self, step: Span) -> Grid {
        let first = self.after.floor(step) + step;
        let points = if first > self.end { 0 } else { (self.end - first).in_steps(step) + 1 };
        Grid { first, points, step }
    }
}

/// Points in time, one step apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// The first point.
    pub(crate) first: Timestamp,
    /// Number of points.
    pub(crate) points: usize,
    /// Distance between two.
    pub(crate) step: Span,
}

impl Grid {
    /// Returns the point with this number.
    pub(crate) fn time(&self, index: usize) -> Timestamp {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        self.first + Span::from_ms(self.step.ms().saturating_mul(index))
    }

    /// Returns the last point; the first, if there is none.
    pub(crate) fn last(&self) -> Timestamp {
        self.time(self.points.saturating_sub(1))
    }

    /// Returns whether a time lies between the first and the last point, or is one of them.
    pub(crate) fn covers(&self, time_ms: i64) -> bool {
        self.points > 0 && self.first.ms() <= time_ms && time_ms <= self.last().ms()
    }

    /// Returns whether a time is one of the points.
    pub(crate) fn contains(&self, time: Timestamp) -> bool {
        self.covers(time.ms()) && (time - self.first).ms() % self.step.ms() == 0
    }

    /// Returns how many points are at or before a time.
    pub(crate) fn points_until(&self, time: Timestamp) -> usize {
        if time < self.first {
            return 0;
        }
        ((time - self.first).in_steps(self.step) + 1).min(self.points)
    }

    /// Removes the first `points` points and returns them.
    pub(crate) fn take(&mut self, points: usize) -> Self {
        let head = Self { points: points.min(self.points), ..*self };
        self.first = self.time(head.points);
        self.points -= head.points;
        head
    }
}

/// Divides a grid into chunks that respect the server's limit of points and the memory.
#[derive(Debug, Clone)]
pub(crate) struct ChunkPlan {
    rest: Grid,
    queries: usize,
    points: usize,
    /// Whether the number of entities is unknown before the first reply.
    waits: bool,
    cells: usize,
    /// Number of points of the first chunk.
    first_points: usize,
    /// Number of points before the first requested one; `None` without a bound.
    lookback_points: Option<usize>,
}

impl ChunkPlan {
    /// Cells (points x queries x entities) of a chunk; a few chunks are in memory at once.
    const CELLS: usize = 1_000_000;
    /// Maximum number of cells of one tick, because its samples, features and scores are in memory.
    const MOST_CELLS: usize = 8_000_000;
    /// Number of points of the first chunk if the number of entities is not known yet.
    const FIRST_POINTS: usize = 120;

    /// Plans the chunks of a grid; `by_entity` means that a query may return many series.
    pub(crate) fn new(grid: Grid, queries: usize, by_entity: bool) -> Self {
        let mut plan = Self {
            rest: grid,
            queries,
            points: 0,
            waits: by_entity,
            cells: Self::CELLS,
            first_points: 0,
            lookback_points: None,
        };
        plan.points = if by_entity { Self::FIRST_POINTS } else { plan.points_for(queries) };
        plan
    }

    /// Limits the plan to the memory of one tick. It always includes the lookback, and as many
    /// points after it as the first chunk has.
    #[must_use]
    pub(crate) fn with_bound(mut self, lookback_points: usize) -> Self {
        self.lookback_points = Some(lookback_points);
        self.bound(self.queries, 0);
        self
    }

    fn bound(&mut self, series: usize, taken: usize) {
        let Some(lookback) = self.lookback_points else { return };
        let most = (Self::MOST_CELLS / series.max(1)).max(lookback + Self::FIRST_POINTS);
        self.rest.points = self.rest.points.min(most.saturating_sub(taken));
    }

    /// Plans smaller chunks, if one reply is limited to this number of values.
    #[must_use]
    pub(crate) fn with_samples(mut self, max_samples: Option<u32>) -> Self {
        if let Some(values) = max_samples {
            let values = usize::try_from(values).unwrap_or(usize::MAX);
            self.cells = self.cells.min(values.saturating_mul(self.queries.max(1)));
            self.points = self.points.min(self.points_for(self.queries));
        }
        self
    }

    fn points_for(&self, series: usize) -> usize {
        let least = if self.cells < Self::CELLS { 1 } else { Self::FIRST_POINTS };
        (self.cells / series.max(1)).clamp(least, MAX_POINTS)
    }

    /// Returns whether the next chunk can be determined only after the reply to the first one.
    pub(crate) fn waits(&self) -> bool {
        self.waits && self.points == 0
    }

    /// Returns the next chunk.
    pub(crate) fn next(&mut self) -> Option<Grid> {
        if self.rest.points == 0 || self.waits() {
            return None;
        }
        let chunk = self.rest.take(self.points);
        if self.waits {
            self.first_points = chunk.points;
            self.points = 0;
        }
        Some(chunk)
    }

    /// Sets the maximum number of series of a query, from the reply to the first chunk.
    pub(crate) fn learn(&mut self, series: usize) {
        if self.waits {
            self.waits = false;
            let series = self.queries.saturating_mul(series.max(1));
            self.points = self.points_for(series);
            self.bound(series, self.first_points);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn due(after: i64, end: i64) -> Due {
        let after = Timestamp::from_ms(after);
        Due { after, end: Timestamp::from_ms(end), scored_to: after }
    }

    fn chunks(mut plan: ChunkPlan, series: usize) -> Vec<Grid> {
        let mut chunks = Vec::new();
        while let Some(chunk) = plan.next() {
            plan.learn(series);
            chunks.push(chunk);
        }
        chunks
    }

    #[test]
    fn ten_days_of_minutes_are_two_requests_of_at_most_11_000_points() {
        let end = Timestamp::from_ms(1_795_252_800_000);
        let step = Span::from_seconds(60);
        let due = due(end.ms() - 864_000_000, end.ms());
        let grid = due.grid(step);
        assert_eq!((grid.points, grid.last()), (14_400, end));
        let sizes: Vec<usize> =
            chunks(ChunkPlan::new(grid, 25, false), 1).iter().map(|c| c.points).collect();
        assert_eq!(sizes, [11_000, 3_400]);
    }

    #[test]
    fn many_entities_make_small_chunks() {
        let due = due(0, 86_400_000);
        let grid = due.grid(Span::from_seconds(10));
        let chunks = chunks(ChunkPlan::new(grid, 25, true), 100);
        assert_eq!(chunks[0].points, 120);
        assert_eq!(chunks[1].points, 400);
    }

    #[test]
    fn a_start_off_the_grid_begins_at_the_next_point() {
        let due = due(61_000, 180_000);
        let grid = due.grid(Span::from_seconds(60));
        assert_eq!((grid.first.ms(), grid.points), (120_000, 2));
    }

    #[test]
    fn one_tick_of_many_entities_is_bounded_and_never_cuts_the_lookback() {
        let grid = due(0, 86_400_000).grid(Span::from_seconds(10));
        for (lookback, series, expected) in
            [(10, 1, 8640), (10, 1000, 320), (500, 1000, 620), (10, 100, 3200)]
        {
            let plan = ChunkPlan::new(grid, 25, true).with_bound(lookback);
            let points: usize = chunks(plan, series).iter().map(|chunk| chunk.points).sum();
            assert_eq!(points, expected, "{lookback} {series}");
        }
    }

    proptest! {
        #[test]
        fn chunks_cover_the_grid_once_and_in_order(
            first in -5_000_i64..5_000, points in 0_usize..60_000, step in 1_i64..100_000,
            queries in 1_usize..300, by_entity: bool, series in 0_usize..3_000,
        ) {
            let first = Timestamp::from_ms(first * step);
            let grid = Grid { first, points, step: Span::from_ms(step) };
            let mut expected = first;
            let mut total = 0;
            for chunk in chunks(ChunkPlan::new(grid, queries, by_entity), series) {
                prop_assert!(chunk.points >= 1 && chunk.points <= MAX_POINTS);
                prop_assert_eq!(chunk.first, expected);
                expected = chunk.last() + chunk.step;
                total += chunk.points;
            }
            prop_assert_eq!(total, points);
        }
    }
}
