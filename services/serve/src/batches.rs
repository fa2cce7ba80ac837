//! Batches: requests that wait at the same time are scored in one call of each model.
//!
//! A worker takes the request that has waited longest and the requests queued after it, up to a
//! number of rows. While no worker is free, requests are queued. Each request gets bit for bit the
//! same result as if it were scored alone: [`models::Bundle::score_apart`].

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contract::StepError;
use contract::score::EntityScore;
use frames::FeatureTable;
use tokio::sync::oneshot;

use crate::args::ServeArgs;
use crate::live::Served;
use crate::metrics::Metrics;

type Scores = Result<Vec<EntityScore>, StepError>;

/// Queue of requests, and its workers.
#[derive(Debug, Clone)]
pub struct Batches {
    queue: SyncSender<Waiting>,
    max_rows: usize,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    served: Arc<Served>,
    rows: Arc<FeatureTable>,
    /// Closed once the client has disconnected.
    answer: oneshot::Sender<Scores>,
}

/// Queue from which workers take batches, one worker at a time.
#[derive(Debug)]
struct Queue {
    requests: Receiver<Waiting>,
    /// A request that did not fit into the previous batch.
    kept: Option<Waiting>,
}

/// Most rows of a batch, and the longest wait for more requests.
#[derive(Debug, Clone, Copy)]
struct Most {
    rows: usize,
    delay: Duration,
}

impl Batches {
    /// Starts a worker for each thread of the flags; `None` if the flags ask for no batches. The
    /// workers end with the last clone of the returned value.
    ///
    /// Errors: usage (2) for a delay that is not shorter than the timeout of requests.
    pub fn start(args: &ServeArgs, metrics: &Arc<Metrics>) -> Result<Option<Self>, StepError> {
        let options = &args.options;
        let (delay, timeout) = (options.batch_delay.to_std(), options.timeout.to_std());
        if delay >= timeout {
            return Err(StepError::usage(format!(
                "`--batch-delay {}` must be less than `--timeout {}`",
                options.batch_delay, options.timeout
            ))
            .hint("a delay of some milliseconds gathers requests"));
        }
        let rows = usize::try_from(options.batch_rows).unwrap_or(usize::MAX);
        if rows == 0 {
            return Ok(None);
        }
        let places = usize::try_from(options.max_in_flight).unwrap_or(usize::MAX);
        let (queue, requests) = sync_channel(places);
        let waiting = Arc::new(Mutex::new(Queue { requests, kept: None }));
        for _ in 0..options.threads.max(1) {
            let (waiting, metrics) = (Arc::clone(&waiting), Arc::clone(metrics));
            std::thread::spawn(move || {
                while let Some(batch) = next(&waiting, Most { rows, delay }) {
                    answer(batch, &metrics);
                }
            });
        }
        Ok(Some(Self { queue, max_rows: rows }))
    }

    /// Returns whether a request with this number of rows fits into a batch.
    pub fn takes(&self, rows: usize) -> bool {
        rows <= self.max_rows
    }

    /// Queues a request; returns the receiver of its scores, or `None` if the queue is full. A
    /// request whose receiver is dropped is not scored.
    pub fn push(
        &self,
        served: &Arc<Served>,
        rows: &Arc<FeatureTable>,
    ) -> Option<oneshot::Receiver<Scores>> {
        let (answer, scores) = oneshot::channel();
        let (served, rows) = (Arc::clone(served), Arc::clone(rows));
        match self.queue.try_send(Waiting { served, rows, answer }) {
            Ok(()) => Some(scores),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }
}

/// Waits for a request and returns it with the queued requests for the same version that fit;
/// `None` once the server has ended.
fn next(queue: &Mutex<Queue>, most: Most) -> Option<Vec<Waiting>> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let first = match queue.kept.take() {
        Some(kept) => kept,
        None => queue.requests.recv().ok()?,
    };
    let until = Instant::now() + most.delay;
    let mut rows = first.rows.rows();
    let served = Arc::clone(&first.served);
    let mut batch = vec![first];
    while rows < most.rows {
        let left = until.saturating_duration_since(Instant::now());
        let request = if left.is_zero() {
            queue.requests.try_recv().ok()
        } else {
            queue.requests.recv_timeout(left).ok()
        };
        let Some(request) = request else { break };
        rows = rows.saturating_add(request.rows.rows());
        if rows > most.rows || !Arc::ptr_eq(&request.served, &served) {
            queue.kept = Some(request);
            break;
        }
        batch.push(request);
    }
    Some(batch)
}

/// Scores a batch and gives each request its own scores.
fn answer(mut batch: Vec<Waiting>, metrics: &Metrics) {
    batch.retain(|request| !request.answer.is_closed());
    let Some(served) = batch.first().map(|request| Arc::clone(&request.served)) else { return };
    let tables: Vec<&FeatureTable> = batch.iter().map(|request| &*request.rows).collect();
    metrics.batched(tables.len(), tables.iter().map(|rows| rows.rows()).sum());
    let scores = served.judge_apart(&tables);
    for (request, scores) in batch.into_iter().zip(scores) {
        // A client that has disconnected needs no answer.
        drop(request.answer.send(scores));
    }
}
