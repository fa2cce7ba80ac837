//! Sinks that scores are published to: one trait, and one file for each kind of sink.

mod kubernetes;
mod postgres;
mod remote_write;
mod textfile;

use std::path::Path;

use client::Server;
use contract::score::{Drift, WindowScore};
use contract::{SYSTEM_HINT, Span, StepError, Timestamp};
use document::http::HttpServer;
use document::sinks::Sink as Settings;
use frames::FeatureTable;
use store::ObjectStore;
use tokio::runtime::{Builder, Runtime};

/// Why windows could not be published.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The sink works, but permanently rejects these windows.
    pub(crate) is_final: bool,
    /// Kind of the failure, to distinguish it from others.
    pub(crate) kind: String,
    /// What failed; without secrets.
    pub(crate) error: StepError,
}

/// Windows that are published together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'a> {
    /// The pipeline.
    pub(crate) pipeline: &'a str,
    /// The store that has the windows.
    pub(crate) store: &'a dyn ObjectStore,
    /// The windows, in the order of time, with the score of each entity.
    pub(crate) windows: &'a [WindowScore],
    /// The feature rows of the run, for a sink that wants them. It may have rows before the
    /// windows. It has no rows for windows of earlier runs that the sink did not accept then.
    pub(crate) features: Option<&'a FeatureTable>,
    /// Set in the batch with the last scored window.
    pub(crate) end: Option<RunEnd<'a>>,
}

/// State at the end of a run, besides its windows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunEnd<'a> {
    /// The current time.
    pub(crate) now: Timestamp,
    /// End of the last scored window.
    pub(crate) scored_to: Timestamp,
    /// Windows since the first run with this sink.
    pub(crate) windows_total: u64,
    /// The last drift report, for a sink that shows only the last window.
    pub(crate) drift: Option<&'a Drift>,
}

/// A system that scores are published to.
///
/// Windows are passed in order of time, and again after a failure or a kill, so publishing must be
/// idempotent.
pub(crate) trait Sink {
    /// Publishes windows. Returns the number of samples or rows that the sink accepted.
    ///
    /// Errors carry no secrets. After a final error these windows are skipped; after any other
    /// error they are passed again in the next run.
    fn publish(&mut self, batch: &Batch<'_>) -> Result<usize, Failure>;

    /// Returns whether it shows only the last window, which it then gets in each run.
    fn is_snapshot(&self) -> bool {
        false
    }

    /// Returns whether it publishes feature rows beside the scores.
    fn wants_features(&self) -> bool {
        false
    }
}

/// If a server asks for a longer delay, the rest is sent in a later run.
const LONGEST_DELAY_IN_RUN: Span = Span::from_seconds(5);

/// Makes the client of a sink, and its queue; `field` is the field of its settings, and files are
/// relative to `folder`.
fn connect(
    server: &HttpServer,
    field: &str,
    folder: &Path,
) -> Result<(Server, Runtime), StepError> {
    let server = Server::open(server, field, folder)?.with_longest_delay(LONGEST_DELAY_IN_RUN);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| {
        StepError::unavailable(format!("cannot start to send: {error}")).hint(SYSTEM_HINT)
    })?;
    Ok((server, runtime))
}

/// The settings of a sink, which make it.
trait Opener {
    /// Makes the sink; `name` is its name in the document, and files are relative to `folder`.
    fn open(&self, name: &str, folder: &Path) -> Result<Box<dyn Sink>, StepError>;
}

/// Declares `opener`.
macro_rules! openers {
    ($($(#[$doc:meta])* $module:ident: $name:ident($settings:ty),)*) => {
        /// Returns the opener of a sink.
        fn opener(settings: &Settings) -> &dyn Opener {
            match settings {
                $(Settings::$name(settings) => settings,)*
            }
        }
    };
}

document::sinks!(openers);

/// Makes a sink of a document in the folder `folder`; `name` is its name in the document.
pub(crate) fn open(
    settings: &Settings,
    name: &str,
    folder: &Path,
) -> Result<Box<dyn Sink>, StepError> {
    opener(settings).open(name, folder)
}
