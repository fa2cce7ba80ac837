//! Recorded samples in a table of a database, in addition to the segments in the store.

use std::path::{Path, PathBuf};

use contract::{ErrorKind, StepError};
use document::postgres::PostgresServer;
use document::sinks::Sink;
use frames::Samples;
use postgres::{Column, Loader, Rows, Target, Values, value_column};

use super::carrier::Carried;
use super::send::Outbox;

/// A database that gets the samples of all recorded sources of a pipeline.
#[derive(Debug)]
pub(crate) struct Database {
    /// Field of the settings in the document.
    field: String,
    server: PostgresServer,
    /// The document's folder.
    folder: PathBuf,
    target: Target,
    sources: Vec<Recorded>,
}

/// A recorded source, and the names of its columns in the table.
#[derive(Debug)]
struct Recorded {
    outbox: Outbox,
    columns: Vec<String>,
}

impl Database {
    /// Makes the destination for a sink of a document, if the sink is a database that gets samples.
    pub(crate) fn of(name: &str, sink: &Sink, pipeline: &str, folder: &Path) -> Option<Self> {
        let extension = sink.extension();
        let table = extension.samples()?;
        Some(Self {
            field: format!("exports.{name}.{}", extension.name()),
            server: table.server.clone(),
            folder: folder.to_owned(),
            target: Target::of_table(&table, pipeline),
            sources: Vec::new(),
        })
    }

    /// Adds a source: its outbox, and the names of its columns in the samples.
    pub(crate) fn add(&mut self, outbox: Outbox, columns: &[String]) {
        let columns = columns.iter().map(|name| value_column(name)).collect();
        self.sources.push(Recorded { outbox, columns });
    }

    /// Returns the field of the settings in the document.
    pub(crate) fn field(&self) -> &str {
        &self.field
    }

    /// Loads waiting rows, oldest first. Rows that are already in the database change nothing.
    pub(crate) fn round(&self) -> Carried {
        let mut carried = Carried::default();
        // A connection is opened once per minute, because agents of a thousand nodes must not hold
        // a thousand open connections.
        let mut loader = None;
        for source in &self.sources {
            let sent = source.outbox.each(|waiting| {
                let rows = rows(waiting.path, &source.columns)?;
                let loader = match &mut loader {
                    Some(loader) => loader,
                    None => loader.insert(self.connect()?),
                };
                match loader.load(&rows) {
                    Err(error) if error.kind == ErrorKind::Refused => {
                        // Rows that violate a constraint would be rejected again.
                        let message = format!("`{}`: rows are left out: {error}", self.field);
                        carried.failures.push(message);
                        Ok(())
                    }
                    loaded => loaded.map(drop),
                }
            });
            let failure = match sent {
                Ok(sent) if sent.dropped == 0 => continue,
                Ok(sent) => format!("{} segments were dropped: the spool is full", sent.dropped),
                Err(error) => format!("samples wait on the spool: {error}"),
            };
            carried.failures.push(format!("`{}`: {failure}", self.field));
        }
        carried
    }

    fn connect(&self) -> Result<Loader, StepError> {
        Loader::connect(&self.field, &self.server, &self.folder, self.target.clone())
    }
}

/// Reads a segment as rows of the table.
fn rows(path: &Path, columns: &[String]) -> Result<Rows, StepError> {
    let table = Samples::read(path)?.table;
    let values = table.columns.iter().map(|column| {
        let values = column.values.iter().copied();
        Values::Numbers(values.map(|value| Some(value).filter(|it| !it.is_nan())).collect())
    });
    Ok(Rows {
        entities: (0..table.rows()).map(|row| table.entity_of(row).to_owned()).collect(),
        columns: columns
            .iter()
            .zip(values)
            .map(|(name, values)| Column { name: name.clone(), values })
            .collect(),
        times: table.times,
    })
}
