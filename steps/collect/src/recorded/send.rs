//! Segments in a folder that wait to be sent, oldest first. They are removed after they were sent.

use std::path::{Path, PathBuf};

use contract::{StepError, Timestamp};
use fs_err as fs;
use store::{Condition, ObjectStore};

use super::{Place, times};

/// Maximum number of waiting segments: a week of minutes. Older ones are dropped.
const MOST_SEGMENTS: usize = 7 * 24 * 60;

/// A folder of segments that wait for one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    folder: PathBuf,
}

/// Result for the waiting segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Number of segments that were sent.
    pub segments: usize,
    /// Number of segments that were dropped because too many were waiting.
    pub dropped: usize,
}

/// A waiting segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting<'a> {
    pub(super) path: &'a Path,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Outbox {
    /// Names the folder, which is created with the first segment.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Sends the waiting segments to the store, oldest first.
    ///
    /// Errors: those of the store; segments that were not sent keep waiting.
    pub fn send(&self, store: &dyn ObjectStore, place: &Place) -> Result<Sent, StepError> {
        self.each(|waiting| {
            let Waiting { path, first, last } = waiting;
            let bytes = fs::read(path).map_err(|error| StepError::reading(path, &error))?;
            // A conflict means that the segment was sent before, and not removed here.
            store.put(&place.key(first, last), &bytes, Condition::IfAbsent).map(drop)
        })
    }

    /// Passes on the waiting segments, oldest first, and removes those that were accepted.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(Waiting<'_>) -> Result<(), StepError>,
    ) -> Result<Sent, StepError> {
        let names = self.names()?;
        let dropped = names.len().saturating_sub(MOST_SEGMENTS);
        let mut sent = Sent { segments: 0, dropped };
        for (index, name) in names.iter().enumerate() {
            let path = self.path(name);
            if let Some((first, last)) = times(name).filter(|_| index >= dropped) {
                take(Waiting { path: &path, first, last })?;
                sent.segments += 1;
            }
            fs::remove_file(&path).map_err(|error| StepError::writing(&path, &error))?;
        }
        Ok(sent)
    }

    /// Returns the time of the last waiting row.
    pub(super) fn newest(&self) -> Result<Option<Timestamp>, StepError> {
        Ok(self.names()?.last().and_then(|name| times(name)).map(|(_, last)| last))
    }

    /// Returns the segments, oldest first. Folders below it are outboxes of other destinations.
    fn names(&self) -> Result<Vec<String>, StepError> {
        let failed = |error: std::io::Error| StepError::reading(&self.folder, &error);
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            names.extend(times(&name).map(|_| name));
        }
        names.sort();
        Ok(names)
    }
}
