//! Score objects of a range, read and parsed on several threads and passed on in order of time.

use std::sync::mpsc::sync_channel;

use contract::score::WindowScore;
use contract::{Span, StepError, Timestamp};
use store::whole::Shards;
use store::{ObjectStore, Whole};

/// Number of windows that a thread reads at a time: memory depends on this number, not on the
/// range. Each chunk requests one page of keys, which has 500.
const CHUNK: i64 = 480;

/// Which windows.
#[derive(Debug, Clone, Copy)]
pub struct Range<'a> {
    /// The pipeline.
    pub pipeline: &'a str,
    /// Windows that end after this time,
    pub after: Timestamp,
    /// and not after this one.
    pub until: Timestamp,
    /// Distance between windows.
    pub step: Span,
}

/// Calls `each` with the windows of a range, in order of time, and the shards that have scored their
/// entities; the first error ends it.
pub fn for_each(
    store: &dyn ObjectStore,
    range: Range<'_>,
    threads: usize,
    mut each: impl FnMut(WindowScore, &Shards) -> Result<(), StepError>,
) -> Result<(), StepError> {
    let Range { pipeline, after, until, step } = range;
    let scores = Whole::open(store, pipeline)?;
    if threads <= 1 {
        let mut windows = scores.read_after(Some(after), until);
        while let Some(window) = windows.next() {
            each(window?, windows.shards())?;
        }
        return Ok(());
    }
    let chunk = Span::from_ms(step.ms().max(1).saturating_mul(CHUNK));
    let chunks = ((until - after).ms() - 1) / chunk.ms() + 1;
    let read = |number: i64| -> Result<(Vec<WindowScore>, Shards), StepError> {
        let from = after + Span::from_ms(chunk.ms() * number);
        let mut windows = scores.read_after(Some(from), until.min(from + chunk));
        let read = windows.by_ref().collect::<Result<_, _>>()?;
        Ok((read, windows.shards().clone()))
    };
    let workers = i64::try_from(threads).unwrap_or(1).min(chunks.max(1));
    std::thread::scope(|scope| {
        let mut parts = Vec::new();
        for worker in 0..workers {
            let (sender, receiver) = sync_channel(1);
            parts.push(receiver);
            let numbers = (worker..chunks).step_by(usize::try_from(workers).unwrap_or(1));
            scope.spawn(move || {
                for number in numbers {
                    // The receiver is closed if an earlier part ended in an error.
                    if sender.send(read(number)).is_err() {
                        return;
                    }
                }
            });
        }
        for number in 0..chunks {
            let part = &parts[usize::try_from(number % workers).unwrap_or(0)];
            let windows = part
                .recv()
                .map_err(|_| StepError::bug("a thread that reads scores ended early"))?;
            let (windows, shards) = windows?;
            windows.into_iter().try_for_each(|window| each(window, &shards))?;
        }
        drop(parts);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use store::{FolderStore, scores};

    use super::*;

    fn filled(windows: i64) -> (tempfile::TempDir, FolderStore) {
        let temp = tempfile::tempdir().unwrap();
        let store = FolderStore::open(temp.path()).unwrap();
        for number in (1..=windows).filter(|number| number % 7 != 0) {
            let time = Timestamp::from_ms(number * 60_000);
            let score = WindowScore::new("p", time, "v", Vec::new());
            assert!(scores::write_once(&store, &score).unwrap());
        }
        (temp, store)
    }

    fn range(windows: i64) -> Range<'static> {
        let (after, until) = (Timestamp::from_ms(60_000), Timestamp::from_ms(windows * 60_000));
        Range { pipeline: "p", after, until, step: Span::from_seconds(60) }
    }

    #[test]
    fn windows_come_in_order_at_any_number_of_threads() {
        for windows in [2, 480, 481, 482, 1200] {
            let (_temp, store) = filled(windows);
            let expected: Vec<i64> =
                (2..=windows).filter(|number| number % 7 != 0).map(|n| n * 60_000).collect();
            for threads in [1, 2, 5] {
                let mut found = Vec::new();
                let each = |window: WindowScore, _: &Shards| {
                    found.push(window.time.ms());
                    Ok(())
                };
                for_each(&store, range(windows), threads, each).unwrap();
                assert_eq!(found, expected, "{windows} {threads}");
            }
        }
    }

    #[test]
    fn the_first_error_in_order_ends_it() {
        let (temp, store) = filled(1200);
        for number in [700, 900] {
            let key = scores::key("p", Timestamp::from_ms(number * 60_000));
            contract::artifact::write_file(&temp.path().join(key), b"{").unwrap();
        }
        for threads in [1, 2, 5] {
            let error = for_each(&store, range(1200), threads, |_, _| Ok(())).unwrap_err();
            assert!(error.message.contains("T114000Z"), "{error}");
            let stop = for_each(&store, range(1200), threads, |_, _| Err(StepError::usage("stop")));
            assert_eq!(stop.unwrap_err().message, "stop");
        }
    }
}
