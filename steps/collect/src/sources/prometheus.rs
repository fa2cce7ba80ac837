//! The source `prometheus`: queries a server with several requests in parallel, chunk by chunk.

pub(crate) mod assemble;
pub(crate) mod chunk;
pub(crate) mod client;
pub(crate) mod column;
mod gaps;
mod limits;
pub(crate) mod pieces;
pub(crate) mod reply;
pub(crate) mod request;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use contract::deadline::waits_for;
use contract::{SYSTEM_HINT, StepError};
use document::collect::PartialAnswers;
use document::http::Http;
use document::sources::prometheus::PrometheusSource;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::client::Endpoint;
use crate::range::{ChunkPlan, Grid};
use crate::source::{Opener, Opening, Source};
use crate::sources::queries::{Answers, Queries};
use chunk::Chunk;
use limits::Limits;
use pieces::{Answer, Patience};
use request::{RangeQuery, Requester};

/// Number of chunks that are requested at the same time; one more waits to be written, and one is
/// being written.
const OPEN_CHUNKS: usize = 2;

/// A Prometheus server to query.
#[derive(Debug)]
pub(crate) struct Prometheus {
    requester: Arc<Requester>,
    queries: Arc<[RangeQuery]>,
    max_samples: Option<u32>,
}

impl Opener for Http<PrometheusSource> {
    fn has_replies(&self) -> bool {
        true
    }

    /// Opens the source; nothing is sent yet.
    fn open<'a>(&'a self, opening: Opening<'a>) -> Result<Box<dyn Source + 'a>, StepError> {
        let settings = self;
        let window = opening.document.rate_window;
        let shards = &opening.document.shards;
        let queries = opening.settings.queries.iter().map(|query| RangeQuery {
            name: query.name.clone(),
            promql: shards.select(&query.with_rate_window(window), opening.shard),
        });
        let patience = Patience {
            give_up_until: opening.give_up_until,
            takes_partial: opening.document.collect.partial_answers == PartialAnswers::Score,
        };
        let requester = Requester {
            limits: Limits::new(&settings.own, opening.document.step),
            patience,
            has_answered: AtomicBool::new(false),
            is_down: AtomicBool::new(false),
            endpoint: Endpoint::new(
                &opening.field("prometheus"),
                &settings.server,
                opening.folder,
            )?,
            retries: settings.server.retries,
            requests: AtomicUsize::new(0),
            retried: AtomicUsize::new(0),
        };
        let prometheus = Prometheus {
            requester: Arc::new(requester),
            queries: queries.collect(),
            max_samples: settings.own.max_samples,
        };
        Ok(Box::new(Queries::new(prometheus, opening)))
    }
}

impl Answers for Prometheus {
    /// Fetches all chunks in order and passes each to `write`, while the next ones are fetched.
    fn for_each_chunk(
        &self,
        plan: ChunkPlan,
        write: &mut dyn FnMut(Chunk) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(
            |error| {
                StepError::unavailable(format!("cannot start to fetch: {error}")).hint(SYSTEM_HINT)
            },
        )?;
        waits_for(&format!("the source `{}`", self.requester.endpoint.shown));
        let (sender, mut receiver) = mpsc::channel(1);
        std::thread::scope(|scope| {
            let plan = plan.with_samples(self.max_samples);
            let fetching = scope.spawn(move || runtime.block_on(self.fetch(plan, sender)));
            let mut written = Ok(());
            while let Some(chunk) = receiver.blocking_recv() {
                written = chunk.and_then(&mut *write);
                if written.is_err() {
                    break;
                }
            }
            // Closing the channel ends the fetching immediately.
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

    fn notes(&self) -> Vec<String> {
        let Requester { endpoint, limits, .. } = &*self.requester;
        [endpoint.report(), limits.report(endpoint.field())].into_iter().flatten().collect()
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
            // No running task is left and there is nothing more to start.
            let Some(replied) = replied else { return };
            let replied =
                replied.map_err(|error| StepError::bug(format!("a request broke: {error}")));
            let error = match replied {
                Ok(((number, query), Ok(answer))) => {
                    fetch.store(number, query, answer);
                    None
                }
                Ok((_, Err(error))) | Err(error) => Some(error),
            };
            if let Some(error) = error {
                // The receiver is closed if writing has failed; that error is reported instead.
                drop(sender.send(Err(error)).await);
                return;
            }
            while let Some(chunk) = fetch.complete() {
                let is_last = chunk.stop.is_some();
                if sender.send(Ok(chunk)).await.is_err() || is_last {
                    return;
                }
            }
        }
    }
}

/// A chunk that is still waiting for replies.
struct OpenChunk {
    number: usize,
    grid: Grid,
    answers: Vec<Option<Answer>>,
    asked: usize,
}

/// Number of the chunk and of the query, with the answer.
type Replied = ((usize, usize), Result<Answer, StepError>);

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
        while self.tasks.len() < self.source.requester.limits.parallel() {
            let unfinished = self.open.iter_mut().find(|chunk| chunk.asked < queries);
            let Some(chunk) = unfinished else {
                if self.open.len() >= OPEN_CHUNKS {
                    return;
                }
                let Some(grid) = self.plan.next() else { return };
                let answers = (0..queries).map(|_| None).collect();
                self.open.push_back(OpenChunk { number: self.opened, grid, answers, asked: 0 });
                self.opened += 1;
                continue;
            };
            let (id, grid) = ((chunk.number, chunk.asked), chunk.grid);
            chunk.asked += 1;
            let requester = Arc::clone(&self.source.requester);
            let queries = Arc::clone(&self.source.queries);
            self.tasks.spawn(async move { (id, requester.answer(&queries[id.1], grid).await) });
        }
    }

    fn store(&mut self, number: usize, query: usize, answer: Answer) {
        if let Some(chunk) = self.open.iter_mut().find(|chunk| chunk.number == number) {
            chunk.answers[query] = Some(answer);
        }
    }

    /// Takes the oldest chunk, if it has all its answers.
    fn complete(&mut self) -> Option<Chunk> {
        let chunk = self.open.pop_front_if(|chunk| chunk.answers.iter().all(Option::is_some))?;
        let chunk = Chunk::new(chunk.grid, chunk.answers.into_iter().flatten());
        self.plan.learn(chunk.replies.iter().map(|reply| reply.series.len()).max().unwrap_or(0));
        Some(chunk)
    }
}
