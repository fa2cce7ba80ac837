//! The features over time: an envelope, the usual range and the extremes of each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contract::{FeatureColumn, Span, StepError, Timestamp};
use frames::{FeatureTable, LabelInterval};

use crate::envelope::Envelope;
use crate::ground_truth::{Known, Truth};

/// Entities up to this number get a line each; more are drawn as a band.
pub const MOST_LINES: usize = 6;

/// Number of spans of an envelope, about the number of half pixels of a small figure.
const SPANS: usize = 288;

/// Number of values from which the usual range is computed; there may be up to twice as many.
const SAMPLE: usize = 4096;

/// Maximum number of intervals taken from the labels of rows.
const MOST_INTERVALS: usize = 10_000;

/// Every n-th value of a series of any length: n doubles whenever there are too many.
#[derive(Debug, Clone, Default)]
struct Sample {
    every: u64,
    seen: u64,
    values: Vec<f64>,
}

impl Sample {
    fn push(&mut self, value: f64) {
        self.every = self.every.max(1);
        if self.seen.is_multiple_of(self.every) {
            if self.values.len() >= 2 * SAMPLE {
                let mut index = 0;
                self.values.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.every *= 2;
            }
            if self.seen.is_multiple_of(self.every) {
                self.values.push(value);
            }
        }
        self.seen += 1;
    }

    fn quantiles(&self, levels: [f64; 3]) -> Option<[f64; 3]> {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        (!sorted.is_empty())
            .then(|| levels.map(|level| models::reference::quantile(&sorted, level)))
    }
}

/// Usual range of a feature outside of labelled faults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usual {
    /// 1st percentile.
    pub low: f64,
    /// Median.
    pub middle: f64,
    /// 99th percentile.
    pub high: f64,
}

/// The smallest and the largest value, each with its time.
type Extremes = [(f64, i64); 2];

/// One feature over time.
#[derive(Debug, Clone)]
pub struct Series {
    /// What the column means.
    pub column: FeatureColumn,
    /// One envelope for each entity, or one for all of them if they are many.
    pub lines: Vec<Envelope>,
    /// Rows with and without a value.
    pub values: u64,
    /// Rows without a value.
    pub gaps: u64,
    sample: Sample,
    /// Smallest and largest value of each entity, with their times: in scenarios, and elsewhere.
    extremes: Vec<[Option<Extremes>; 2]>,
}

impl Series {
    /// Returns the range of 98 of 100 values outside of labelled faults.
    pub fn usual(&self) -> Option<Usual> {
        let [low, middle, high] = self.sample.quantiles([0.01, 0.5, 0.99])?;
        Some(Usual { low, middle, high })
    }

    /// Returns how far the feature left its usual range, in widths of that range, at most 100:
    /// within the labelled faults if there are any, otherwise anywhere. The result includes the
    /// entity's number, the time and the value.
    pub fn moved(&self) -> Option<Moved> {
        let usual = self.usual()?;
        let bounds = self.lines.iter().filter_map(Envelope::bounds);
        let all = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        // Any change of a constant feature is outside of its range.
        let width = (usual.high - usual.low).max((all.1 - all.0) / 100.0);
        let faulty = self.extremes.iter().any(|parts| parts[1].is_some());
        let mut most: Option<Moved> = None;
        for (entity, parts) in (0..).zip(&self.extremes) {
            for (value, time) in parts[usize::from(faulty)].into_iter().flatten() {
                let outside = (usual.low - value).max(value - usual.high).max(0.0);
                let widths = if width > 0.0 { outside / width } else { 0.0 };
                if most.is_none_or(|most| widths > most.widths) {
                    let time = Timestamp::from_ms(time);
                    most = Some(Moved { widths, entity, time, value });
                }
            }
        }
        most
    }
}

/// The point at which a feature was farthest from its usual range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// Distance in widths of the usual range.
    pub widths: f64,
    /// Number of the entity in [`FeatureHistory::entities`].
    pub entity: u32,
    /// When.
    pub time: Timestamp,
    /// The value there.
    pub value: f64,
}

/// All features over time.
#[derive(Debug, Clone, Default)]
pub struct FeatureHistory {
    /// Names of the entities.
    pub entities: Vec<String>,
    /// The features, in the contract's order.
    pub series: Vec<Series>,
    /// Number of rows that are not warm-up.
    pub rows: u64,
    /// First and last window.
    pub range: Option<(Timestamp, Timestamp)>,
    /// Distance between windows.
    pub step: Span,
    /// Times between windows in which there is no row of any entity.
    pub gaps: Vec<(Timestamp, Timestamp)>,
}

/// Returns the intervals of the rows' labels: for data with labels and without a scenario log.
/// Empty if the rows have no labels.
pub fn labels_of_rows(path: &Path) -> Result<Vec<LabelInterval>, StepError> {
    let mut running: BTreeMap<u32, LabelInterval> = BTreeMap::new();
    let mut done: Vec<LabelInterval> = Vec::new();
    FeatureTable::read_parts(path, |part| {
        let Some(labels) = &part.labels else { return Ok(()) };
        for row in 0..part.rows() {
            let (time, entity) = (part.table.times[row], part.table.entity[row]);
            let (label, guard) = (&labels.label[row], labels.excluded[row]);
            match running.get_mut(&entity) {
                Some(interval) if interval.label == *label && interval.guard == guard => {
                    interval.end = time;
                }
                _ => {
                    let interval = LabelInterval {
                        start: time - part.contract.step,
                        end: time,
                        label: label.clone(),
                        target: part.table.entity_of(row).to_owned(),
                        scenario: labels.scenario[row].clone(),
                        guard,
                    };
                    done.extend(running.insert(entity, interval));
                }
            }
        }
        Ok(())
    })?;
    done.extend(running.into_values());
    done.truncate(MOST_INTERVALS);
    Ok(done)
}

impl FeatureHistory {
    /// Adds a features file; files must be added in order of time, windows that an earlier file had
    /// are left out, and a file with other columns than the first is refused.
    pub fn read(&mut self, path: &Path, truth: &Truth) -> Result<(), StepError> {
        let known = self.range.map(|(_, last)| last);
        FeatureTable::read_parts(path, |part| self.add(part, truth, known)).map(drop)
    }

    fn add(
        &mut self,
        part: &FeatureTable,
        truth: &Truth,
        known: Option<Timestamp>,
    ) -> Result<(), StepError> {
        if self.series.is_empty() {
            self.start(part);
        }
        let names = self.series.iter().map(|series| series.column.name.as_str());
        if !names.eq(part.contract.names()) {
            return Err(StepError::refused("its features differ from those of the previous run")
                .hint(
                    "compare \
                runs of one document, or compare the two runs with `lynceus compare`",
                ));
        }
        let numbers = self.numbers(part);
        let entities: BTreeSet<String> = self.entities.iter().cloned().collect();
        let mut windows = windows(part);
        windows.retain(|rows| known.is_none_or(|known| part.table.times[rows.start] > known));
        let known: Vec<Vec<Known>> = windows
            .iter()
            .map(|rows| {
                let time = part.table.times[rows.start];
                rows.clone()
                    .map(|row| truth.at(time, part.table.entity_of(row), &entities))
                    .collect()
            })
            .collect();
        for rows in &windows {
            self.note_time(part.table.times[rows.start]);
        }
        self.rows += windows.iter().map(|rows| rows.len() as u64).sum::<u64>();
        let many = self.entities.len() > MOST_LINES;
        for (series, column) in self.series.iter_mut().zip(&part.table.columns) {
            series.prepare(self.step, if many { 1 } else { self.entities.len() });
            for (rows, known) in windows.iter().zip(&known) {
                let time = part.table.times[rows.start].ms();
                for (row, known) in rows.clone().zip(known) {
                    let entity = numbers[part.table.entity[row] as usize] as usize;
                    series.add(entity, time, column.values[row], *known);
                    let line = if many { 0 } else { entity };
                    series.lines[line].push(time, column.values[row]);
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, part: &FeatureTable) {
        self.step = part.contract.step;
        let columns = part.contract.columns.iter().cloned();
        let series = columns.map(|column| Series {
            column,
            lines: Vec::new(),
            values: 0,
            gaps: 0,
            sample: Sample::default(),
            extremes: Vec::new(),
        });
        self.series = series.collect();
    }

    /// Returns this history's number of each entity of a part.
    fn numbers(&mut self, part: &FeatureTable) -> Vec<u32> {
        let mut known: BTreeMap<String, u32> = self.entities.iter().cloned().zip(0..).collect();
        let number = |name: &String| {
            *known.entry(name.clone()).or_insert_with(|| {
                self.entities.push(name.clone());
                u32::try_from(self.entities.len() - 1).unwrap_or(u32::MAX)
            })
        };
        part.table.entities.iter().map(number).collect()
    }

    fn note_time(&mut self, time: Timestamp) {
        let Some((_, last)) = &mut self.range else {
            self.range = Some((time, time));
            return;
        };
        if time - *last > self.step {
            self.gaps.push((*last, time - self.step));
        }
        *last = time.max(*last);
    }
}

/// Returns the rows of each window that are not warm-up.
fn windows(part: &FeatureTable) -> Vec<std::ops::Range<usize>> {
    let mut windows: Vec<std::ops::Range<usize>> = Vec::new();
    for row in (0..part.rows()).filter(|row| !part.warm_up[*row]) {
        match windows.last_mut() {
            Some(rows)
                if rows.end == row && part.table.times[rows.start] == part.table.times[row] =>
            {
                rows.end = row + 1;
            }
            _ => windows.push(row..row + 1),
        }
    }
    windows
}

impl Series {
    fn prepare(&mut self, step: Span, lines: usize) {
        if lines < self.lines.len() {
            // There are now too many entities for lines: the existing lines are merged into one
            // band.
            let mut points: Vec<_> =
                self.lines.iter().flat_map(Envelope::lines).flatten().collect();
            points.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            let mut all = Envelope::new(step.ms(), SPANS);
            points.into_iter().for_each(|(time, value)| all.push(time, value));
            self.lines = vec![all];
        }
        self.lines.resize_with(lines, || Envelope::new(step.ms(), SPANS));
    }

    fn add(&mut self, entity: usize, time: i64, value: f64, known: Known) {
        if !value.is_finite() {
            self.gaps += 1;
            return;
        }
        self.values += 1;
        if known.excluded {
            return;
        }
        if known.is_normal() {
            self.sample.push(value);
        }
        if entity >= self.extremes.len() {
            self.extremes.resize(entity + 1, [None; 2]);
        }
        let part = &mut self.extremes[entity][usize::from(known.is_faulty())];
        let [low, high] = part.get_or_insert([(value, time); 2]);
        if value < low.0 {
            *low = (value, time);
        }
        if value > high.0 {
            *high = (value, time);
        }
    }
}
