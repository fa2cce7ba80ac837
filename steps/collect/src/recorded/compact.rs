//! Merges the segments of a day into one.

use std::path::Path;

use contract::{StepError, Timestamp};
use frames::SamplesWriter;
use fs_err as fs;
use store::{Condition, ObjectStore};

use super::read::{Rows, read_segment};
use super::{DAY, Place, segments};

/// Merges the segments of a recorder's day into one and removes them; `work` is a folder for
/// temporary files. Returns how many there were; a day with one segment does not change. A
/// concurrent reader sees each row: the merged segment exists before the others are removed, and
/// rows of the same time and entity count once.
pub fn compact(
    store: &dyn ObjectStore,
    place: &Place,
    day: Timestamp,
    work: &Path,
) -> Result<usize, StepError> {
    let day = day.floor(DAY);
    let segments = segments(store, &place.folder(), day)?;
    let (Some(first), Some(last)) =
        (segments.iter().map(|it| it.first).min(), segments.iter().map(|it| it.last).max())
    else {
        return Ok(0);
    };
    if segments.len() == 1 {
        return Ok(1);
    }
    let mut rows = Rows::default();
    for segment in &segments {
        if !read_segment(store, segment, work, &mut rows)? {
            return Err(StepError::unavailable(format!("`{}` is gone", segment.key))
                .hint("another process compacted it. No data is lost: run the command again"));
        }
    }
    let rows = rows.sorted();
    let path = work.join("compacted.parquet");
    let names: Vec<&str> = rows.names.iter().map(String::as_str).collect();
    let mut writer = SamplesWriter::create(&path, &names, false)?;
    for block in rows.blocks() {
        writer.write(&block)?;
    }
    writer.publish()?;
    let key = place.key(first, last);
    let bytes = fs::read(&path).map_err(|error| StepError::reading(&path, &error))?;
    // A segment of that name may exist: from a compaction that was killed, or as one of the day's
    // segments.
    drop(store.put(&key, &bytes, Condition::Any)?);
    for segment in segments.iter().filter(|segment| segment.key != key) {
        store.delete(&segment.key)?;
    }
    fs::remove_file(&path).map_err(|error| StepError::writing(&path, &error))?;
    Ok(segments.len())
}
