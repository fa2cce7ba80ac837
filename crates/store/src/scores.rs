//! Score objects: `scores/<pipeline>/date=YYYY-MM-DD/<time>.json`, one for each window, written
//! once and read in the order of time.

use std::collections::VecDeque;

use contract::artifact::{compact_json_bytes, parse_json};
use contract::score::WindowScore;
use contract::{OTHER_VERSION_HINT, StepError, Timestamp};

use crate::object::{Condition, Listed, ObjectStore, Put};
use crate::watermark;

/// Objects that are in memory at a time.
const AT_ONCE: usize = 256;

/// Keys per listing request.
const PAGE: usize = 500;

/// Returns the key of a window's object. Keys sort as the windows' times do.
pub fn key(pipeline: &str, time: Timestamp) -> String {
    format!("scores/{pipeline}/date={}/{}.json", time.date(), time.compact())
}

/// Writes a window's object unless it exists; returns whether it was written. An object is never
/// replaced: the first score of a window stays.
pub fn write_once(store: &dyn ObjectStore, score: &WindowScore) -> Result<bool, StepError> {
    let key = key(&score.pipeline, score.time);
    match store.put(&key, &compact_json_bytes(score)?, Condition::IfAbsent)? {
        Put::Written(_) => Ok(true),
        Put::Conflict => Ok(false),
    }
}

/// Writes the objects of windows like [`write_once`], several at once, in no particular order;
/// returns which were written.
pub fn write_all(store: &dyn ObjectStore, scores: &[&WindowScore]) -> Result<Vec<bool>, StepError> {
    let mut written = Vec::with_capacity(scores.len());
    for scores in scores.chunks(AT_ONCE) {
        let object = |score: &&WindowScore| {
            Ok((key(&score.pipeline, score.time), compact_json_bytes(score)?))
        };
        let objects = scores.iter().map(object).collect::<Result<Vec<_>, StepError>>()?;
        written.extend(store.put_new(&objects)?);
    }
    Ok(written)
}

/// Reads one window's object; `None` if it was not scored.
pub fn read(
    store: &dyn ObjectStore,
    pipeline: &str,
    time: Timestamp,
) -> Result<Option<WindowScore>, StepError> {
    let key = key(pipeline, time);
    store.get(&key)?.map(|object| parse(&store.shown(&key), &object.bytes)).transpose()
}

/// Returns the windows that end after `after` (`None`: from the first) and not after `until`, in
/// the order of time. Objects are read some at a time, so memory does not grow with the range; an
/// object that cannot be read or parsed is an error and ends the range.
pub fn read_after<'a>(
    store: &'a dyn ObjectStore,
    pipeline: &str,
    after: Option<Timestamp>,
    until: Timestamp,
) -> ScoreReader<'a> {
    ScoreReader {
        store,
        prefix: format!("scores/{pipeline}/"),
        cursor: after.map(|time| key(pipeline, time)),
        last: key(pipeline, until),
        listed: VecDeque::new(),
        objects: VecDeque::new(),
        done: after.is_some_and(|after| after >= until),
    }
}

/// The score objects for a step that has its own cursor: those up to the watermark.
///
/// Every window up to the watermark has its object, so no new window can appear before a cursor.
#[derive(Debug)]
pub struct Follower<'a> {
    store: &'a dyn ObjectStore,
    pipeline: &'a str,
    now: Timestamp,
    scored_to: Option<Timestamp>,
}

impl<'a> Follower<'a> {
    /// Follows the windows of a pipeline that end at or before `now`.
    pub fn open(
        store: &'a dyn ObjectStore,
        pipeline: &'a str,
        now: Timestamp,
    ) -> Result<Self, StepError> {
        let scored_to = watermark::scored_to(store, pipeline)?.map(|scored_to| scored_to.min(now));
        Ok(Self { store, pipeline, now, scored_to })
    }

    /// Returns the end of the last readable window; `None` before the first was scored.
    pub fn scored_to(&self) -> Option<Timestamp> {
        self.scored_to
    }

    /// Returns the windows that end after a cursor (`None`: from the first), in the order of time.
    pub fn after(&self, cursor: Option<Timestamp>) -> ScoreReader<'a> {
        read_after(self.store, self.pipeline, cursor, self.scored_to.unwrap_or(self.now))
    }
}

/// The windows of a range; see [`read_after`].
#[derive(Debug)]
pub struct ScoreReader<'a> {
    store: &'a dyn ObjectStore,
    prefix: String,
    cursor: Option<String>,
    last: String,
    listed: VecDeque<Listed>,
    objects: VecDeque<(String, Vec<u8>)>,
    done: bool,
}

impl ScoreReader<'_> {
    /// Lists keys until some are due or the range ends.
    fn list(&mut self) -> Result<(), StepError> {
        while self.listed.is_empty() && !self.done {
            let page = self.store.list_tagged(&self.prefix, self.cursor.as_deref(), PAGE)?;
            let last = page.last().map(|listed| listed.key.clone());
            self.done = page.len() < PAGE || last.as_ref().is_some_and(|key| *key > self.last);
            self.cursor = last;
            let due = |key: &String| *key <= self.last && key.strip_suffix(".json").is_some();
            self.listed.extend(page.into_iter().filter(|listed| due(&listed.key)));
        }
        Ok(())
    }

    fn next_score(&mut self) -> Result<Option<WindowScore>, StepError> {
        while self.objects.is_empty() {
            self.list()?;
            if self.listed.is_empty() {
                return Ok(None);
            }
            let listed: Vec<_> = self.listed.drain(..self.listed.len().min(AT_ONCE)).collect();
            let objects = self.store.read_listed(&listed)?;
            // An object that was removed since it was listed is skipped.
            let present = listed.into_iter().map(|listed| listed.key).zip(objects);
            self.objects.extend(present.filter_map(|(key, object)| Some((key, object?))));
        }
        let Some((key, bytes)) = self.objects.pop_front() else { return Ok(None) };
        parse(&self.store.shown(&key), &bytes).map(Some)
    }
}

impl Iterator for ScoreReader<'_> {
    type Item = Result<WindowScore, StepError>;

    fn next(&mut self) -> Option<Self::Item> {
        let score = self.next_score();
        if score.is_err() {
            self.done = true;
            self.listed.clear();
            self.objects.clear();
        }
        score.transpose()
    }
}

fn parse(key: &str, bytes: &[u8]) -> Result<WindowScore, StepError> {
    let score: WindowScore = parse_json(key, bytes)
        .map_err(|error| error.hint("remove it: its window then counts as one without a score"))?;
    if score.format == WindowScore::FORMAT {
        return Ok(score);
    }
    Err(StepError::refused(format!(
        "`{key}` has format {}, this version reads format {}",
        score.format,
        WindowScore::FORMAT
    ))
    .hint(OTHER_VERSION_HINT))
}
