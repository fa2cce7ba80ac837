//! Reads a range of recorded samples, day by day.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use contract::{Outcome, StepError, Timestamp};
use document::sources::Entity;
use frames::Samples;
use frames::samples::SampleRows;
use fs_err as fs;
use store::ObjectStore;

use super::{DAY, Segment, segments, source_folder};
use crate::range::Due;
use crate::source::{Each, Opening, Source, Stop};

/// Rows that are passed on at a time.
const BLOCK_ROWS: usize = 16 * 1024;
/// Maximum number of listings of a day whose segments keep changing.
const LISTINGS: usize = 3;

/// A source whose rows were recorded in the store.
struct Recorded<'a> {
    store: Box<dyn ObjectStore>,
    /// `samples/<pipeline>/<source>/`.
    folder: String,
    columns: Vec<String>,
    entity: &'a Entity,
    due: Due,
    is_scoring: bool,
    /// Folder for temporary files.
    work: PathBuf,
    segments: usize,
    has_rows: bool,
}

/// Opens the recorded samples of a source of a pipeline, with these columns.
pub(crate) fn open<'a>(
    pipeline: &str,
    source: &str,
    columns: Vec<String>,
    opening: &Opening<'a>,
) -> Result<Box<dyn Source + 'a>, StepError> {
    let url = opening.recorded.ok_or_else(|| {
        StepError::usage(format!(
            "`{}` keeps no history, and no store with a recording was given",
            opening.field("")
        ))
        .hint("record it with `lynceus record PIPELINE`, and give the store with --recorded URL")
    })?;
    Ok(Box::new(Recorded {
        store: store::open(url)?,
        folder: source_folder(pipeline, source),
        columns,
        entity: &opening.settings.entity,
        due: opening.due,
        is_scoring: opening.is_scoring,
        work: opening.work.join(format!(".{}.segments", opening.name)),
        segments: 0,
        has_rows: false,
    }))
}

impl Source for Recorded<'_> {
    fn columns(&self) -> Vec<String> {
        self.columns.clone()
    }

    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop> {
        (self.segments, self.has_rows) = (0, false);
        fs::create_dir_all(&self.work).map_err(|error| StepError::writing(&self.work, &error))?;
        let read = self.read(each);
        // The remaining temporary files are not needed.
        drop(fs::remove_dir_all(&self.work));
        Ok(read?)
    }

    fn finish(&mut self, _: &mut Outcome) -> Result<(), StepError> {
        if self.has_rows || self.is_scoring {
            return Ok(());
        }
        let (after, end) = (self.due.after, self.due.end);
        Err(StepError::refused(format!(
            "`{}` of {} has no sample from `{after}` to `{end}`",
            self.folder,
            self.store.describe()
        ))
        .hint("check that `lynceus record PIPELINE` was running in this time range"))
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        [("segments", self.segments)].into()
    }
}

impl Recorded<'_> {
    fn read(&mut self, each: &mut Each<'_>) -> Result<(), StepError> {
        let store = self.store.as_ref();
        let recorders = store.folders(&self.folder)?;
        let mut day = self.due.after.floor(DAY);
        while day <= self.due.end {
            let mut rows = Rows::new(&self.columns);
            for recorder in &recorders {
                let folder = format!("{}{recorder}/", self.folder);
                self.segments += each_segment(store, &folder, day, self.due, |segment| {
                    read_segment(store, segment, &self.work, &mut rows)
                })?;
            }
            rows.retain(self.due);
            for mut block in rows.sorted().blocks() {
                self.has_rows = true;
                for name in &mut block.entities {
                    *name = self.entity.rename(name).to_owned();
                }
                each(block)?;
            }
            day = day + DAY;
        }
        Ok(())
    }
}

/// Takes each segment of a recorder's day with due rows; returns their number. `take` returns
/// whether the segment still exists.
///
/// Errors: those of `take` and of the store; unavailable if segments keep changing.
fn each_segment(
    store: &dyn ObjectStore,
    folder: &str,
    day: Timestamp,
    due: Due,
    mut take: impl FnMut(&Segment) -> Result<bool, StepError>,
) -> Result<usize, StepError> {
    let is_due = |segment: &Segment| segment.last > due.after && segment.first <= due.end;
    let mut taken: BTreeSet<String> = BTreeSet::new();
    // A segment that was removed between listing and reading is now in a compacted one.
    for _ in 0..LISTINGS {
        let mut is_complete = true;
        for segment in segments(store, folder, day)?.into_iter().filter(is_due) {
            if taken.contains(&segment.key) {
                continue;
            }
            if take(&segment)? {
                taken.insert(segment.key);
            } else {
                is_complete = false;
            }
        }
        if is_complete {
            return Ok(taken.len());
        }
    }
    Err(StepError::unavailable(format!("the segments below `{folder}` change while they are read"))
        .hint("run again; a longer `scoring.every` or fewer agents write less often"))
}

/// Copies the segments of a source that hold rows of a range into `<folder>/<recorder>/`; returns how
/// many.
pub(crate) fn copy_segments(
    store: &dyn ObjectStore,
    pipeline: &str,
    source: &str,
    due: Due,
    into: &Path,
) -> Result<usize, StepError> {
    let below = source_folder(pipeline, source);
    let mut count = 0;
    for recorder in store.folders(&below)? {
        let into = into.join(&recorder);
        fs::create_dir_all(&into).map_err(|error| StepError::writing(&into, &error))?;
        let folder = format!("{below}{recorder}/");
        let copy = |segment: &Segment| {
            let name = segment.key.rsplit('/').next().unwrap_or_default();
            store.get_file(&segment.key, &into.join(name))
        };
        let mut day = due.after.floor(DAY);
        while day <= due.end {
            count += each_segment(store, &folder, day, due, copy)?;
            day = day + DAY;
        }
    }
    Ok(count)
}

/// Rows of several segments, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) names: Vec<String>,
    /// Whether other columns are left out.
    fixed: bool,
    all: SampleRows,
}

impl Rows {
    fn new(names: &[String]) -> Self {
        let columns = vec![Vec::new(); names.len()];
        let rows = SampleRows { columns, ..SampleRows::default() };
        Self { names: names.to_vec(), fixed: true, all: rows }
    }

    /// Adds the rows of a segment; a column that it lacks is a gap.
    fn add(&mut self, samples: &Samples) {
        let before = self.all.times.len();
        let table = &samples.table;
        if !self.fixed {
            for column in &table.columns {
                if !self.names.contains(&column.name) {
                    self.names.push(column.name.clone());
                    self.all.columns.push(vec![None; before]);
                }
            }
        }
        self.all.times.extend(&table.times);
        self.all.entities.extend((0..table.rows()).map(|row| table.entity_of(row).to_owned()));
        for (name, values) in self.names.iter().zip(&mut self.all.columns) {
            match table.column(name) {
                Some(column) => {
                    let some = |value: &f64| Some(*value).filter(|value| !value.is_nan());
                    values.extend(column.values.iter().map(some));
                }
                None => values.resize(before + table.rows(), None),
            }
        }
    }

    fn retain(&mut self, due: Due) {
        let kept: Vec<usize> =
            (0..self.all.times.len()).filter(|row| due.contains(self.all.times[*row])).collect();
        if kept.len() < self.all.times.len() {
            self.all = pick(&self.all, &kept);
        }
    }

    /// Sorts by time and then by entity; of rows with the same time and entity, the one that was
    /// read last is kept.
    pub(super) fn sorted(self) -> Self {
        let rows = &self.all;
        let mut order: Vec<usize> = (0..rows.times.len()).collect();
        let key = |row: &usize| (rows.times[*row], rows.entities[*row].as_str());
        order.sort_by_key(key);
        let last: Vec<usize> = (0..order.len())
            .filter(|index| {
                order.get(index + 1).is_none_or(|next| key(next) != key(&order[*index]))
            })
            .map(|index| order[index])
            .collect();
        let rows = pick(rows, &last);
        Self { all: rows, ..self }
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = SampleRows> {
        let all: Vec<usize> = (0..self.all.times.len()).collect();
        let blocks: Vec<Vec<usize>> = all.chunks(BLOCK_ROWS).map(<[usize]>::to_vec).collect();
        blocks.into_iter().map(|block| pick(&self.all, &block))
    }
}

fn pick(rows: &SampleRows, chosen: &[usize]) -> SampleRows {
    let column = |column: &Vec<Option<f64>>| chosen.iter().map(|row| column[*row]).collect();
    SampleRows {
        times: chosen.iter().map(|row| rows.times[*row]).collect(),
        entities: chosen.iter().map(|row| rows.entities[*row].clone()).collect(),
        labels: Vec::new(),
        columns: rows.columns.iter().map(column).collect(),
    }
}

/// Adds the rows of a segment; returns whether it still existed.
pub(super) fn read_segment(
    store: &dyn ObjectStore,
    segment: &Segment,
    work: &Path,
    rows: &mut Rows,
) -> Result<bool, StepError> {
    let path = work.join("segment.parquet");
    if !store.get_file(&segment.key, &path)? {
        return Ok(false);
    }
    let samples = Samples::read(&path).map_err(|error| in_store(&error, store, &segment.key))?;
    rows.add(&samples);
    Ok(true)
}

fn in_store(error: &StepError, store: &dyn ObjectStore, key: &str) -> StepError {
    StepError::refused(format!("`{key}` of {}: {}", store.describe(), error.message))
        .hint("the segment is damaged: remove it to continue without this minute")
}
