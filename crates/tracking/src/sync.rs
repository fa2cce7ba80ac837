//! Finds the runs that are not mirrored yet, and mirrors them.

use std::path::{Path, PathBuf};
use std::time::Instant;

use contract::{ErrorKind, StepError, read_json, write_json};
use document::Document;
use document::tracking::{OpenLineageFile, Tracking};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::content::Content;
use crate::mlflow::Server;
use crate::openlineage;
use crate::rest::Rest;

/// Settings of the mirroring.
#[derive(Debug, Clone, Copy)]
pub struct Sync<'a> {
    /// The document, whose settings apply to all runs.
    pub document: &'a Document,
    /// Its folder, to which relative paths refer.
    pub folder: &'a Path,
    /// Folder with the records of mirrored runs.
    pub notes: &'a Path,
    /// Also mirrors runs that are mirrored already.
    pub again: bool,
    /// No request starts after this time; `None` for no deadline.
    pub until: Option<Instant>,
    /// The version at which the document's alias points in our registry, if it is set.
    pub live: Option<&'a str>,
}

/// Result of the mirroring.
#[derive(Debug, Default)]
pub struct Done {
    /// The runs, by name.
    pub runs: Vec<String>,
    /// The first error, if there was one.
    pub error: Option<StepError>,
}

/// A record that a run is mirrored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Note {
    /// The destinations that have the run.
    to: Vec<String>,
}

/// Mirrors those of the runs, in folders, that are not mirrored yet, in their order. If one is
/// refused, the others are still mirrored; if a server is unreachable, the remaining runs are
/// mirrored later.
pub fn sync(sync: &Sync<'_>, runs: &[PathBuf]) -> Done {
    let mut done = Done::default();
    for folder in runs {
        match sync.run(folder) {
            Ok(Some(name)) => done.runs.push(name),
            Ok(None) => {}
            Err(error) => {
                let is_away = error.kind == ErrorKind::Unavailable;
                done.error = done.error.or(Some(error));
                if is_away {
                    return done;
                }
            }
        }
    }
    if let Err(error) = sync.alias() {
        done.error = done.error.or(Some(error));
    }
    done
}

impl Sync<'_> {
    fn tracking(&self) -> &Tracking {
        &self.document.tracking
    }

    /// Mirrors a run; returns its name if anything was mirrored.
    fn run(&self, folder: &Path) -> Result<Option<String>, StepError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let path = self.notes.join(format!("{name}.json"));
        let mut note: Note =
            if self.again { Note::default() } else { read_json(&path).unwrap_or_default() };
        let missing = |place: &String| !note.to.contains(place);
        let places: Vec<String> = self.places().into_iter().filter(missing).collect();
        if places.is_empty() {
            return Ok(None);
        }
        let Some(content) = Content::read(folder)? else { return Ok(None) };
        // An unreachable server does not block other destinations.
        let mut failed = None;
        for place in places {
            if let Err(error) = self.send(&place, &content) {
                failed = failed.or(Some(error));
                continue;
            }
            note.to.push(place);
            fs::create_dir_all(self.notes)
                .map_err(|error| StepError::writing(self.notes, &error))?;
            write_json(&path, &note)?;
        }
        failed.map_or(Ok(Some(content.run)), Err)
    }

    /// Returns the destinations of the mirroring.
    fn places(&self) -> Vec<String> {
        let tracking = self.tracking();
        let mlflow = tracking.mlflow.iter().map(|it| {
            let experiment = it.own.experiment.as_ref().unwrap_or(&self.document.name);
            format!("mlflow {} {experiment}", it.server.url)
        });
        let server = tracking.openlineage.iter().map(|it| format!("openlineage {}", it.server.url));
        let file = tracking.openlineage_file.iter().map(|it| format!("file {}", it.path.display()));
        mlflow.chain(server).chain(file).collect()
    }

    fn send(&self, place: &str, content: &Content) -> Result<(), StepError> {
        let tracking = self.tracking();
        let kind = place.split(' ').next().unwrap_or_default();
        if let ("mlflow", Some(settings)) = (kind, &tracking.mlflow) {
            return Server::open(settings, self.folder, self.until)?.mirror(content);
        }
        if let ("openlineage", Some(settings)) = (kind, &tracking.openlineage) {
            let rest = Rest::open(&settings.server, "tracking.openlineage", self.folder)?;
            let events = openlineage::events(content, &settings.own.namespace);
            return events.iter().try_for_each(|event| rest.post_here(event));
        }
        match &tracking.openlineage_file {
            Some(settings) => self.append(settings, content),
            None => Ok(()),
        }
    }

    /// Adds the events of a run to a file, if they are not there yet.
    fn append(&self, settings: &OpenLineageFile, content: &Content) -> Result<(), StepError> {
        let path = self.folder.join(&settings.path);
        let mut text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| StepError::reading(&path, &error))?,
        };
        let id = |event: &Value| {
            Some((event.pointer("/run/runId")?.clone(), event["eventType"].clone()))
        };
        let events = openlineage::events(content, &settings.namespace);
        // Only lines with one of the run's ids are parsed, because the file contains all runs.
        let own: Vec<&str> =
            events.iter().filter_map(|it| it.pointer("/run/runId")?.as_str()).collect();
        let is_own = |line: &&str| own.iter().any(|id| line.contains(id));
        let known = text.lines().filter(is_own);
        let known = known.filter_map(|line| id(&serde_json::from_str(line).ok()?));
        let known: Vec<(Value, Value)> = known.collect();
        for event in events {
            // If files were deleted in the meantime, the event differs, but it must not be added
            // again.
            if !id(&event).is_some_and(|id| known.contains(&id)) {
                text.push_str(&format!("{event}\n"));
            }
        }
        contract::artifact::write_file(&path, text.as_bytes())
    }

    /// Mirrors the alias of the document.
    fn alias(&self) -> Result<(), StepError> {
        let (Some(settings), Some(version)) = (&self.tracking().mlflow, self.live) else {
            return Ok(());
        };
        let alias = &self.document.deployment.alias;
        Server::open(settings, self.folder, self.until)?.alias(&self.document.name, alias, version)
    }
}
