//! The replies to all queries for one time range.

use contract::Span;

use super::pieces::{Answer, Hole, Stop};
use super::reply::Reply;
use crate::range::Grid;
use crate::source::End;

/// The replies to all queries for a chunk.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) grid: Grid,
    /// One reply per query, in the document's order.
    pub(crate) replies: Vec<Reply>,
    /// Number of a query, and points of it that could not be fetched.
    pub(crate) holes: Vec<(usize, Hole)>,
    /// Why the chunk ends early, and no other follows it.
    pub(crate) stop: Option<Stop>,
}

impl Chunk {
    /// Makes a complete chunk.
    pub(crate) fn whole(grid: Grid, replies: Vec<Reply>) -> Self {
        Self { grid, replies, holes: Vec::new(), stop: None }
    }

    /// Makes a chunk of answers; if one of them ends early, all are shortened to it.
    pub(crate) fn new(grid: Grid, answers: impl Iterator<Item = Answer>) -> Self {
        let mut chunk = Self::whole(grid, Vec::new());
        for (index, answer) in answers.enumerate() {
            chunk.replies.push(answer.reply);
            chunk.holes.extend(answer.holes.into_iter().map(|hole| (index, hole)));
            let stops = chunk.stop.take().into_iter().chain(answer.stop);
            chunk.stop = stops.min_by_key(|stop| stop.at);
        }
        chunk.cut();
        chunk
    }

    /// Returns the end of its rows, which are `step` apart.
    pub(crate) fn end(&self, step: Span) -> End {
        let before_first = self.grid.first - step;
        End {
            at: if self.grid.points == 0 { before_first } else { self.grid.last() },
            error: self.stop.as_ref().map(|stop| stop.error.clone()),
            is_partial: self.stop.as_ref().is_some_and(|stop| stop.is_partial),
        }
    }

    fn cut(&mut self) {
        let Some(stop) = &self.stop else { return };
        let last = stop.at - Span::from_ms(1);
        self.grid.points = self.grid.points_until(last);
        for reply in &mut self.replies {
            for series in &mut reply.series {
                series.points.retain(|point| point.time_ms <= last.ms());
            }
            reply.series.retain(|series| !series.points.is_empty());
        }
        for (_, hole) in &mut self.holes {
            hole.grid.points = hole.grid.points_until(last);
        }
        self.holes.retain(|(_, hole)| hole.grid.points > 0);
    }
}
