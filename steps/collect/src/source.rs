//! What a source of samples is, and the kinds there are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::catalog::Pins;
use contract::coverage::Gap;
use contract::{Outcome, Shard, Span, StepError, Timestamp};
use document::sections::Collect as Sections;
use document::sources::{Kind, Source as Settings};
use frames::samples::SampleRows;

use crate::range::Due;
use crate::recorded;
use crate::sources::prometheus::chunk::Chunk;
use crate::sources::{
    exporter, features, influxdb, kubernetes, postgres, prometheus, recording, table, tetragon,
};

/// Takes rows, some at a time.
pub(crate) type Each<'a> = dyn FnMut(SampleRows) -> Result<(), StepError> + 'a;

/// Where samples come from: yields the rows of a time range, in order of time.
///
/// Within a time, rows are in the source's order; memory does not grow with their number.
pub(crate) trait Source: Send {
    /// Returns the names of the columns, in the order of the rows' columns.
    fn columns(&self) -> Vec<String>;

    /// Returns whether the rows have labels.
    fn is_labelled(&self) -> bool {
        false
    }

    /// Hands all rows to `each`; called again, it begins from the start.
    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop>;

    /// Writes what was seen besides the rows, after they were read: warnings, a recording. Refuses
    /// a training to which the source has nothing to say.
    fn finish(&mut self, outcome: &mut Outcome) -> Result<(), StepError>;

    /// Returns where the rows end, if that is before the end of the range: what follows waits for a
    /// later tick. A training is never cut.
    fn end(&self) -> Option<&End> {
        None
    }

    /// Takes the values that could not be had.
    fn take_gaps(&mut self) -> Vec<Gap> {
        Vec::new()
    }

    /// Whether a row applies from its time until the next one of its entity: it describes the
    /// entities of other sources, and makes no windows.
    fn describes(&self) -> bool {
        false
    }

    /// Says, after the rows were read, why there are none.
    fn diagnosis(&self) -> Option<String> {
        None
    }

    /// Returns what is counted, also of a reading that failed.
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::new()
    }
}

/// Where the rows of a tick end before its range does.
#[derive(Debug)]
pub(crate) struct End {
    /// End of the last existing window.
    pub(crate) at: Timestamp,
    /// What failed after it; nothing where the rest is merely too much for one tick.
    pub(crate) error: Option<StepError>,
    /// Whether the server answers, though not completely.
    pub(crate) is_partial: bool,
}

impl End {
    /// Returns the end of a chunk.
    pub(crate) fn of(chunk: &Chunk, step: Span) -> Self {
        let before_first = chunk.grid.first - step;
        Self {
            at: if chunk.grid.points == 0 { before_first } else { chunk.grid.last() },
            error: chunk.stop.as_ref().map(|stop| stop.error.clone()),
            is_partial: chunk.stop.as_ref().is_some_and(|stop| stop.is_partial),
        }
    }
}

/// Why the reading of a source stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A row is earlier than the one before it. The rows are then read again, sorted.
    OutOfOrder,
    /// For good.
    Error(StepError),
}

impl From<StepError> for Stop {
    fn from(error: StepError) -> Self {
        Self::Error(error)
    }
}

/// A source without a past: what it says now is recorded.
pub(crate) trait Live {
    /// Returns the names of the columns.
    fn columns(&self) -> Vec<String>;

    /// Takes the rows that are complete at `time`, the end of a step, in order of time and entity;
    /// their times are ends of steps, `time` or earlier ones that were not taken yet.
    fn take(&mut self, time: Timestamp) -> Result<Taken, StepError>;
}

/// What a source says now.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) rows: SampleRows,
    /// What failed of it, in sentences.
    pub(crate) failures: Vec<String>,
}

/// Opens a source to record it, by its name in the document, with the document's folder and step;
/// `None` for a kind with history.
pub(crate) fn live<'a>(
    name: &str,
    settings: &'a Settings,
    (folder, step): (&Path, Span),
) -> Result<Option<Box<dyn Live + 'a>>, StepError> {
    Ok(match settings.kind() {
        Some(Kind::Exporter(exporter)) => {
            let field = format!("sources.{name}.exporter");
            let place = (field.as_str(), folder);
            Some(Box::new(exporter::Exporter::new(exporter, &settings.entity, place)?))
        }
        Some(Kind::Tetragon(events)) if events.follow => {
            Some(Box::new(tetragon::Follower::new(events, &settings.entity, (folder, step))))
        }
        Some(
            Kind::Prometheus(_)
            | Kind::Recording(_)
            | Kind::Table(_)
            | Kind::Influxdb(_)
            | Kind::Kubernetes(_)
            | Kind::Recorded(_)
            | Kind::Postgres(_)
            | Kind::Tetragon(_)
            | Kind::Features(_),
        )
        | None => None,
    })
}

/// What a kind needs to make a source.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) document: &'a Sections,
    /// Its name in the document.
    pub(crate) name: &'a str,
    pub(crate) settings: &'a Settings,
    /// The document's folder, to which the document's paths are relative.
    pub(crate) folder: &'a Path,
    /// The file or folder with its samples, where the kind reads one.
    pub(crate) data: Option<PathBuf>,
    /// The range that is asked for.
    pub(crate) due: Due,
    /// Windows after this time wait where they cannot be had; nothing in a training.
    pub(crate) give_up_until: Option<Timestamp>,
    /// Rows without times are all included.
    pub(crate) takes_all: bool,
    /// A tick may find no new row; a training may not.
    pub(crate) is_scoring: bool,
    /// The shard whose rows alone are wanted; nothing for those of all entities.
    pub(crate) shard: Option<Shard>,
    /// URL of the store with recorded samples.
    pub(crate) recorded: Option<&'a str>,
    /// The parts of feature groups to read; `None` for all existing parts.
    pub(crate) pins: Option<Pins>,
    /// Folder for files that are thrown away.
    pub(crate) work: &'a Path,
    /// Where replies are kept.
    pub(crate) record: Option<PathBuf>,
}

impl<'a> Opening<'a> {
    /// Opens the source.
    pub(crate) fn open(self) -> Result<Box<dyn Source + 'a>, StepError> {
        match self.settings.kind() {
            Some(Kind::Prometheus(settings)) => prometheus::open(settings, self),
            Some(Kind::Recording(_)) => recording::open(self),
            Some(Kind::Table(settings)) => table::open(settings, self),
            Some(Kind::Exporter(settings)) => exporter::open(settings, &self),
            Some(Kind::Influxdb(settings)) => influxdb::open(settings, self),
            Some(Kind::Kubernetes(settings)) => Ok(kubernetes::open(settings, &self)),
            Some(Kind::Postgres(settings)) => postgres::open(settings, &self),
            Some(Kind::Recorded(settings)) => {
                let columns = settings.columns.iter().map(|column| column.name.clone()).collect();
                recorded::open(&settings.pipeline, &settings.source, columns, &self)
            }
            Some(Kind::Tetragon(settings)) => tetragon::open(settings, self),
            Some(Kind::Features(settings)) => features::open(settings, &self),
            None => Err(StepError::usage(format!("`{}` sets no kind", self.field("")))
                .hint("set one kind of source, such as `prometheus`")),
        }
    }

    /// Returns the name of a setting of the source, for messages; `""` means all of it.
    pub(crate) fn field(&self, inner: &str) -> String {
        let dot = if inner.is_empty() { "" } else { "." };
        format!("sources.{}{dot}{inner}", self.name)
    }

    /// Returns the file or folder with the samples.
    pub(crate) fn take_data(&mut self) -> Result<PathBuf, StepError> {
        let data = self.data.take();
        data.ok_or_else(|| StepError::bug(format!("`{}` has no path", self.field(""))))
    }
}
