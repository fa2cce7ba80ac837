//! The parts of feature groups that a run reads, pinned before its first task.

use std::path::{Path, PathBuf};

use contract::catalog::Pins;
use contract::{StepError, TimeRange, Timestamp, read_json, write_json};
use store::Catalog;

use super::super::context::Context;
use super::super::say;

/// Pins the parts that a training at `now` reads, in the run's folder, and returns the file; `None`
/// for a document without feature groups. Pins of an earlier start of the run are kept, so that it
/// reads the same rows, unless `again` is set.
pub(crate) fn of_run(
    context: &Context,
    folder: &Path,
    now: Timestamp,
    again: bool,
) -> Result<Option<PathBuf>, StepError> {
    let document = &context.document;
    if document.sources.values().all(|source| source.features.is_none()) {
        return Ok(None);
    }
    let path = folder.join(Pins::FILE);
    let end = now.floor(document.step);
    let store = context.store.open()?;
    let catalog = Catalog::new(store.as_ref());
    let mut pins = Pins { format: Pins::FORMAT, sources: std::collections::BTreeMap::new() };
    for (name, source) in &document.sources {
        let Some(features) = &source.features else { continue };
        let after = end - document.range - source.max_age();
        let range = TimeRange { after, until: end };
        let parts = catalog.pins(&features.group, features.version, range)?;
        pins.sources.insert(name.clone(), parts);
    }
    if path.exists() && !again {
        let earlier: Pins = read_json(&path)?;
        if earlier != pins {
            say(
                "reading the parts that this run pinned when it was first started; --repin takes those published since",
            );
        }
        return Ok(Some(path));
    }
    write_json(&path, &pins)?;
    Ok(Some(path))
}
