//! The source `prometheus`: asks a server, several questions at once, chunk by chunk.

pub(crate) mod assemble;
mod client;
pub(crate) mod reply;
pub(crate) mod request;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use contract::StepError;
use document::sources::PrometheusSource;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::range::{ChunkPlan, Grid};
use crate::source::{Opening, Source};
use crate::sources::queries::{Answers, Queries};
use assemble::Chunk;
use client::Endpoint;
use reply::Reply;
use request::{RangeQuery, Requester};

/// Chunks that are asked for at once; one more waits to be written, and one is being written.
const OPEN_CHUNKS: usize = 2;

/// A Prometheus to be asked.
#[derive(Debug)]
pub(crate) struct Prometheus {
    requester: Arc<Requester>,
    queries: Arc<[RangeQuery]>,
    parallel: usize,
}

/// Opens the source; nothing is sent yet.
pub(crate) fn open<'a>(
    settings: &'a PrometheusSource,
    opening: Opening<'a>,
) -> Result<Box<dyn Source + 'a>, StepError> {
    let window = opening.document.rate_window.to_string();
    let queries = opening.settings.queries.iter().map(|query| RangeQuery {
        name: query.name.clone(),
        promql: query.promql.replace("$rate_window", &window),
    });
    let requester = Requester {
        endpoint: Endpoint::new(opening.field("prometheus"), settings, opening.folder)?,
        timeout: settings.timeout,
        retries: settings.retries,
        requests: AtomicUsize::new(0),
        retried: AtomicUsize::new(0),
    };
    let prometheus = Prometheus {
        requester: Arc::new(requester),
        queries: queries.collect(),
        parallel: usize::from(settings.parallel.max(1)),
    };
    Ok(Box::new(Queries::new(prometheus, opening)))
}

impl Answers for Prometheus {
    /// Fetches all chunks in order and hands each to `write`, while the next ones are fetched.
    fn for_each_chunk(
        &self,
        plan: ChunkPlan,
        write: &mut dyn FnMut(Chunk) -> Result<(), StepError>,
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
                written = chunk.and_then(&mut *write);
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

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let Requester { requests, retried, .. } = &*self.requester;
        [("requests", requests), ("retries", retried)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
            .into()
    }
}

impl Prometheus {
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
