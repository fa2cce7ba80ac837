//! Scoring in blocks of rows, over threads, with the same bytes at any number of them.

use std::sync::{Mutex, PoisonError};

use ndarray::ArrayView2;

/// Scores rows block by block. `score` gets whole rows, one after another, and a slot for each;
/// what it writes must depend on the row alone, so that neither the block nor the thread matters.
pub(crate) fn score_blocks(
    rows: ArrayView2<'_, f64>,
    block: usize,
    threads: usize,
    score: impl Fn(&[f64], &mut [f64]) + Sync,
) -> Vec<f64> {
    let (count, columns) = rows.dim();
    let mut scores = vec![0.0; count];
    let rows = rows.as_standard_layout();
    let Some(values) = rows.as_slice().filter(|_| columns > 0) else { return scores };
    let blocks = values.chunks(block * columns).zip(scores.chunks_mut(block));
    let threads = threads.min(count.div_ceil(block));
    if threads <= 1 {
        blocks.for_each(|(rows, scores)| score(rows, scores));
        return scores;
    }
    let queue = Mutex::new(blocks);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((rows, scores)) = next else { break };
                    score(rows, scores);
                }
            });
        }
    });
    scores
}
