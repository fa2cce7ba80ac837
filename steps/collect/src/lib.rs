//! `collect`: fetches raw samples for a time range; never invents one.
//!
//! `range` says which points in time are due and cuts them into chunks. A query source
//! (`prometheus`, `recording`) answers every query for a chunk, `assemble` makes rows of the
//! answers, and each chunk becomes a row group of `samples.parquet`: memory depends on the size of
//! a chunk, not on their number. A `table` has its rows already.

mod assemble;
mod client;
mod prometheus;
mod range;
mod recording;
mod reply;
mod request;
mod table;
mod tally;

use std::path::{Path, PathBuf};

use contract::steps::CollectArgs;
use contract::{Outcome, StepError};
use document::Document;
use frames::SamplesWriter;

use assemble::{Assembler, Chunk};
use prometheus::Prometheus;
use range::{ChunkPlan, Due};
use recording::{Recorder, Recording};
use table::Table;

/// Collects the samples of the document's source for the range that is due.
///
/// The rows are those of the step grid in `(start, end]`. For a training, end is the last whole
/// step at `--now`, and start is `--start` or the document's `range` before the end. With
/// `--store` the windows since the watermark are due, plus what their features look back on.
///
/// Errors: usage (2) for a document, a query or an address that cannot work; refused (3) for data
/// that is not what the document says; unavailable (4) when the source failed to the last retry.
pub fn run(args: &CollectArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = document::read(&args.document)?;
    let due = due(&document, args)?;
    outcome.detail("after", &due.after)?;
    outcome.detail("end", &due.end)?;
    let folder = args.document.parent().unwrap_or(Path::new("")).to_owned();
    let source = source_path(&document, args, &folder);
    match (&document.source.table, source) {
        (Some(table), Some(path)) => {
            if args.record.is_some() {
                return Err(StepError::usage("`--record` keeps replies, and a table gives none"));
            }
            // Rows without times are a range of their own, unless a part of it is asked for.
            let all = table.time.is_none() && args.start.is_none() && args.store.is_none();
            let due = (!all).then_some(due);
            let scoring = args.store.is_some();
            Table { path: &path, source: table, document: &document, due, scoring }
                .collect(&args.samples, outcome)
        }
        (_, source) => Collection { args, document: &document, folder, source }.run(due, outcome),
    }
}

fn due(document: &Document, args: &CollectArgs) -> Result<Due, StepError> {
    let Some(url) = &args.store else { return Due::for_training(document, args) };
    let store = store::open(url)?;
    let watermark = store::watermark::read(store.as_ref(), &document.name)?;
    let scored_to = watermark.map(|watermark| watermark.value.scored_to);
    Ok(Due::for_scoring(document, args.now, scored_to))
}

/// Returns the file or folder the source reads: the flag's, or the document's beside the document.
fn source_path(document: &Document, args: &CollectArgs, folder: &Path) -> Option<PathBuf> {
    let named = document.source.path()?;
    Some(args.source.clone().unwrap_or_else(|| folder.join(named)))
}

/// A source that answers queries.
enum QuerySource {
    Prometheus(Prometheus),
    Recording(Recording),
}

/// Samples that are asked for by queries.
struct Collection<'a> {
    args: &'a CollectArgs,
    document: &'a Document,
    folder: PathBuf,
    source: Option<PathBuf>,
}

impl Collection<'_> {
    fn run(&self, due: Due, outcome: &mut Outcome) -> Result<(), StepError> {
        let queries = &self.document.queries;
        let by_entity = queries.iter().any(|query| query.entity.is_some());
        let plan = ChunkPlan::new(due.grid(self.document.step), queries.len(), by_entity);
        let nothing_due = due.after >= due.end;
        let scoring = self.args.store.is_some();
        let source = self.open()?;
        let mut recorder = match &self.args.record {
            Some(folder) => Some(Recorder::new(folder, queries)?),
            None => None,
        };
        let names: Vec<&str> = queries.iter().map(|query| query.name.as_str()).collect();
        let mut writer = SamplesWriter::create(&self.args.samples, &names, false)?;
        let mut assembler = Assembler::new(queries, scoring);
        let mut chunks = 0;
        let fetched = source.for_each_chunk(plan, |chunk| {
            if let Some(recorder) = &mut recorder {
                recorder.keep(&chunk);
            }
            chunks += 1;
            writer.write(&assembler.rows(chunk)?)
        });
        if let QuerySource::Prometheus(prometheus) = &source {
            prometheus.report(outcome);
        }
        outcome.count("chunks", chunks);
        fetched?;
        assembler.finish(scoring, nothing_due, outcome)?;
        if let (Some(recorder), Some(folder)) = (recorder, &self.args.record) {
            recorder.write(folder)?;
        }
        writer.publish()
    }

    fn open(&self) -> Result<QuerySource, StepError> {
        let source = &self.document.source;
        match (&source.prometheus, &self.source) {
            (Some(prometheus), _) => Prometheus::new(self.document, prometheus, &self.folder)
                .map(QuerySource::Prometheus),
            (None, Some(path)) => {
                Recording::open(path, &self.document.queries).map(QuerySource::Recording)
            }
            (None, None) => Err(StepError::usage("the document names no source")),
        }
    }
}

impl QuerySource {
    fn for_each_chunk(
        &self,
        plan: ChunkPlan,
        write: impl FnMut(Chunk) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        match self {
            Self::Prometheus(source) => source.for_each_chunk(plan, write),
            Self::Recording(source) => source.for_each_chunk(plan, write),
        }
    }
}
