//! The scores of a whole pipeline: if it has shards, their scores of each window are merged.

use std::collections::HashMap;
use std::iter::Peekable;

use contract::score::{EntityScore, ShadowScore, WindowScore};
use contract::{Shard, StepError, Timestamp};

use crate::object::ObjectStore;
use crate::scores::{self, ScoreReader};
use crate::{shard, watermark};

/// The scores of a pipeline and of all its shards.
#[derive(Debug, Clone)]
pub struct Whole<'a> {
    store: &'a dyn ObjectStore,
    paths: Vec<String>,
}

impl<'a> Whole<'a> {
    /// Finds the shards of a pipeline.
    ///
    /// Errors: those of the store.
    pub fn open(store: &'a dyn ObjectStore, pipeline: &str) -> Result<Self, StepError> {
        Ok(Self { store, paths: shard::paths(store, pipeline)? })
    }

    /// Returns the pipeline and its shards, in the form used in keys in place of the pipeline's
    /// name.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Returns the end of the last window that any shard has scored; `None` before the first.
    ///
    /// Errors: those of the store, and refused for a watermark that cannot be parsed.
    pub fn scored_to(&self) -> Result<Option<Timestamp>, StepError> {
        let ends = self.paths.iter().map(|path| watermark::scored_to(self.store, path));
        Ok(ends.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().max())
    }

    /// Reads one window; `None` if no shard has scored it.
    ///
    /// Errors: those of the store, and refused for an object that is not a window.
    pub fn read(&self, time: Timestamp) -> Result<Option<WindowScore>, StepError> {
        let windows = self.paths.iter().map(|path| scores::read(self.store, path, time));
        let windows = windows.collect::<Result<Vec<_>, _>>()?;
        Ok(windows.into_iter().flatten().reduce(joined))
    }

    /// Returns the windows of a range, as [`scores::read_after`] does; a window has the entities of all
    /// shards that have scored it.
    pub fn read_after(&self, after: Option<Timestamp>, until: Timestamp) -> WholeReader<'a> {
        let reader = |path: &String| {
            let shard = path.rsplit_once('/').and_then(|(_, folder)| Shard::of_folder(folder));
            (shard, scores::read_after(self.store, path, after, until).peekable())
        };
        WholeReader { readers: self.paths.iter().map(reader).collect(), shards: Shards::new() }
    }
}

/// Shards by entity; an entity of a pipeline without shards is not among them.
pub type Shards = HashMap<String, Shard>;

/// The windows of a range; see [`Whole::read_after`].
#[derive(Debug)]
pub struct WholeReader<'a> {
    readers: Vec<(Option<Shard>, Peekable<ScoreReader<'a>>)>,
    shards: Shards,
}

impl WholeReader<'_> {
    /// Returns the shard that has last scored each entity, of the windows that were read.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }
}

/// Notes which shard has scored the entities of a window.
fn note(shards: &mut Shards, shard: Option<Shard>, window: &WindowScore) {
    let Some(shard) = shard else { return };
    for EntityScore { entity, .. } in &window.entities {
        match shards.get_mut(entity) {
            Some(known) => *known = shard,
            None => drop(shards.insert(entity.clone(), shard)),
        }
    }
}

impl Iterator for WholeReader<'_> {
    type Item = Result<WindowScore, StepError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut first: Option<Timestamp> = None;
        for (_, reader) in &mut self.readers {
            match reader.peek() {
                None => {}
                // An error ends the range, as it does in one reader.
                Some(Err(_)) => {
                    let error = reader.next();
                    self.readers.clear();
                    return error;
                }
                Some(Ok(window)) => {
                    first = Some(first.map_or(window.time, |first| first.min(window.time)));
                }
            }
        }
        let first = first?;
        let mut whole: Option<WindowScore> = None;
        for (shard, reader) in &mut self.readers {
            let is_first = |next: &Result<WindowScore, StepError>| {
                next.as_ref().is_ok_and(|window| window.time == first)
            };
            if let Some(Ok(window)) = reader.next_if(is_first) {
                note(&mut self.shards, *shard, &window);
                whole = Some(match whole {
                    Some(before) => joined(before, window),
                    None => window,
                });
            }
        }
        whole.map(Ok)
    }
}

/// Merges the windows of two shards. The version is that of the first, and so is the drift report,
/// unless only the second has one.
pub fn joined(mut one: WindowScore, other: WindowScore) -> WindowScore {
    one.entities = both(one.entities, other.entities);
    one.shadow = match (one.shadow, other.shadow) {
        (Some(ShadowScore { version, entities }), Some(other)) => {
            Some(ShadowScore { version, entities: both(entities, other.entities) })
        }
        (one, other) => one.or(other),
    };
    one.switched_from = one.switched_from.or(other.switched_from);
    one.drift = one.drift.or(other.drift);
    one
}

/// Returns the entities of both, in the order of their names. An entity that moved to another shard
/// in this window appears once.
fn both(mut entities: Vec<EntityScore>, others: Vec<EntityScore>) -> Vec<EntityScore> {
    entities.extend(others);
    entities.sort_by(|a, b| a.entity.cmp(&b.entity));
    entities.dedup_by(|a, b| a.entity == b.entity);
    entities
}
