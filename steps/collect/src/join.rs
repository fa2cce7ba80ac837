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
mod tests {
    use contract::Outcome;
    use proptest::prelude::*;

    use super::*;

    /// Seconds, entity and value of each row; blocks of `size` rows.
    struct Rows {
        list: Vec<(i64, &'static str, f64)>,
        size: usize,
        fails: bool,
    }

    impl Source for Rows {
        fn columns(&self) -> Vec<String> {
            vec!["x".to_owned()]
        }

        fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop> {
            for block in self.list.chunks(self.size) {
                each(SampleRows {
                    times: block.iter().map(|row| seconds(row.0)).collect(),
                    entities: block.iter().map(|row| row.1.to_owned()).collect(),
                    columns: vec![block.iter().map(|row| Some(row.2)).collect()],
                    ..SampleRows::default()
                })?;
            }
            if self.fails { Err(StepError::unavailable("gone").into()) } else { Ok(()) }
        }

        fn finish(&mut self, _: &mut Outcome) -> Result<(), StepError> {
            Ok(())
        }
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1000 * seconds)
    }

    fn source(rows: &[(i64, &'static str, f64)], tolerance: i64) -> Joined<'static> {
        Joined {
            source: Box::new(Rows { list: rows.to_vec(), size: 2, fails: false }),
            name: "x".to_owned(),
            tolerance: Span::from_seconds(tolerance),
            is_broadcast: false,
            describes: false,
        }
    }

    type Row = (i64, String, Vec<Option<f64>>);

    fn joined(mut sources: Vec<Joined<'_>>, due: Option<Due>) -> (Vec<Row>, Vec<usize>) {
        let windows = Windows { step: Span::from_seconds(10), due };
        let mut all = Vec::new();
        let seen = join(&mut sources, windows, &mut |rows| {
            for row in 0..rows.times.len() {
                let values = rows.columns.iter().map(|column| column[row]).collect();
                all.push((rows.times[row].ms() / 1000, rows.entities[row].clone(), values));
            }
            Ok(())
        });
        (all, seen.unwrap().between_windows)
    }

    fn row(time: i64, entity: &str, values: [Option<f64>; 2]) -> Row {
        (time, entity.to_owned(), values.to_vec())
    }

    #[test]
    fn rows_of_one_time_and_entity_are_one_row_and_gaps_stay_gaps() {
        let one = source(&[(10, "a", 1.0), (10, "b", 2.0), (20, "b", 3.0)], 0);
        let two = source(&[(10, "b", 20.0), (20, "c", 30.0)], 0);
        let (rows, between) = joined(vec![one, two], None);
        let expected = [
            row(10, "a", [Some(1.0), None]),
            row(10, "b", [Some(2.0), Some(20.0)]),
            row(20, "b", [Some(3.0), None]),
            row(20, "c", [None, Some(30.0)]),
        ];
        assert_eq!((rows.as_slice(), between), (&expected[..], vec![0, 0]));
    }

    #[test]
    fn a_window_takes_the_last_row_within_the_tolerance_and_never_a_later_one() {
        let fast = source(&[(10, "a", 1.0), (20, "a", 2.0), (30, "a", 3.0), (40, "a", 4.0)], 0);
        // This source has a row every 25 s, with a tolerance of 25 s.
        let slow = source(&[(9, "a", 10.0), (34, "a", 11.0)], 25);
        let (rows, between) = joined(vec![fast, slow], None);
        let values: Vec<Option<f64>> = rows.iter().map(|(_, _, values)| values[1]).collect();
        assert_eq!(values, [Some(10.0), Some(10.0), Some(10.0), Some(11.0)]);
        assert_eq!(between, [0, 0]);
    }

    #[test]
    fn a_row_between_two_windows_is_left_out_and_counted_without_a_tolerance() {
        let one = source(&[(10, "a", 1.0), (20, "a", 2.0)], 0);
        let two = source(&[(13, "a", 9.0)], 0);
        let (rows, between) = joined(vec![one, two], None);
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|(_, _, values)| values[1].is_none()));
        assert_eq!(between, [0, 1]);
    }

    #[test]
    fn carried_values_alone_make_no_row() {
        let one = source(&[(10, "a", 1.0), (50, "b", 2.0)], 0);
        let (rows, _) = joined(vec![one, source(&[(10, "a", 7.0)], 60)], None);
        assert_eq!(rows, [row(10, "a", [Some(1.0), Some(7.0)]), row(50, "b", [Some(2.0), None])]);
    }

    #[test]
    fn a_source_without_entities_is_joined_to_all_where_it_is_broadcast() {
        let nodes = source(&[(10, "a", 1.0), (10, "b", 2.0)], 0);
        let mut whole = source(&[(10, "", 5.0), (20, "", 6.0)], 0);
        whole.is_broadcast = true;
        let (rows, _) = joined(vec![nodes, whole], None);
        let expected = [row(10, "a", [Some(1.0), Some(5.0)]), row(10, "b", [Some(2.0), Some(5.0)])];
        assert_eq!(rows, expected);
    }

    #[test]
    fn windows_outside_the_range_have_no_row_but_are_looked_back_on() {
        let one = source(&[(10, "a", 1.0), (20, "a", 2.0)], 0);
        let due = Due { after: seconds(10), end: seconds(20), scored_to: seconds(10) };
        let (rows, _) = joined(vec![one, source(&[(8, "a", 3.0)], 20)], Some(due));
        assert_eq!(rows, [row(20, "a", [Some(2.0), Some(3.0)])]);
    }

    #[test]
    fn a_source_that_fails_ends_the_join_with_its_error() {
        let windows = Windows { step: Span::from_seconds(10), due: None };
        let failing = Rows { list: vec![(10, "a", 1.0)], size: 1, fails: true };
        let mut sources = [source(&[(10, "a", 1.0)], 0), source(&[], 0)];
        sources[1].source = Box::new(failing);
        let Err(Stop::Error(error)) = join(&mut sources, windows, &mut |_| Ok(())) else {
            panic!("it failed");
        };
        assert_eq!(error.message, "gone");
    }

    #[test]
    fn a_join_whose_rows_cannot_be_written_ends_its_sources() {
        let windows = Windows { step: Span::from_seconds(1), due: None };
        let many: Vec<(i64, &str, f64)> = (0..40_000).map(|time| (time, "a", 1.0)).collect();
        let mut sources = [source(&many, 0), source(&many, 0)];
        let full = join(&mut sources, windows, &mut |_| Err(StepError::unavailable("full")));
        assert!(matches!(full, Err(Stop::Error(error)) if error.message == "full"));
    }

    proptest! {
        #[test]
        fn rows_do_not_depend_on_how_they_come_in_blocks(
            times in proptest::collection::vec((0_i64..200, 0_usize..3), 0..60),
            tolerance in 0_i64..40, size in 1_usize..9,
        ) {
            let mut rows: Vec<(i64, &'static str, f64)> =
                times.iter().map(|(time, entity)| (*time, ["a", "b", "c"][*entity], 1.5)).collect();
            rows.sort_by_key(|row| row.0);
            let all = |size: usize| {
                let mut one = source(&[], tolerance);
                one.source = Box::new(Rows { list: rows.clone(), size, fails: false });
                joined(vec![one, source(&[(50, "a", 2.0)], 100)], None)
            };
            prop_assert_eq!(all(size), all(1000));
        }
    }
}
