//! Converts events to rows: counts for each entity and step.
//!
//! A window is open until events are `lateness` past its end; then its rows are made and its state
//! is dropped, so that memory depends only on the events within the lateness.

use std::collections::{BTreeMap, HashMap, HashSet};

use contract::{Span, Timestamp};
use document::sources::tetragon::TetragonSource;
use frames::samples::SampleRows;

use super::event::{Event, What};

/// Maximum number of recorded events of one window, which are used to recognise an event that is
/// read twice.
const MOST_KEYS: usize = 1 << 20;
/// Maximum number of different programs, or destinations, that are counted in one window.
const MOST_DISTINCT: usize = 1 << 16;
/// Maximum number of control groups of a node that are recorded as throttled.
const MOST_GROUPS: usize = 4096;
/// Tetragon reports the end of a throttling; if that line was lost, the throttling ends after this
/// time.
const LONGEST_THROTTLE: Span = Span::from_seconds(600);

/// Statistics besides the rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) events: usize,
    pub(super) duplicates: usize,
    /// Number of events whose window was already closed.
    pub(super) late: usize,
    /// Number of rows of windows with missing events.
    pub(super) incomplete: usize,
}

/// The windows that are open.
#[derive(Debug)]
pub(super) struct Windows {
    step: Span,
    lateness: Span,
    quiet: Span,
    named: usize,
    /// By end.
    open: BTreeMap<Timestamp, Window>,
    entities: BTreeMap<String, Known>,
    /// End of the last closed window.
    closed: Option<Timestamp>,
    newest: Option<Timestamp>,
    pub(super) seen: Seen,
}

#[derive(Debug, Default)]
struct Window {
    counts: BTreeMap<String, Counts>,
    keys: HashSet<u64>,
}

/// State of an entity from window to window.
#[derive(Debug, Default)]
struct Known {
    /// End of the last window with an event.
    last: Option<Timestamp>,
    /// Since when the events of control groups are left out.
    throttled: HashMap<u64, Timestamp>,
}

#[derive(Debug, Default)]
struct Counts {
    execs: f64,
    programs: HashMap<u64, f64>,
    temporary: f64,
    in_container: f64,
    connects: f64,
    destinations: HashSet<u64>,
    mining: f64,
    named: Vec<f64>,
    other: f64,
    dropped: f64,
    is_incomplete: bool,
}

impl Windows {
    pub(super) fn new(settings: &TetragonSource, step: Span) -> Self {
        Self {
            step,
            lateness: settings.lateness,
            quiet: settings.quiet,
            named: settings.events.len(),
            open: BTreeMap::new(),
            entities: BTreeMap::new(),
            closed: None,
            newest: None,
            seen: Seen::default(),
        }
    }

    /// Counts an event.
    pub(super) fn add(&mut self, event: Event) {
        let end = self.end_of(event.time);
        if self.closed.is_some_and(|closed| end <= closed) {
            self.seen.late += 1;
            return;
        }
        self.newest = self.newest.max(Some(event.time));
        let window = self.open.entry(end).or_default();
        if let Some(key) = event.key {
            if window.keys.contains(&key) {
                self.seen.duplicates += 1;
                return;
            }
            if window.keys.len() < MOST_KEYS {
                window.keys.insert(key);
            }
        }
        self.seen.events += 1;
        let entity = event.entity;
        if let What::Throttled { group, begins } = event.what {
            self.throttle(&entity, group, begins.then_some(event.time), event.time);
            return;
        }
        if let Some(counts) = window.counts.get_mut(&entity) {
            counts.add(&event.what, event.weight);
        } else {
            let mut counts = Counts::new(self.named);
            counts.add(&event.what, event.weight);
            window.counts.insert(entity, counts);
        }
    }

    fn end_of(&self, time: Timestamp) -> Timestamp {
        let floor = time.floor(self.step);
        if floor == time { time } else { floor + self.step }
    }

    /// Records that a throttling begins, or has ended and covers the open windows.
    fn throttle(&mut self, entity: &str, group: u64, begins: Option<Timestamp>, now: Timestamp) {
        let known = self.entities.entry(entity.to_owned()).or_default();
        let began = match begins {
            Some(_) if known.throttled.len() >= MOST_GROUPS => now,
            Some(time) => {
                known.throttled.insert(group, time);
                time
            }
            None => known.throttled.remove(&group).unwrap_or(now),
        };
        let (step, named) = (self.step, self.named);
        // These include windows without any event.
        let open = self.closed.map_or(began, |closed| began.max(closed + step));
        let mut end = self.end_of(open);
        while end - step < now {
            let window = self.open.entry(end).or_default();
            let counts =
                window.counts.entry(entity.to_owned()).or_insert_with(|| Counts::new(named));
            counts.is_incomplete = true;
            end = end + step;
        }
    }

    /// Makes the rows of the windows that can get no more events, in order.
    pub(super) fn close_done(&mut self, rows: &mut SampleRows) {
        if let Some(newest) = self.newest {
            self.close(newest - self.lateness, rows);
        }
    }

    /// Makes the rows of all windows that end by a time, in order of time and then of entity.
    pub(super) fn close(&mut self, until: Timestamp, rows: &mut SampleRows) {
        let until = until.floor(self.step);
        let first = self.open.keys().next().copied();
        // Events before the first line are unknown, including those of the first window.
        let mut is_first = self.closed.is_none();
        let Some(mut end) = self.closed.map(|closed| closed + self.step).or(first) else { return };
        if end > until {
            return;
        }
        while end <= until {
            let window = self.open.remove(&end).unwrap_or_default();
            self.rows_of(end, window, is_first, rows);
            is_first = false;
            end = end + self.step;
            if self.entities.is_empty() {
                // No entity is active until the next event.
                let next = self.open.keys().next().copied();
                end = next.unwrap_or(until + self.step).min(until + self.step);
            }
        }
        self.closed = Some(until);
    }

    /// Makes the rows of the windows up to that of the last event, but of no window after `end`.
    pub(super) fn close_all(&mut self, end: Timestamp, rows: &mut SampleRows) {
        if let Some(newest) = self.newest {
            // It is unknown whether Tetragon was still running after its last event.
            self.close(self.end_of(newest).min(end), rows);
        }
    }

    fn rows_of(
        &mut self,
        end: Timestamp,
        mut window: Window,
        is_first: bool,
        rows: &mut SampleRows,
    ) {
        for entity in window.counts.keys() {
            if let Some(known) = self.entities.get_mut(entity) {
                known.last = Some(end);
            } else {
                let known = Known { last: Some(end), ..Known::default() };
                self.entities.insert(entity.clone(), known);
            }
        }
        let (quiet, begin) = (self.quiet, end - self.step);
        self.entities.retain(|_, known| {
            known.throttled.retain(|_, since| begin - *since < LONGEST_THROTTLE);
            known.last.is_some_and(|last| end - last <= quiet) || !known.throttled.is_empty()
        });
        for (entity, known) in &self.entities {
            let mut counts =
                window.counts.remove(entity).unwrap_or_else(|| Counts::new(self.named));
            let is_throttled = known.throttled.values().any(|since| *since < end);
            counts.is_incomplete |= is_first || is_throttled || counts.dropped > 0.0;
            self.seen.incomplete += usize::from(counts.is_incomplete);
            rows.times.push(end);
            rows.entities.push(entity.clone());
            let values = counts.values();
            rows.columns.iter_mut().zip(values).for_each(|(column, it)| column.push(Some(it)));
        }
    }
}

impl Counts {
    fn new(named: usize) -> Self {
        Self { named: vec![0.0; named], ..Self::default() }
    }

    fn add(&mut self, what: &What, weight: f64) {
        match what {
            What::Exec { program, is_temporary, in_container } => {
                self.execs += weight;
                if self.programs.len() < MOST_DISTINCT || self.programs.contains_key(program) {
                    *self.programs.entry(*program).or_default() += weight;
                }
                self.temporary += if *is_temporary { weight } else { 0.0 };
                self.in_container += if *in_container { weight } else { 0.0 };
            }
            What::Connect { destination, is_mining, column } => {
                self.connects += weight;
                if self.destinations.len() < MOST_DISTINCT {
                    self.destinations.insert(*destination);
                }
                self.mining += if *is_mining { weight } else { 0.0 };
                if let Some(count) = column.and_then(|column| self.named.get_mut(column)) {
                    *count += weight;
                }
            }
            What::Other { column } => match column.and_then(|column| self.named.get_mut(column)) {
                Some(count) => *count += weight,
                None => self.other += weight,
            },
            What::Dropped(events) => self.dropped += events,
            What::Throttled { .. } => {}
        }
    }

    /// Returns the values, in the order of the columns.
    fn values(&self) -> Vec<f64> {
        let mut values = vec![
            self.execs,
            self.programs.len() as f64,
            self.entropy_bits(),
            self.temporary,
            self.in_container,
            self.connects,
            self.destinations.len() as f64,
            self.mining,
        ];
        values.extend(&self.named);
        values.extend([self.other, self.dropped, f64::from(u8::from(self.is_incomplete))]);
        values
    }

    /// Returns Shannon's entropy of the programs that were started.
    fn entropy_bits(&self) -> f64 {
        let mut counts: Vec<f64> = self.programs.values().copied().collect();
        // A sum depends on the order of its terms, which is not fixed in a map.
        counts.sort_by(f64::total_cmp);
        let all: f64 = counts.iter().sum();
        let terms = counts.iter().map(|count| count / all).map(|share| -share * share.log2());
        terms.sum::<f64>() + 0.0
    }
}

#[cfg(test)]
mod tests;
