//! Common code of commands: the document with its changes, and the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use contract::{Shard, ShardCount, StepError, Timestamp};
use document::document::Present;
use document::{Changes, Document};

use super::{Global, say};
use crate::find;
use crate::run::{RunRecord, mirror, read_runs};

/// Flags that select a document and change it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DocumentArgs {
    /// Pipeline: the name or the path of a document
    #[arg(value_name = "PIPELINE")]
    pub(crate) pipeline: String,
    /// Apply this partial document over the document; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) overlay: Vec<PathBuf>,
    /// Set a field of the document, as in `vote.alarm_at=0.6`; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// Use the bundled recorded sample instead of the sources
    #[arg(long)]
    pub(crate) sample: bool,
}

/// A document as a command uses it.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) document: Document,
    /// Absolute path of the folder to which the document's paths are relative.
    pub(crate) base: PathBuf,
    pub(crate) store: StorePlace,
    /// Whether the number of shards comes from the live version, because the document does not set
    /// it.
    pub(crate) has_open_shards: bool,
}

impl Context {
    pub(crate) fn new(global: &Global, args: &DocumentArgs) -> Result<Self, StepError> {
        let found = find::document(&args.pipeline, &global.pipelines)?;
        let sample = args.sample.then(|| find::sample(&found)).transpose()?;
        let overlays = sample.iter().chain(&args.overlay).map(PathBuf::as_path).collect();
        let sets = args.set.iter().map(String::as_str).collect();
        let base = absolute(&found.base)?;
        // Each run has a copy of the document in its own folder.
        let mut document =
            document::read_with(&found.path, &Changes { overlays, sets })?.with_base(&base);
        let store = StorePlace::new(&global.store)?;
        let has_open_shards = document.shards.count == ShardCount::Auto;
        if has_open_shards {
            let live = live_shards(&store, &document)?;
            document.shards.count = ShardCount::Number(live.unwrap_or(1));
        }
        Ok(Self { document, base, store, has_open_shards })
    }

    /// Returns the current number of entities of the sources, and the number of shards that they
    /// need.
    ///
    /// Errors: those of the sources and of the store.
    pub(crate) fn fitting_shards(&self, now: Timestamp) -> Result<(usize, u32), StepError> {
        let entities = collect::check::entities(collect::check::Checked {
            document: &document::sections::Collect::from(self.document.clone()),
            folder: &self.base,
            data: &BTreeMap::new(),
            store: &self.store.url,
            work: &self.store.root.join("work"),
            now,
        })?;
        let live = live_shards(&self.store, &self.document)?;
        Ok((entities, self.document.shards.fitting(entities, live)))
    }

    /// Sets the number of shards by the number of entities, if the document does not set it.
    ///
    /// Errors: those of the sources and of the store.
    pub(crate) fn settle_shards(&mut self, now: Timestamp) -> Result<(), StepError> {
        if self.has_open_shards {
            let (entities, shards) = self.fitting_shards(now)?;
            say(&format!("shards: {shards}, for {entities} entities"));
            self.document.shards.count = ShardCount::Number(shards);
        }
        Ok(())
    }

    /// Returns the time of the last row of the document's tables, rounded up to a whole step, if
    /// the document has `now: last_row`.
    pub(crate) fn last_row(&self) -> Result<Option<Timestamp>, StepError> {
        if self.document.now != Present::LastRow {
            return Ok(None);
        }
        let last = collect::tables::last_time(&self.document, &self.base)?;
        let last = last.ok_or_else(|| {
            StepError::refused("`now: last_row`: the tables have no rows")
                .hint("check the tables, or set another evaluation time with --now")
        })?;
        let floor = last.floor(self.document.step);
        Ok(Some(if floor == last { last } else { floor + self.document.step }))
    }

    /// Returns the texts that replace the pipeline's name in the keys of its shards, or its name if
    /// it has no shards.
    pub(crate) fn paths(&self) -> Vec<String> {
        let shards = self.document.shards.all();
        shards.into_iter().map(|shard| pipeline_path(&self.document, shard)).collect()
    }

    /// Returns the times of the bundled sample.
    pub(crate) fn sample(&self) -> Result<&document::document::Sample, StepError> {
        self.document.sample.as_ref().ok_or_else(|| {
            StepError::usage("the times of the sample are unknown: field `sample` is missing").hint("add `sample: {train_until: TIME, score_until: TIME}` to the document, or run without --sample")
        })
    }
}

/// Returns how many shards the live version has; `None` if there is no live version.
fn live_shards(store: &StorePlace, document: &Document) -> Result<Option<u32>, StepError> {
    collect::shards::live(store.open()?.as_ref(), &document.name, &document.deployment.alias)
}

/// Folder of runs and the cache if the store itself is not a local folder.
const LOCAL_RUNS: &str = ".lynceus";

/// The store, and the folder of runs and the cache: the store itself if it is a local folder.
#[derive(Debug, Clone)]
pub(crate) struct StorePlace {
    pub(crate) root: PathBuf,
    pub(crate) url: String,
}

impl StorePlace {
    pub(crate) fn new(url: &str) -> Result<Self, StepError> {
        if url.contains("://") && !url.starts_with("file://") {
            let root = absolute(Path::new(LOCAL_RUNS))?;
            store::s3::cache::share(&root.join("cache/scores"));
            return Ok(Self { root, url: url.to_owned() });
        }
        // Opening validates the URL of a folder; it does not access the folder.
        drop(store::open(url)?);
        let root = absolute(Path::new(url.strip_prefix("file://").unwrap_or(url)))?;
        Ok(Self { url: format!("file://{}", root.display()), root })
    }

    pub(crate) fn open(&self) -> Result<Box<dyn store::ObjectStore>, StepError> {
        store::open(&self.url)
    }

    /// Opens the store if runs are kept in a local folder outside of it.
    fn open_apart(&self) -> Result<Option<Box<dyn store::ObjectStore>>, StepError> {
        let is_folder = self.url.starts_with("file://");
        if is_folder { Ok(None) } else { self.open().map(Some) }
    }

    /// Checks that the store is reachable before any work starts.
    pub(crate) fn reach(&self) -> Result<(), StepError> {
        let store = self.open_apart()?;
        store.map_or(Ok(()), |store| store.list("", None, 1).map(drop))
    }

    /// Uploads a run's files to the store, if they are not already in it.
    pub(crate) fn keep_run(&self, folder: &Path) -> Result<(), StepError> {
        let store = self.open_apart()?;
        store.map_or(Ok(()), |store| mirror::upload(store.as_ref(), &self.root, folder).map(drop))
    }

    /// Returns a pipeline's runs with their folders, in the order in which they were started: local
    /// runs, and runs of the store, whose local folders may not exist yet.
    pub(crate) fn runs(&self, pipeline: &str) -> Result<Vec<(PathBuf, RunRecord)>, StepError> {
        let mut runs = read_runs(&self.root, pipeline);
        if let Some(store) = self.open_apart()? {
            let folder = self.root.join("runs").join(pipeline);
            for record in mirror::records(store.as_ref(), pipeline)? {
                if !runs.iter().any(|(_, known)| known.run == record.run) {
                    runs.push((folder.join(&record.run), record));
                }
            }
            runs.sort_by(|(_, a), (_, b)| (a.started, &a.run).cmp(&(b.started, &b.run)));
        }
        Ok(runs)
    }

    /// Returns the pipelines that have objects in the store or local runs, in order.
    pub(crate) fn pipelines(&self) -> Result<Vec<String>, StepError> {
        let store = self.open()?;
        let mut names = BTreeSet::new();
        for folder in ["models/", "runs/", "scores/", "state/"] {
            names.extend(store.folders(folder)?);
        }
        let local = fs_err::read_dir(self.root.join("runs")).into_iter().flatten().flatten();
        names.extend(local.filter_map(|entry| entry.file_name().into_string().ok()));
        names.retain(|name| store::check::is_pipeline(name));
        Ok(names.into_iter().collect())
    }

    /// Downloads a run's files if they are not on this machine.
    pub(crate) fn bring_run(&self, folder: &Path) -> Result<(), StepError> {
        if RunRecord::read(folder).is_ok() {
            return Ok(());
        }
        let store = self.open_apart()?;
        store.map_or(Ok(()), |store| mirror::download(store.as_ref(), &self.root, folder))
    }
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf, StepError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    std::path::absolute(path).map_err(|e| {
        StepError::usage(format!("cannot find the absolute path of `{}`: {e}", path.display()))
            .hint("run in a folder that exists and that this user may read")
    })
}

/// Returns the text that replaces a pipeline's name in the keys of a shard, or of the whole
/// pipeline.
pub(crate) fn pipeline_path(document: &Document, shard: Option<Shard>) -> String {
    shard.map_or_else(|| document.name.clone(), |shard| store::shard::path(&document.name, shard))
}

/// Returns the current time. The clock is read only here; all other code gets the time as a flag.
pub(crate) fn clock() -> Timestamp {
    Timestamp::from_ms(jiff::Timestamp::now().as_millisecond())
}
