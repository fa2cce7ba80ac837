//! Distance of each entity from its peers: the other entities of its group at the same time.
//!
//! Level and spread of a group are medians, which stay correct while fewer than half of its
//! entities are faulty (Hampel, The Influence Curve and Its Role in Robust Estimation, 1974). The
//! spread of a few entities at one time is mostly chance, so its median over a trailing window is
//! used.
//!
//! Entities of one group often differ permanently: another workload, more memory. Therefore the
//! distance of each entity can be compared with its own usual distance, which shows whether it has
//! changed.

use std::collections::BTreeMap;

use document::features::Peers;
use frames::columns::matches;

use crate::grid::{Entity, Grid};

/// Factor from the median absolute deviation to the standard deviation, for normally distributed
/// values.
const OF_MEDIAN: f64 = 1.4826;
/// The same for the mean absolute deviation, which is used if more than half are equal (Iglewicz
/// and Hoaglin, How to Detect and Handle Outliers, 1993).
const OF_MEAN: f64 = 1.253_314;

/// A group at one time; all values are gaps if too few entities have a value.
#[derive(Debug, Clone, Copy)]
struct Level {
    median: f64,
    /// 1.4826 times the median absolute deviation.
    spread: f64,
    /// 1.2533 times the mean absolute deviation.
    mean_spread: f64,
}

const NOBODY: Level = Level { median: f64::NAN, spread: f64::NAN, mean_spread: f64::NAN };

/// The entities that are compared with each other, each with its rows from the first to the last
/// one in the group.
#[derive(Debug, Default)]
struct Group {
    /// Bits of the value of the group; `None` if all rows of its entities belong to it.
    key: Option<u64>,
    stays: Vec<Stay>,
}

/// Consecutive rows of an entity.
#[derive(Debug, Clone, Copy)]
struct Stay {
    /// Index of the first row in the grid.
    first_row: usize,
    /// Steps from the first row of all entities to it.
    first_time: usize,
    rows: usize,
}

/// Returns the deviations of a column's values from those of the peers, in spreads; `rows` is the
/// length of the window, and `by` has the values of the column that defines the groups.
///
/// An entity that changes its group is compared with the new group from then on, and with its own
/// earlier distances from that group.
pub(crate) fn deviations(
    grid: &Grid,
    values: &[f64],
    by: Option<&[f64]>,
    rule: &Peers,
    rows: usize,
) -> Vec<f64> {
    let mut into = vec![f64::NAN; grid.rows()];
    for Group { key, stays } in groups(grid, by, rule) {
        let is_in = |index: usize| match (key, by) {
            (Some(key), Some(by)) => key_of(by[index]) == key,
            (None, _) | (_, None) => true,
        };
        let value = |index: usize| if is_in(index) { values[index] } else { f64::NAN };
        let Some(start) = stays.iter().map(|stay| stay.first_time).min() else { continue };
        let first = |stay: &Stay| stay.first_time - start;
        let length = stays.iter().map(|stay| first(stay) + stay.rows).max().unwrap_or(0);
        let mut at: Vec<Vec<f64>> = vec![Vec::new(); length];
        for stay in &stays {
            for row in 0..stay.rows {
                let value = value(stay.first_row + row);
                if !value.is_nan() {
                    at[first(stay) + row].push(value);
                }
            }
        }
        let least = usize::try_from(rule.min_entities).unwrap_or(usize::MAX);
        let levels: Vec<Level> = at.into_iter().map(|values| level(values, least)).collect();
        // For an entity that is compared with its own past, the spread of the group is not used.
        let times = if rule.own { 0..0 } else { 0..length };
        let spreads: Vec<f64> = times.map(|time| spread(&levels, time, rows)).collect();
        for stay in &stays {
            let levels = &levels[first(stay)..];
            let rows_of = (stay.first_row..stay.first_row + stay.rows).zip(levels);
            let distances: Vec<f64> =
                rows_of.clone().map(|(index, level)| value(index) - level.median).collect();
            for (row, (index, level)) in rows_of.enumerate().filter(|(_, (index, _))| is_in(*index))
            {
                into[index] = if rule.own {
                    let from = (row + 1).saturating_sub(rows.max(1));
                    change(&distances[from..=row], rows, *level, rule)
                } else {
                    deviation(distances[row], *level, spreads[first(stay) + row], rule)
                };
            }
        }
    }
    into
}

/// Returns the groups: by the values of a column, or by the names of the entities.
fn groups(grid: &Grid, by: Option<&[f64]>, rule: &Peers) -> Vec<Group> {
    let start = grid.entities.iter().map(|entity| entity.start).min();
    let stay = |entity: &Entity, first: usize, end: usize| {
        let time = start.map_or(0, |start| (entity.start - start).in_steps(grid.step));
        Stay { first_row: entity.first_row + first, first_time: time + first, rows: end - first }
    };
    if let Some(by) = by {
        let mut groups: BTreeMap<u64, Vec<Stay>> = BTreeMap::new();
        for entity in &grid.entities {
            let mut own: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
            for (row, value) in by[entity.range()].iter().enumerate() {
                own.entry(key_of(*value)).or_insert((row, row)).1 = row + 1;
            }
            for (key, (first, end)) in own {
                groups.entry(key).or_default().push(stay(entity, first, end));
            }
        }
        return groups.into_iter().map(|(key, stays)| Group { key: Some(key), stays }).collect();
    }
    let mut groups: Vec<Group> = Vec::new();
    groups.resize_with(rule.groups.len().max(1), Group::default);
    for entity in &grid.entities {
        let group = match rule.groups.as_slice() {
            [] => Some(0),
            groups => groups.iter().position(|patterns| matches(patterns, &entity.name)),
        };
        if let Some(group) = group.and_then(|group| groups.get_mut(group)) {
            group.stays.push(stay(entity, 0, entity.rows));
        }
    }
    groups
}

/// Returns the key of a group's value; all entities without a value form a separate group.
fn key_of(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

fn level(mut values: Vec<f64>, least: usize) -> Level {
    if values.len() < least.max(1) {
        return NOBODY;
    }
    Level::of(&mut values)
}

impl Level {
    /// Returns the median of values and their spreads, and replaces the values by their distances
    /// from the median; there must be at least one value.
    fn of(values: &mut [f64]) -> Self {
        let usual = median(values);
        values.iter_mut().for_each(|value| *value = (*value - usual).abs());
        let spread = OF_MEDIAN * median(values);
        // In order of size, so that the sum does not depend on the order of the values.
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Self { median: usual, spread, mean_spread: OF_MEAN * mean }
    }
}

/// Returns the usual spread over the window that ends at a time: the median of the spreads, or the
/// mean of the mean spreads if the entities are mostly equal.
fn spread(levels: &[Level], time: usize, rows: usize) -> f64 {
    let window = &levels[(time + 1).saturating_sub(rows.max(1))..=time];
    let there = window.iter().filter(|level| !level.median.is_nan());
    let mut spreads: Vec<f64> = there.clone().map(|level| level.spread).collect();
    if spreads.is_empty() {
        return f64::NAN;
    }
    let usual = median(&mut spreads);
    if usual > 0.0 {
        return usual;
    }
    there.map(|level| level.mean_spread).sum::<f64>() / spreads.len() as f64
}

fn deviation(distance: f64, level: Level, spread: f64, rule: &Peers) -> f64 {
    let spread = spread.max(rule.min_spread_ratio * level.median.abs());
    if distance.is_nan() || spread.is_nan() {
        return f64::NAN;
    }
    if distance == 0.0 {
        return 0.0;
    }
    // No row has ever differed, so any difference has the largest value.
    (distance / spread).clamp(-rule.clip, rule.clip)
}

/// Returns how far an entity's last distance is from the median of its distances, in their spreads;
/// a gap while fewer than a quarter of `rows` have a value.
fn change(distances: &[f64], rows: usize, level: Level, rule: &Peers) -> f64 {
    let mut there: Vec<f64> = distances.iter().copied().filter(|it| !it.is_nan()).collect();
    let Some(last) = distances.last().filter(|_| there.len() * 4 >= rows) else {
        return f64::NAN;
    };
    if last.is_nan() {
        return f64::NAN;
    }
    let usual = Level::of(&mut there);
    let spread = if usual.spread > 0.0 { usual.spread } else { usual.mean_spread };
    deviation(last - usual.median, level, spread, rule)
}

/// Sorts values and returns their median; there is at least one.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

#[cfg(test)]
mod tests;
