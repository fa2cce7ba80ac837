//! The source `tetragon`: counts process events from the JSON export of Tetragon.

mod event;
mod follow;
mod lines;
mod rules;
mod windows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::{Outcome, StepError};
use document::sources::tetragon::TetragonSource;
use frames::samples::SampleRows;

use crate::range::{Due, OTHER_RANGE_HINT};
use crate::recorded;
use crate::source::{Each, Live, LiveOpening, Opener, Opening, Raw, Recorded, Source, Stop};
use event::{Bad, Event, Said};
use lines::Lines;
use rules::Rules;
use windows::Windows;

pub(crate) use follow::Follower;

/// Rows that are passed on at a time.
const BLOCK_ROWS: usize = 16 * 1024;
/// Maximum percentage of lines that are not events.
const MOST_BROKEN_PERCENT: usize = 1;

impl Opener for TetragonSource {
    /// Opens the source: files, or the recorded samples of a file that is followed.
    fn open<'a>(&'a self, mut opening: Opening<'a>) -> Result<Box<dyn Source + 'a>, StepError> {
        let settings = self;
        if settings.follow {
            let columns = settings.named_columns().into_iter().map(|(name, _)| name).collect();
            let (pipeline, source) = (opening.document.name.as_str(), opening.name);
            return recorded::open(pipeline, source, columns, &opening);
        }
        let path = opening.take_data()?;
        let windows = Windows::new(settings, opening.document.step);
        Ok(Box::new(Tetragon {
            path,
            settings,
            rules: Rules::new(settings, &opening.settings.entity),
            windows,
            step: opening.document.step,
            due: opening.due,
            is_scoring: opening.is_scoring,
            is_read: false,
            tally: Tally::default(),
            has_rows: false,
        }))
    }

    fn live<'a>(
        &'a self,
        opening: LiveOpening<'a>,
    ) -> Result<Option<Box<dyn Live + 'a>>, StepError> {
        if !self.follow {
            return Ok(None);
        }
        let LiveOpening { folder, step, .. } = opening;
        Ok(Some(Box::new(Follower::new(self, &opening.settings.entity, folder, step))))
    }

    fn raw<'a>(&'a self, own: Recorded<'a>) -> Option<Raw<'a>> {
        Some(if self.follow {
            Raw::Segments(own)
        } else {
            Raw::Lines { path: &self.path, copy: copy_lines }
        })
    }
}

/// Writes the unchanged lines of events of a range, one file after the other; returns their number.
fn copy_lines(path: &Path, due: Due, into: &mut dyn std::io::Write) -> Result<usize, StepError> {
    let mut count = 0;
    for files in lines::sets(path)? {
        let mut lines = Lines::new(files);
        while let Some(line) = lines.next()? {
            if event::time(line.bytes).is_none_or(|time| !due.contains(time)) {
                continue;
            }
            let written = into.write_all(line.bytes).and_then(|()| into.write_all(b"\n"));
            written.map_err(|error| {
                StepError::unavailable(format!("cannot write a copy of events: {error}"))
                    .hint("check that the disk is not full")
            })?;
            count += 1;
        }
    }
    Ok(count)
}

/// Files with events.
#[derive(Debug)]
struct Tetragon<'a> {
    path: PathBuf,
    settings: &'a TetragonSource,
    rules: Rules<'a>,
    windows: Windows,
    step: contract::Span,
    due: Due,
    is_scoring: bool,
    is_read: bool,
    tally: Tally,
    has_rows: bool,
}

/// Result for the lines.
#[derive(Debug, Default)]
struct Tally {
    lines: usize,
    earlier: usize,
    unknown: usize,
    outside: usize,
    /// Number of incomplete last lines of files, which are not events.
    cut: usize,
    broken: usize,
    /// The first line that is not an event, with its position.
    first_broken: Option<String>,
}

impl Tally {
    /// Records the result of a line; returns its event if it is counted.
    ///
    /// Errors: refused for an event without a time.
    fn note(
        &mut self,
        parsed: Result<Said, Bad>,
        is_cut: bool,
        path: &Path,
        number: usize,
    ) -> Result<Option<Event>, StepError> {
        self.lines += 1;
        let path = path.display();
        match parsed {
            Ok(Said::Event(event)) => return Ok(Some(event)),
            Ok(Said::Earlier) => self.earlier += 1,
            Ok(Said::Unknown) => self.unknown += 1,
            Err(Bad::Broken(_)) if is_cut => self.cut += 1,
            Err(Bad::Broken(why)) => {
                self.broken += 1;
                self.first_broken
                    .get_or_insert_with(|| format!("line {number} of `{path}`: {why}"));
            }
            Err(Bad::NoTime) => {
                let message = format!("line {number} of `{path}` is an event without `time`");
                return Err(StepError::refused(message).hint(
                    "Tetragon writes a time with each event: check which program wrote the \
                           file",
                ));
            }
        }
        Ok(None)
    }

    /// Refuses files in which too many lines are not events.
    fn check(&self) -> Result<(), StepError> {
        let Some(first) = self.first_broken.as_ref().filter(|_| {
            self.broken.saturating_mul(100) > self.lines.saturating_mul(MOST_BROKEN_PERCENT)
        }) else {
            return Ok(());
        };
        Err(StepError::refused(format!(
            "{} of {} lines are not events of Tetragon; the first is {first}",
            self.broken, self.lines
        ))
        .hint("check that the file is the JSON export with one event per line"))
    }
}

/// The lines of one live file and its rotated ones, with the next event of it.
#[derive(Debug)]
struct Stream {
    lines: Lines,
    head: Option<Event>,
}

impl Stream {
    fn advance(&mut self, tally: &mut Tally, rules: &Rules<'_>) -> Result<(), StepError> {
        self.head = None;
        while self.head.is_none() {
            let Some(line) = self.lines.next()? else { return Ok(()) };
            let parsed = event::parse(line.bytes, rules);
            let is_cut = line.is_cut;
            let (path, number) = self.lines.place();
            self.head = tally.note(parsed, is_cut, path, number)?;
        }
        Ok(())
    }
}

impl Tetragon<'_> {
    /// Reads all events in order of time, as far as several files allow it.
    fn read(&mut self, each: &mut Each<'_>) -> Result<(), StepError> {
        let mut streams = Vec::new();
        for files in lines::sets(&self.path)? {
            let mut stream = Stream { lines: Lines::new(files), head: None };
            stream.advance(&mut self.tally, &self.rules)?;
            streams.push(stream);
        }
        let mut rows = self.empty();
        loop {
            let heads = streams.iter_mut().filter(|stream| stream.head.is_some());
            let first = heads.min_by_key(|stream| stream.head.as_ref().map(|event| event.time));
            let Some(stream) = first else { break };
            if let Some(event) = stream.head.take() {
                // An event that is not due yet would close the windows before it.
                if event.time <= self.due.end {
                    self.windows.add(event);
                    self.windows.close_done(&mut rows);
                } else {
                    self.tally.outside += 1;
                }
            }
            stream.advance(&mut self.tally, &self.rules)?;
            if rows.times.len() >= BLOCK_ROWS {
                self.hand_on(std::mem::replace(&mut rows, self.empty()), each)?;
            }
        }
        self.tally.check()?;
        self.windows.close_all(self.due.end, &mut rows);
        self.hand_on(rows, each)
    }

    fn empty(&self) -> SampleRows {
        SampleRows { columns: vec![Vec::new(); self.columns().len()], ..SampleRows::default() }
    }

    /// Passes on the due rows.
    fn hand_on(&mut self, mut rows: SampleRows, each: &mut Each<'_>) -> Result<(), StepError> {
        // Rows are in order of time.
        let before = rows.times.partition_point(|time| *time <= self.due.after);
        drop(rows.times.drain(..before));
        drop(rows.entities.drain(..before));
        rows.columns.iter_mut().for_each(|column| drop(column.drain(..before)));
        if rows.times.is_empty() {
            return Ok(());
        }
        self.has_rows = true;
        each(rows)
    }
}

impl Source for Tetragon<'_> {
    fn columns(&self) -> Vec<String> {
        self.settings.named_columns().into_iter().map(|(name, _)| name).collect()
    }

    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop> {
        if self.is_read && !self.path.is_file() && !self.path.is_dir() {
            return Err(StepError::usage(format!(
                "`{}` can be read only once, but another source is not in order of time",
                self.path.display()
            ))
            .hint("write the events to a file")
            .into());
        }
        (self.is_read, self.has_rows, self.tally) = (true, false, Tally::default());
        self.windows = Windows::new(self.settings, self.step);
        Ok(self.read(each)?)
    }

    fn finish(&mut self, outcome: &mut Outcome) -> Result<(), StepError> {
        let path = self.path.display();
        let (tally, seen) = (&self.tally, self.windows.seen);
        if !self.has_rows && !self.is_scoring {
            let (after, end) = (self.due.after, self.due.end);
            return Err(StepError::refused(format!(
                "`{path}` has no event from `{after}` to `{end}`; {} of its {} lines are later",
                tally.outside, tally.lines
            ))
            .hint(OTHER_RANGE_HINT));
        }
        for (count, what) in [
            (tally.unknown, "events are of a kind that this version does not know"),
            (tally.cut, "lines are cut by the end of their file, or too long"),
            (tally.broken, "lines are not events"),
            (seen.late, "events came later than `lateness` and are left out"),
            (
                seen.incomplete,
                "rows lack events that Tetragon or the beginning of the file left out",
            ),
        ] {
            if count > 0 {
                outcome.warn(format!("`{path}`: {count} {what}"));
            }
        }
        if let Some(first) = &tally.first_broken {
            outcome.warn(format!("`{path}`: {first}"));
        }
        Ok(())
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let (tally, seen) = (&self.tally, self.windows.seen);
        [
            ("event_lines", tally.lines),
            ("events", seen.events),
            ("events_duplicate", seen.duplicates),
            ("events_late", seen.late),
            ("events_unknown", tally.unknown),
            ("events_of_earlier_processes", tally.earlier),
            ("event_lines_broken", tally.broken + tally.cut),
            ("incomplete_rows", seen.incomplete),
        ]
        .into()
    }
}
