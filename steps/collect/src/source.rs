//! The trait of sources of samples, and their kinds.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use contract::catalog::Pins;
use contract::coverage::Gap;
use contract::{Outcome, Shard, Span, StepError, Timestamp};
use document::sections::Collect as Sections;
use document::sources::{Kind, Source as Settings};
use frames::samples::SampleRows;

use crate::range::Due;

/// Callback that accepts blocks of rows.
pub(crate) type Each<'a> = dyn FnMut(SampleRows) -> Result<(), StepError> + 'a;

/// A source of samples: yields the rows of a time range, in order of time.
///
/// Within a time, rows are in the source's order; memory does not grow with their number.
pub(crate) trait Source: Send {
    /// Returns the names of the columns, in the order of the rows' columns.
    fn columns(&self) -> Vec<String>;

    /// Returns whether the rows have labels.
    fn is_labelled(&self) -> bool {
        false
    }

    /// Passes all rows to `each`; if called again, it starts from the beginning.
    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop>;

    /// Called after the rows were read: writes warnings and a recording. Refuses a training for
    /// which the source has no data.
    fn finish(&mut self, outcome: &mut Outcome) -> Result<(), StepError>;

    /// Returns where the rows end, if that is before the end of the range: the rest waits for a
    /// later tick. The range of a training is never shortened.
    fn end(&self) -> Option<&End> {
        None
    }

    /// Takes the values that could not be collected.
    fn take_gaps(&mut self) -> Vec<Gap> {
        Vec::new()
    }

    /// Whether a row applies from its time until the next one of its entity: it describes the
    /// entities of other sources, and makes no windows.
    fn describes(&self) -> bool {
        false
    }

    /// Returns, after the rows were read, the reason why there are none.
    fn diagnosis(&self) -> Option<String> {
        None
    }

    /// Returns the counts, also if reading failed.
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::new()
    }
}

/// The early end of a tick's rows, before the end of its range.
#[derive(Debug)]
pub(crate) struct End {
    /// End of the last existing window.
    pub(crate) at: Timestamp,
    /// The failure after it; `None` if the rest is only too much for one tick.
    pub(crate) error: Option<StepError>,
    /// Whether the server replies, but incompletely.
    pub(crate) is_partial: bool,
}

/// Why the reading of a source stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A row is earlier than the one before it. The rows are then read again, sorted.
    OutOfOrder,
    /// A final error.
    Error(StepError),
}

impl From<StepError> for Stop {
    fn from(error: StepError) -> Self {
        Self::Error(error)
    }
}

/// A source without history: its current values are recorded.
pub(crate) trait Live {
    /// Returns the names of the columns.
    fn columns(&self) -> Vec<String>;

    /// Takes the rows that are complete at `time`, the end of a step, in order of time and entity;
    /// their times are ends of steps, `time` or earlier ones that were not taken yet.
    fn take(&mut self, time: Timestamp) -> Result<Taken, StepError>;
}

/// Current rows of a source.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) rows: SampleRows,
    /// The failures, in sentences.
    pub(crate) failures: Vec<String>,
}

/// Operations of a kind of source, given its settings.
pub(crate) trait Opener {
    /// Opens the source to read a range.
    fn open<'a>(&'a self, opening: Opening<'a>) -> Result<Box<dyn Source + 'a>, StepError>;

    /// Opens the source to record it; `None` for a source with history.
    fn live<'a>(
        &'a self,
        _opening: LiveOpening<'a>,
    ) -> Result<Option<Box<dyn Live + 'a>>, StepError> {
        Ok(None)
    }

    /// Returns whether the source has replies that `--record` can keep.
    fn has_replies(&self) -> bool {
        false
    }

    /// Returns the raw data behind the samples; `None` if there is none. `own` is the recording of
    /// this source.
    fn raw<'a>(&'a self, _own: Recorded<'a>) -> Option<Raw<'a>> {
        None
    }
}

/// Declares `opener`.
macro_rules! openers {
    ($($(#[$doc:meta])* $module:ident: $name:ident($settings:ty),)*) => {
        /// Returns the opener of a kind.
        pub(crate) fn opener(kind: Kind<'_>) -> &dyn Opener {
            match kind {
                $(Kind::$name(settings) => settings,)*
            }
        }
    };
}

document::sources!(openers);

/// Recorded samples of a source in the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded<'a> {
    pub(crate) pipeline: &'a str,
    /// Its name in that pipeline.
    pub(crate) source: &'a str,
}

/// Writes the unchanged lines of a file that are in a range, and returns their number.
pub(crate) type CopyLines = fn(&Path, Due, &mut dyn Write) -> Result<usize, StepError>;

/// Raw data behind samples.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Raw<'a> {
    /// Lines of a file.
    Lines {
        /// The file, relative to the document's folder.
        path: &'a Path,
        copy: CopyLines,
    },
    /// Segments of recorders.
    Segments(Recorded<'a>),
}

/// Inputs for opening a source that is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LiveOpening<'a> {
    /// Its name in the document.
    pub(crate) name: &'a str,
    pub(crate) settings: &'a Settings,
    /// The document's folder.
    pub(crate) folder: &'a Path,
    /// The document's step.
    pub(crate) step: Span,
}

impl<'a> LiveOpening<'a> {
    /// Opens the source; `None` for a source with history.
    pub(crate) fn open(self) -> Result<Option<Box<dyn Live + 'a>>, StepError> {
        let live = self.settings.kind().map(|kind| opener(kind).live(self));
        Ok(live.transpose()?.flatten())
    }
}

/// Inputs for opening a source.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) document: &'a Sections,
    /// Its name in the document.
    pub(crate) name: &'a str,
    pub(crate) settings: &'a Settings,
    /// The document's folder, to which the document's paths are relative.
    pub(crate) folder: &'a Path,
    /// The file or folder with its samples, if the kind reads one.
    pub(crate) data: Option<PathBuf>,
    /// The requested range.
    pub(crate) due: Due,
    /// Windows after this time wait if they cannot be collected; `None` in a training.
    pub(crate) give_up_until: Option<Timestamp>,
    /// Whether all rows are included if they have no times.
    pub(crate) takes_all: bool,
    /// Set for a tick, which may find no new rows; a training may not.
    pub(crate) is_scoring: bool,
    /// The shard whose rows are requested; `None` for the rows of all entities.
    pub(crate) shard: Option<Shard>,
    /// URL of the store with recorded samples.
    pub(crate) recorded: Option<&'a str>,
    /// The parts of feature groups to read; `None` for all existing parts.
    pub(crate) pins: Option<Pins>,
    /// Folder for temporary files.
    pub(crate) work: &'a Path,
    /// Folder in which replies are kept.
    pub(crate) record: Option<PathBuf>,
}

impl<'a> Opening<'a> {
    /// Opens the source.
    pub(crate) fn open(self) -> Result<Box<dyn Source + 'a>, StepError> {
        match self.settings.kind() {
            Some(kind) => opener(kind).open(self),
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
