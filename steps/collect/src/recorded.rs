//! Samples of sources without history, recorded in the store and read back like any range.
//!
//! A recorder, which is a node's agent or one `lynceus record` for many endpoints, writes segments
//! `samples/<pipeline>/<source>/<recorder>/date=YYYY-MM-DD/<first>-<last>.parquet`: the rows of a
//! minute, written once when the minute is over. The segments of a past day are compacted into one.
//! A reader accepts compacted and uncompacted segments: of rows with the same time and entity only
//! one counts, so that a compaction that was killed does not duplicate rows.

mod append;
mod carrier;
mod compact;
mod database;
mod read;
mod send;

use contract::{Span, StepError, Timestamp};
use store::ObjectStore;

pub use append::Appender;
pub(crate) use carrier::{Carrier, ToStore};
pub use compact::compact;
pub(crate) use database::Database;
pub(crate) use read::{copy_segments, open};
pub use send::{Outbox, Sent};

/// Length of a segment.
const SEGMENT: Span = Span::from_seconds(60);
const DAY: Span = Span::from_seconds(86_400);

/// Source, pipeline and recorder of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The pipeline.
    pub pipeline: String,
    /// The source's name in its document.
    pub source: String,
    /// Name of the recorder: a node's name, or any name that no other recorder of the source has.
    pub recorder: String,
}

impl Place {
    fn folder(&self) -> String {
        let source = source_folder(&self.pipeline, &self.source);
        format!("{source}{}/", part(&self.recorder))
    }

    fn day(&self, day: Timestamp) -> String {
        format!("{}date={}/", self.folder(), day.date())
    }

    fn key(&self, first: Timestamp, last: Timestamp) -> String {
        format!("{}{}", self.day(first), file_name(first, last))
    }
}

fn source_folder(pipeline: &str, source: &str) -> String {
    format!("samples/{pipeline}/{source}/")
}

/// Returns a name as one part of a key: characters that are not allowed become `=` and two
/// hexadecimal digits.
fn part(name: &str) -> String {
    let mut part = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        let is_plain =
            byte.is_ascii_alphanumeric() || b"-_".contains(&byte) || (byte == b'.' && index > 0);
        if is_plain {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("={byte:02x}"));
        }
    }
    if part.is_empty() { "=".to_owned() } else { part }
}

fn file_name(first: Timestamp, last: Timestamp) -> String {
    format!("{:013}-{:013}.parquet", first.ms(), last.ms())
}

/// A segment in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    key: String,
    first: Timestamp,
    last: Timestamp,
}

impl Segment {
    /// Parses the times in a key; `None` if the key is not that of a segment.
    fn of(key: &str) -> Option<Self> {
        let (_, name) = key.rsplit_once('/')?;
        let (first, last) = times(name)?;
        Some(Self { key: key.to_owned(), first, last })
    }
}

fn times(name: &str) -> Option<(Timestamp, Timestamp)> {
    let (first, last) = name.strip_suffix(".parquet")?.split_once('-')?;
    let time = |text: &str| text.parse().ok().map(Timestamp::from_ms);
    Some((time(first)?, time(last)?))
}

/// Returns the segments of a recorder's day, in order of their first times.
fn segments(
    store: &dyn ObjectStore,
    folder: &str,
    day: Timestamp,
) -> Result<Vec<Segment>, StepError> {
    let mut segments = Vec::new();
    store::object::for_each_key(store, &format!("{folder}date={}/", day.date()), |key| {
        segments.extend(Segment::of(key));
        Ok(())
    })?;
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_a_part_of_a_key_and_no_two_are_the_same() {
        let names = ["10.1.2.3:9100", "node-1", "", ".hidden", "a/b", "=3a", "caf\u{e9}", ".."];
        let parts: Vec<String> = names.iter().map(|name| part(name)).collect();
        for part in &parts {
            store::key::check_part(part).unwrap();
        }
        let distinct: std::collections::BTreeSet<&String> = parts.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{parts:?}");
        assert_eq!(parts[0], "10.1.2.3=3a9100");
    }

    #[test]
    fn keys_sort_as_their_times_do_and_give_them_back() {
        let place =
            Place { pipeline: "node".into(), source: "metrics".into(), recorder: "a:1".into() };
        let time = Timestamp::from_ms(1_795_252_920_000);
        let key = place.key(time, time + Span::from_seconds(50));
        assert_eq!(
            key,
            "samples/node/metrics/a=3a1/date=2026-11-21/1795252920000-1795252970000.parquet"
        );
        let segment = Segment::of(&key).unwrap();
        assert_eq!((segment.first, segment.last), (time, time + Span::from_seconds(50)));
        assert_eq!(Segment::of("samples/x/notes.txt"), None);
    }
}
