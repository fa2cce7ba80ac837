//! The source `prometheus`: asks a server, several questions at once, chunk by chunk.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use contract::{Outcome, StepError};
use document::Document;
use document::document::PrometheusSource;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::assemble::Chunk;
use crate::client::Endpoint;
use crate::range::{ChunkPlan, Grid};
use crate::reply::Reply;
use crate::request::{RangeQuery, Requester};

/// Chunks that are asked for at once; one more waits to be written, and one is being written.
const OPEN_CHUNKS: usize = 2;

/// A Prometheus to be asked.
#[derive(Debug)]
pub(crate) struct Prometheus {
    requester: Arc<Requester>,
    queries: Arc<[RangeQuery]>,
    parallel: usize,
}

impl Prometheus {
    /// Prepares the queries; nothing is sent yet.
    pub(crate) fn new(
        document: &Document,
        source: &PrometheusSource,
        folder: &Path,
    ) -> Result<Self, StepError> {
        let window = document.rate_window.to_string();
        let queries = document.queries.iter().map(|query| RangeQuery {
            name: query.name.clone(),
            promql: query.promql.replace("$rate_window", &window),
        });
        let requester = Requester {
            endpoint: Endpoint::new(source, folder)?,
            timeout: source.timeout,
            retries: source.retries,
            requests: AtomicUsize::new(0),
            retried: AtomicUsize::new(0),
        };
        Ok(Self {
            requester: Arc::new(requester),
            queries: queries.collect(),
            parallel: usize::from(source.parallel.max(1)),
        })
    }

    /// Fetches all chunks in order and hands each to `write`, while the next ones are fetched.
    pub(crate) fn for_each_chunk(
        &self,
        plan: ChunkPlan,
        mut write: impl FnMut(Chunk) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StepError::unavailable(format!("cannot start to fetch: {error}")))?;
        let (sender, mut receiver) = mpsc::channel(1);
        std::thread::scope(|scope| {
            let fetching = scope.spawn(move || runtime.block_on(self.fetch(plan, sender)));
            let mut written = Ok(());
            while let Some(chunk) = receiver.blocking_recv() {
                written = chunk.and_then(&mut write);
                if written.is_err() {
                    break;
                }
            }
            // Closing the channel ends the fetching, whatever it waits for.
            drop(receiver);
            match fetching.join() {
                Ok(()) => written,
                Err(_) => Err(StepError::bug("fetching ended in a panic")),
            }
        })
    }

    async fn fetch(&self, plan: ChunkPlan, sender: mpsc::Sender<Result<Chunk, StepError>>) {
        let (open, tasks) = (VecDeque::new(), JoinSet::new());
        let mut fetch = Fetch { source: self, plan, open, opened: 0, tasks };
        loop {
            fetch.start();
            let replied = tokio::select! {
                () = sender.closed() => return,
                replied = fetch.tasks.join_next() => replied,
            };
            // No task is left where there is nothing to start any more.
            let Some(replied) = replied else { return };
            let replied =
                replied.map_err(|error| StepError::bug(format!("a request broke: {error}")));
            let error = match replied {
                Ok(((number, query), Ok(reply))) => {
                    fetch.store(number, query, reply);
                    None
                }
                Ok((_, Err(error))) | Err(error) => Some(error),
            };
            if let Some(error) = error {
                // Nobody listens where the writing has failed already, and that error is told.
                drop(sender.send(Err(error)).await);
                return;
            }
            while let Some(chunk) = fetch.complete() {
                if sender.send(Ok(chunk)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Writes how often the server was asked.
    pub(crate) fn report(&self, outcome: &mut Outcome) {
        outcome.count("requests", self.requester.requests.load(Ordering::Relaxed));
        outcome.count("retries", self.requester.retried.load(Ordering::Relaxed));
    }
}

/// A chunk whose replies are not all there.
struct OpenChunk {
    number: usize,
    grid: Grid,
    replies: Vec<Option<Reply>>,
    asked: usize,
}

/// Number of the chunk and of the query, with the reply.
type Replied = ((usize, usize), Result<Reply, StepError>);

struct Fetch<'a> {
    source: &'a Prometheus,
    plan: ChunkPlan,
    open: VecDeque<OpenChunk>,
    opened: usize,
    tasks: JoinSet<Replied>,
}

impl Fetch<'_> {
    /// Starts as many requests as may run at once, in order of chunks and queries.
    fn start(&mut self) {
        let queries = self.source.queries.len();
        while self.tasks.len() < self.source.parallel {
            let unfinished = self.open.iter_mut().find(|chunk| chunk.asked < queries);
            let Some(chunk) = unfinished else {
                if self.open.len() >= OPEN_CHUNKS {
                    return;
                }
                let Some(grid) = self.plan.next() else { return };
                let replies = (0..queries).map(|_| None).collect();
                self.open.push_back(OpenChunk { number: self.opened, grid, replies, asked: 0 });
                self.opened += 1;
                continue;
            };
            let (id, grid) = ((chunk.number, chunk.asked), chunk.grid);
            chunk.asked += 1;
            let requester = Arc::clone(&self.source.requester);
            let queries = Arc::clone(&self.source.queries);
            self.tasks.spawn(async move { (id, requester.reply(&queries[id.1], grid).await) });
        }
    }

    fn store(&mut self, number: usize, query: usize, reply: Reply) {
        if let Some(chunk) = self.open.iter_mut().find(|chunk| chunk.number == number) {
            chunk.replies[query] = Some(reply);
        }
    }

    /// Takes the oldest chunk, if all its replies are there.
    fn complete(&mut self) -> Option<Chunk> {
        let chunk = self.open.pop_front_if(|chunk| chunk.replies.iter().all(Option::is_some))?;
        let replies: Vec<Reply> = chunk.replies.into_iter().flatten().collect();
        self.plan.learn(replies.iter().map(|reply| reply.series.len()).max().unwrap_or(0));
        Some(Chunk { grid: chunk.grid, replies })
    }
}
