//! State of an entity in an adaptive model, and how it is updated.

use std::collections::VecDeque;

use contract::tensors::half_precision;

use super::last_alarm::LastAlarm;
use super::own::Own;
use super::spikes::Spikes;

/// Most missing rows or values for which the last one is used.
pub const MOST_CARRIED_ROWS: u32 = 15;

/// Value that is stored instead of the departure of a column without a value: larger than every
/// departure, and exact in half precision.
const ABSENT: f64 = 60_000.0;

/// Smallest distance of a usual level from that of training for a drift notice, in standard
/// deviations; below half of it the notice ends.
const DRIFT_BOUND: f64 = 3.0;

/// How signals are scaled and followed: fixed at training.
#[derive(Debug, Clone, PartialEq)]
pub struct Following {
    /// Distance between rows in milliseconds.
    pub step_ms: i64,
    /// Training mean of each column.
    pub centre: Vec<f64>,
    /// Training scale of each column; 0 for a column without a value in training.
    pub scale: Vec<f64>,
    /// Columns that hardly moved in training, in order. Their training scale is not meaningful, so
    /// it is learned.
    pub constant: Vec<usize>,
    /// Share of its innovation that is added to the usual level with each row.
    pub mean_rate: f64,
    /// Share of its innovation that is added to the usual variance with each row.
    pub variance_rate: f64,
    /// Smallest usual deviation, in training scales.
    pub deviation_floor: f64,
    /// Limit of an innovation for learning, in usual deviations.
    pub cap: f64,
    /// Limit of scaled values and departures.
    pub clip: f64,
    /// Rows of the windows.
    pub windows: Vec<usize>,
    /// Rows of the windows of the short score.
    pub gate_windows: Vec<usize>,
    /// Newest rows of which one must have a short score above the gate's threshold.
    pub gate_rows: usize,
    /// Number of newest rows that must be unusual without a window, on average, for an alarm to
    /// continue; 0 if only the gate decides.
    pub stay_rows: usize,
}

/// State of one entity, which each row updates.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// Time of the last row; absent before the first.
    pub(super) time_ms: Option<i64>,
    /// Usual level of each column, in training scales from the training mean.
    pub(super) means: Vec<f64>,
    /// Usual variance of each column.
    pub(super) variances: Vec<f64>,
    /// Statistics of the entity in training.
    pub(super) own: Own,
    /// Last scaled value of each column, and its age in rows; absent if too old.
    pub(super) last: Vec<Option<(f64, u32)>>,
    /// How far the constant columns have moved.
    pub(super) spikes: Spikes,
    /// Departures of the last rows, oldest first: numbers of half precision, as they are most of
    /// what is stored of an entity.
    pub(super) recent: VecDeque<Vec<f64>>,
    /// Short scores of the last judged rows, oldest first.
    pub(crate) short_scores: VecDeque<f64>,
    /// Scores without a window of the last judged rows, oldest first.
    pub(crate) level_scores: VecDeque<f64>,
    /// Whether there is an open alarm.
    pub(crate) alarmed: bool,
    /// Whether one has ended while the gate was open, and the gate has not closed since.
    pub(crate) ended: bool,
    /// Columns with a drift notice.
    pub(super) drifting: Vec<usize>,
    /// The open alarm, or the last one.
    pub(super) last_alarm: LastAlarm,
}

impl Following {
    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.centre.len()
    }

    /// Returns the number of features of the windows: departures, and their means and deviations.
    pub fn features(&self, windows: &[usize]) -> usize {
        self.columns() * (1 + 2 * windows.len())
    }

    /// Returns the memory of an unknown entity.
    pub fn fresh(&self) -> Memory {
        let columns = self.columns();
        Memory {
            time_ms: None,
            means: vec![0.0; columns],
            variances: vec![1.0; columns],
            own: Own::default(),
            last: vec![None; columns],
            spikes: Spikes::new(self.constant.len()),
            recent: VecDeque::new(),
            short_scores: VecDeque::new(),
            level_scores: VecDeque::new(),
            alarmed: false,
            ended: false,
            drifting: Vec::new(),
            last_alarm: LastAlarm::default(),
        }
    }

    /// Returns for an entity's rows, in order of time, whether they may be used for learning: rows
    /// that are normal, and whose windows contain only normal rows.
    pub fn usual(&self, normal: impl IntoIterator<Item = bool>) -> Vec<bool> {
        let mut since = self.longest();
        let rows = normal.into_iter().map(|normal| {
            since = if normal { since + 1 } else { 0 };
            since >= self.longest()
        });
        rows.collect()
    }

    /// Returns whether a memory, which may be from a file, fits this model.
    pub fn fits(&self, memory: &Memory) -> bool {
        let columns = self.columns();
        let lengths = [memory.means.len(), memory.variances.len(), memory.last.len()];
        lengths == [columns; 3]
            && memory.spikes.fits(self.constant.len())
            && memory.recent.iter().all(|row| row.len() == columns)
            && memory.recent.len() <= self.longest()
            && memory.short_scores.len() <= self.gate_rows
            && memory.level_scores.len() <= self.stay_rows
            && memory.drifting.iter().all(|column| *column < columns)
            && memory.last_alarm.fits(columns)
            && memory.own.fits(columns)
    }

    /// Returns the rows of the longest window.
    pub fn longest(&self) -> usize {
        self.windows.iter().chain(&self.gate_windows).copied().max().unwrap_or(1).max(1)
    }

    /// Updates a memory with a row: the columns' values, `NaN` for a gap.
    ///
    /// Missing rows before it are filled with the last row. After more than [`MOST_CARRIED_ROWS`]
    /// missing rows the windows start again. A row that is not later than the last one also starts
    /// them again.
    ///
    /// # Panics
    /// If the row or the memory has other columns.
    pub fn follow(&self, memory: &mut Memory, time_ms: i64, values: &[f64]) {
        assert_eq!(values.len(), self.columns(), "a row has the columns of the model");
        let steps = memory.time_ms.map(|last| time_ms.saturating_sub(last) / self.step_ms.max(1));
        match steps {
            Some(1) | None => {}
            Some(steps) if (1..=i64::from(MOST_CARRIED_ROWS) + 1).contains(&steps) => {
                let nothing = vec![f64::NAN; values.len()];
                (1..steps).for_each(|_| self.tick(memory, &nothing));
            }
            Some(_) => {
                memory.recent.clear();
                memory.last.fill(None);
            }
        }
        self.tick(memory, values);
        memory.time_ms = Some(time_ms);
        for (column, mean) in memory.means.iter().enumerate() {
            let moved = (mean - memory.own.level(column)).abs() / memory.own.deviation(column);
            match memory.drifting.binary_search(&column) {
                Err(place) if moved > DRIFT_BOUND => memory.drifting.insert(place, column),
                Ok(place) if moved < 0.5 * DRIFT_BOUND => {
                    memory.drifting.remove(place);
                }
                _ => {}
            }
        }
    }

    fn tick(&self, memory: &mut Memory, values: &[f64]) {
        let mut departures = if memory.recent.len() >= self.longest() {
            memory.recent.pop_front().unwrap_or_default()
        } else {
            Vec::new()
        };
        departures.clear();
        let mut constant = self.constant.iter().enumerate().peekable();
        for (column, value) in values.iter().enumerate() {
            let scaled = self.carried(&mut memory.last[column], column, *value);
            let spike = constant.next_if(|(_, at)| **at == column).map(|(index, _)| index);
            let Some(scaled) = scaled else {
                // A column without a value in training counts as usual.
                departures.push(if self.scale[column] > 0.0 { ABSENT } else { 0.0 });
                continue;
            };
            let (mean, variance) = (&mut memory.means[column], &mut memory.variances[column]);
            let least = self.deviation_floor * memory.own.deviation(column);
            let mut usual = variance.sqrt().max(least);
            let difference = scaled - *mean;
            if let Some(index) = spike {
                usual = usual.max(memory.spikes.deviation(index));
                memory.spikes.note(index, difference);
            }
            let departure = (difference / usual).clamp(-self.clip, self.clip);
            departures.push(half_precision(departure));
            let innovation = difference.clamp(-self.cap * usual, self.cap * usual);
            *mean += self.mean_rate * innovation;
            *variance += self.variance_rate * (innovation * innovation - *variance);
        }
        memory.recent.push_back(departures);
        let hour = 3_600_000 / self.step_ms.max(1);
        memory.spikes.end_row(u32::try_from(hour).unwrap_or(u32::MAX));
    }

    /// Returns a column's scaled value, or the last one if that is not too old.
    fn carried(&self, last: &mut Option<(f64, u32)>, column: usize, value: f64) -> Option<f64> {
        let scale = self.scale[column];
        if value.is_finite() && scale > 0.0 {
            // A finite value may still overflow here; the clip brings it back.
            let scaled = ((value - self.centre[column]) / scale).clamp(-self.clip, self.clip);
            *last = Some((scaled, 0));
        } else if let Some((_, age)) = last {
            *age = age.saturating_add(1);
            if *age > MOST_CARRIED_ROWS {
                *last = None;
            }
        }
        last.map(|(scaled, _)| scaled)
    }

    /// Writes the newest row's features: the departures, then for each window the columns' means
    /// and the columns' standard deviations (n in the divisor) over its rows, of which there are
    /// fewer at first. Rows without a value of a column do not count for it. If no row has a value,
    /// the feature is `NaN`.
    ///
    /// # Panics
    /// If the memory saw no row, or `features` does not have [`Following::features`] items.
    pub fn write_features(&self, memory: &Memory, windows: &[usize], features: &mut [f64]) {
        let columns = self.columns();
        let newest = memory.recent.back().expect("a row was followed");
        let (departures, rest) = features.split_at_mut(columns);
        departures.copy_from_slice(newest);
        if memory.recent.iter().flatten().any(|departure| *departure >= ABSENT) {
            self.write_present(memory, windows, features);
            return;
        }
        for (window, part) in windows.iter().zip(rest.chunks_exact_mut(2 * columns)) {
            let (means, deviations) = part.split_at_mut(columns);
            let rows = memory.recent.len().min(*window);
            let of_window = || memory.recent.iter().skip(memory.recent.len() - rows);
            means.fill(0.0);
            deviations.fill(0.0);
            for row in of_window() {
                means.iter_mut().zip(row).for_each(|(mean, value)| *mean += value);
            }
            means.iter_mut().for_each(|mean| *mean /= rows as f64);
            for row in of_window() {
                let pairs = row.iter().zip(means.iter());
                deviations.iter_mut().zip(pairs).for_each(|(deviation, (value, mean))| {
                    *deviation += (value - mean) * (value - mean);
                });
            }
            deviations.iter_mut().for_each(|square| *square = (*square / rows as f64).sqrt());
        }
    }

    /// [`Following::write_features`] where some departures are absent.
    fn write_present(&self, memory: &Memory, windows: &[usize], features: &mut [f64]) {
        let columns = self.columns();
        let (departures, rest) = features.split_at_mut(columns);
        departures.iter_mut().filter(|value| **value >= ABSENT).for_each(|value| *value = f64::NAN);
        for (window, part) in windows.iter().zip(rest.chunks_exact_mut(2 * columns)) {
            let (means, deviations) = part.split_at_mut(columns);
            let rows = memory.recent.len().min(*window);
            for column in 0..columns {
                let of_window = memory.recent.iter().skip(memory.recent.len() - rows);
                let present = of_window.map(|row| row[column]).filter(|value| *value < ABSENT);
                let (count, sum) = present
                    .clone()
                    .fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
                // Without rows it is 0 divided by 0.
                let mean: f64 = sum / count;
                let squares: f64 = present.map(|value| (value - mean) * (value - mean)).sum();
                (means[column], deviations[column]) = (mean, (squares / count).sqrt());
            }
        }
    }

    /// Returns the columns that have had no value for more than [`MOST_CARRIED_ROWS`] rows, in
    /// order, except those without a value in training.
    pub fn missing(&self, memory: &Memory) -> Vec<usize> {
        let newest = memory.recent.back().into_iter().flatten().enumerate();
        newest.filter(|(_, value)| **value >= ABSENT).map(|(column, _)| column).collect()
    }
}

/// Most rows of a window.
pub const MOST_WINDOW_ROWS: usize = 1440;

/// Most windows.
pub const MOST_WINDOWS: usize = 8;

impl crate::sequence::Memory for Memory {
    fn time_ms(&self) -> Option<i64> {
        self.time_ms
    }
}

impl Memory {
    /// Records the short scores and the scores without a window of the last rows, oldest first.
    pub fn set_last_scores(&mut self, short: &[f64], level: &[f64]) {
        self.short_scores = short.iter().copied().collect();
        self.level_scores = level.iter().copied().collect();
    }

    /// Returns the columns whose usual level has moved far from the training mean, in order.
    pub fn drifting(&self) -> &[usize] {
        &self.drifting
    }
}
