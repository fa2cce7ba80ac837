//! Joins the rows of several sources on time and entity.
//!
//! Each source is read by its own thread, and passes its rows on in order of time. A window takes
//! from each source the entity's last row in `(end - tolerance, end]`: never a later one, so that a
//! training reads the same values as scoring. A window has a row for each entity that some source
//! has a sample of within the window; an earlier sample that is carried over does not create a row.

use std::collections::{BTreeSet, HashMap};
use std::sync::mpsc::{Receiver, sync_channel};

use contract::{Span, StepError, Timestamp};
use frames::samples::SampleRows;

use crate::range::Due;
use crate::source::{Each, Source, Stop};

/// Maximum number of blocks of each source that wait for the join.
const OPEN_BLOCKS: usize = 2;
/// Rows that are passed on at a time.
const BLOCK_ROWS: usize = 16 * 1024;

/// One of the sources that are joined.
pub(crate) struct Joined<'a> {
    pub(crate) source: Box<dyn Source + 'a>,
    /// Its name, for messages.
    pub(crate) name: String,
    pub(crate) tolerance: Span,
    pub(crate) is_broadcast: bool,
    /// Whether its rows create no windows, but are joined to those of other sources.
    pub(crate) describes: bool,
}

/// Statistics of the join.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Number of rows of each source that are in no window, because they are too old at the next
    /// window's end.
    pub(crate) between_windows: Vec<usize>,
}

/// Windows for which rows are created.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    pub(crate) step: Span,
    /// Windows outside get no row; `None` means that all windows have rows.
    pub(crate) due: Option<Due>,
}

/// Reads all sources and passes the joined rows to `each`, in order of time and then of entity.
pub(crate) fn join(
    sources: &mut [Joined<'_>],
    windows: Windows,
    each: &mut Each<'_>,
) -> Result<Seen, Stop> {
    let widths: Vec<usize> = sources.iter().map(|it| it.source.columns().len()).collect();
    let rules: Vec<Rule> = sources.iter().map(Rule::of).collect();
    std::thread::scope(|scope| {
        let mut streams = Vec::new();
        let mut threads = Vec::new();
        for ((source, width), rule) in sources.iter_mut().zip(widths).zip(rules) {
            let (sender, receiver) = sync_channel::<SampleRows>(OPEN_BLOCKS);
            let source = &mut source.source;
            threads.push(scope.spawn(move || {
                let gone = |_| StepError::bug("the join has ended before its sources");
                source.rows(&mut |rows| sender.send(rows).map_err(gone))
            }));
            streams.push(Stream::new(receiver, width, rule));
        }
        let mut joiner = Joiner { streams, windows, out: SampleRows::default() };
        let joined = joiner.run(each);
        let seen = joiner.streams.iter().map(|stream| stream.between_windows).collect();
        // If the join has failed, this ends the sources that still have rows.
        drop(joiner);
        let mut failed = joined.map_err(Stop::Error).err();
        let mut read = Ok(());
        for thread in threads {
            let one = thread.join().unwrap_or_else(|_| {
                Err(Stop::Error(StepError::bug("reading a source ended in a panic")))
            });
            read = read.and(one);
        }
        // A source that was stopped by the failing join has no separate error.
        match failed.take() {
            Some(stop) => Err(stop),
            None => read.map(|()| Seen { between_windows: seen }),
        }
    })
}

/// How the rows of a source are joined.
#[derive(Debug, Clone, Copy)]
struct Rule {
    tolerance: Span,
    is_broadcast: bool,
    /// Whether an entity that only this source has gets no row.
    describes: bool,
}

impl Rule {
    fn of(joined: &Joined<'_>) -> Self {
        let Joined { tolerance, is_broadcast, describes, .. } = *joined;
        Self { tolerance, is_broadcast, describes }
    }
}

/// The last row of an entity.
#[derive(Debug, Clone)]
struct Last {
    time: Timestamp,
    values: Vec<Option<f64>>,
    label: String,
}

/// The rows of one source so far.
struct Stream {
    receiver: Receiver<SampleRows>,
    block: SampleRows,
    next: usize,
    width: usize,
    rule: Rule,
    last: HashMap<String, Last>,
    between_windows: usize,
}

impl Stream {
    fn new(receiver: Receiver<SampleRows>, width: usize, rule: Rule) -> Self {
        let (block, last) = (SampleRows::default(), HashMap::new());
        Self { receiver, block, next: 0, width, rule, last, between_windows: 0 }
    }

    /// Returns the time of the next row; `None` after the last one.
    fn head(&mut self) -> Option<Timestamp> {
        while self.next >= self.block.times.len() {
            self.block = self.receiver.recv().ok()?;
            self.next = 0;
        }
        self.block.times.get(self.next).copied()
    }

    /// Takes the rows up to the end of a window, and adds the entities for which the window must
    /// have rows.
    fn take(&mut self, end: Timestamp, entities: &mut BTreeSet<String>) {
        while let Some(time) = self.head().filter(|time| *time <= end) {
            let row = self.next;
            self.next += 1;
            let entity = &self.block.entities[row];
            let last = Last {
                time,
                values: self.block.columns.iter().map(|column| column[row]).collect(),
                label: self.block.labels.get(row).cloned().unwrap_or_default(),
            };
            if !self.holds(time, end) {
                self.between_windows += 1;
            } else if !self.rule.is_broadcast && !self.rule.describes && !entities.contains(entity)
            {
                entities.insert(entity.clone());
            }
            match self.last.get_mut(entity) {
                Some(known) => *known = last,
                None => drop(self.last.insert(entity.clone(), last)),
            }
        }
    }

    /// Returns the source's last sample of an entity, if it is recent enough.
    fn value(&self, entity: &str, end: Timestamp) -> Option<&Last> {
        let entity = if self.rule.is_broadcast { "" } else { entity };
        self.last.get(entity).filter(|last| self.holds(last.time, end))
    }

    /// Returns whether a row of this time may be taken for a window.
    fn holds(&self, time: Timestamp, end: Timestamp) -> bool {
        time == end || end - time < self.rule.tolerance
    }

    /// Removes expired entries, so that deleted entities take no memory.
    fn forget(&mut self, end: Timestamp) {
        let tolerance = self.rule.tolerance;
        self.last.retain(|_, last| end - last.time < tolerance);
    }
}

struct Joiner {
    streams: Vec<Stream>,
    windows: Windows,
    out: SampleRows,
}

impl Joiner {
    fn run(&mut self, each: &mut Each<'_>) -> Result<(), StepError> {
        let step = self.windows.step;
        let mut windows = 0_usize;
        self.out = self.empty();
        while let Some(head) = self.streams.iter_mut().filter_map(Stream::head).min() {
            let floor = head.floor(step);
            let end = if floor == head { head } else { floor + step };
            let mut entities = BTreeSet::new();
            self.streams.iter_mut().for_each(|stream| stream.take(end, &mut entities));
            if self.windows.due.is_none_or(|due| due.contains(end)) {
                self.add(end, &entities);
            }
            windows += 1;
            if windows.is_multiple_of(256) {
                self.streams.iter_mut().for_each(|stream| stream.forget(end));
            }
            if self.out.times.len() >= BLOCK_ROWS {
                let empty = self.empty();
                let rows = std::mem::replace(&mut self.out, empty);
                each(rows)?;
            }
        }
        let rows = std::mem::take(&mut self.out);
        if rows.times.is_empty() { Ok(()) } else { each(rows) }
    }

    fn empty(&self) -> SampleRows {
        let width = self.streams.iter().map(|stream| stream.width).sum();
        SampleRows { columns: vec![Vec::new(); width], ..SampleRows::default() }
    }

    fn add(&mut self, end: Timestamp, entities: &BTreeSet<String>) {
        let rows = &mut self.out;
        for entity in entities {
            rows.times.push(end);
            rows.entities.push(entity.clone());
            let mut label = "";
            let mut columns = rows.columns.iter_mut();
            for stream in &self.streams {
                let last = stream.value(entity, end);
                for (index, column) in columns.by_ref().take(stream.width).enumerate() {
                    column.push(last.and_then(|last| last.values[index]));
                }
                if let Some(last) = last.filter(|last| label.is_empty() && !last.label.is_empty()) {
                    label = &last.label;
                }
            }
            rows.labels.push(label.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
