//! How far each entity departs from its peers: the others of its group at the same time.
//!
//! Level and spread of a group are medians, which hold while fewer than half of its entities are
//! faulty (Hampel, The Influence Curve and Its Role in Robust Estimation, 1974). The spread of a
//! few entities at one time is mostly chance, so its median over a trailing window is taken.
//!
//! Entities of one group often differ all the time: another workload, more memory. Compared with
//! what it usually is, the distance of each says whether it has changed.

use document::features::Peers;
use frames::columns::matches;

use crate::grid::{Entity, Grid};

/// Makes the median absolute deviation of normal values their standard deviation.
const OF_MEDIAN: f64 = 1.4826;
/// The same for the mean absolute deviation, which stands in where more than half are equal
/// (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993).
const OF_MEAN: f64 = 1.253_314;

/// A group at one time; all gaps where too few have a value.
#[derive(Debug, Clone, Copy)]
struct Level {
    median: f64,
    /// 1.4826 times the median absolute deviation.
    spread: f64,
    /// 1.2533 times the mean absolute deviation.
    mean_spread: f64,
}

const NOBODY: Level = Level { median: f64::NAN, spread: f64::NAN, mean_spread: f64::NAN };

/// Returns the deviations of a column's values from those of the peers, in spreads; `rows` is the
/// length of the window.
pub(crate) fn deviations(grid: &Grid, values: &[f64], rule: &Peers, rows: usize) -> Vec<f64> {
    let mut into = vec![f64::NAN; grid.rows()];
    let step = grid.step.ms();
    for members in groups(grid, rule) {
        let Some(start) = members.iter().map(|entity| entity.start).min() else { continue };
        let first = |entity: &Entity| (entity.start - start).in_steps(grid.step);
        let length = members.iter().map(|entity| first(entity) + entity.rows).max().unwrap_or(0);
        let mut at: Vec<Vec<f64>> = vec![Vec::new(); length];
        for entity in &members {
            let there = values[entity.range()].iter().enumerate();
            for (row, value) in there.filter(|(_, value)| !value.is_nan()) {
                at[first(entity) + row].push(*value);
            }
        }
        let least = usize::try_from(rule.min_entities).unwrap_or(usize::MAX);
        let levels: Vec<Level> = at.into_iter().map(|values| level(values, least)).collect();
        // What an entity is compared with of its own has a spread of its own.
        let times = if rule.own { 0..0 } else { 0..length };
        let spreads: Vec<f64> = times.map(|time| spread(&levels, time, rows)).collect();
        for entity in &members {
            debug_assert!((entity.start - start).ms() % step == 0, "entities share a grid");
            let levels = &levels[first(entity)..];
            let rows_of = entity.range().zip(levels);
            let distances: Vec<f64> =
                rows_of.clone().map(|(index, level)| values[index] - level.median).collect();
            for (row, (index, level)) in rows_of.enumerate() {
                into[index] = if rule.own {
                    let from = (row + 1).saturating_sub(rows.max(1));
                    change(&distances[from..=row], rows, *level, rule)
                } else {
                    deviation(distances[row], *level, spreads[first(entity) + row], rule)
                };
            }
        }
    }
    into
}

fn groups<'a>(grid: &'a Grid, rule: &Peers) -> Vec<Vec<&'a Entity>> {
    if rule.groups.is_empty() {
        return vec![grid.entities.iter().collect()];
    }
    let mut groups: Vec<Vec<&Entity>> = vec![Vec::new(); rule.groups.len()];
    for entity in &grid.entities {
        let group = rule.groups.iter().position(|patterns| matches(patterns, &entity.name));
        if let Some(group) = group.and_then(|group| groups.get_mut(group)) {
            group.push(entity);
        }
    }
    groups
}

fn level(mut values: Vec<f64>, least: usize) -> Level {
    if values.len() < least.max(1) {
        return NOBODY;
    }
    let median = median(&mut values);
    let mut distances: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
    let spread = OF_MEDIAN * self::median(&mut distances);
    // In order of size, so that the sum does not depend on the order of the entities.
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    Level { median, spread, mean_spread: OF_MEAN * mean }
}

/// Returns the usual spread over the window that ends at a time: the median of the spreads, or the
/// mean of the mean spreads where the entities are mostly equal.
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

/// Returns how far the last of an entity's distances is from their median, in their spreads; a gap
/// while fewer than a quarter of `rows` are there.
fn change(distances: &[f64], rows: usize, level: Level, rule: &Peers) -> f64 {
    let mut there: Vec<f64> = distances.iter().copied().filter(|it| !it.is_nan()).collect();
    let Some(last) = distances.last().filter(|_| there.len() * 4 >= rows) else {
        return f64::NAN;
    };
    if last.is_nan() {
        return f64::NAN;
    }
    let usual = median(&mut there);
    there.iter_mut().for_each(|it| *it = (*it - usual).abs());
    let middle = OF_MEDIAN * median(&mut there);
    let mean = OF_MEAN * there.iter().sum::<f64>() / there.len() as f64;
    let spread = if middle > 0.0 { middle } else { mean };
    deviation(last - usual, level, spread, rule)
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
mod tests {
    use contract::{Span, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn rule(yaml: &str) -> Peers {
        serde_json::from_str(yaml).unwrap()
    }

    /// A grid of entities a, b, c, ... with these values, from these steps on.
    fn grid(series: &[(i64, Vec<f64>)]) -> (Grid, Vec<f64>) {
        let mut grid = Grid {
            step: Span::from_seconds(10),
            entities: Vec::new(),
            source: Vec::new(),
            columns: Vec::new(),
        };
        let mut all = Vec::new();
        for (name, (start, values)) in ('a'..).zip(series) {
            grid.entities.push(Entity {
                name: name.to_string(),
                start: Timestamp::from_ms(10_000 * start),
                first_row: all.len(),
                rows: values.len(),
                first: Timestamp::from_ms(10_000 * start),
                carried: 0,
            });
            all.extend(values);
        }
        grid.source = vec![0; all.len()];
        (grid, all)
    }

    fn of(series: &[(i64, Vec<f64>)], yaml: &str) -> Vec<f64> {
        let (grid, values) = grid(series);
        let rule = rule(yaml);
        let rows = rule.window.in_steps(grid.step);
        deviations(&grid, &values, &rule, rows)
    }

    #[test]
    fn a_deviation_is_the_distance_from_the_median_in_spreads() {
        let one = |value: f64| (0, vec![value]);
        let found =
            of(&[one(10.0), one(12.0), one(11.0), one(30.0)], r#"{"window":"10s","clip":100}"#);
        // The median is 11.5, the distances are 0.5, 0.5, 1.5, 18.5: their median is 1.
        let expected = [-1.5, 0.5, -0.5, 18.5].map(|distance: f64| distance / 1.4826);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn too_few_peers_are_a_gap_and_groups_are_independent() {
        let one = |value: f64| (0, vec![value]);
        assert!(of(&[one(1.0), one(2.0)], r#"{"window":"10s"}"#).iter().all(|it| it.is_nan()));
        let five = [one(1.0), one(1.0), one(9.0), one(1.0), one(1.0)];
        let found = of(&five, r#"{"window":"10s","groups":[["a","b","c"],["d"]]}"#);
        // The mean distance of the group is 8/3, as half of it are equal.
        assert!((found[2] - 3.0 / OF_MEAN).abs() < 1e-12, "{found:?}");
        assert!(found[..2].iter().all(|it| *it == 0.0));
        assert!(found[3].is_nan() && found[4].is_nan());
    }

    #[test]
    fn entities_that_come_later_or_have_gaps_are_compared_at_their_own_times() {
        let found = of(
            &[(0, vec![1.0, 2.0, 3.0]), (1, vec![2.5, 3.5]), (1, vec![1.0, f64::NAN])],
            r#"{"window":"10s"}"#,
        );
        let there: Vec<bool> = found.iter().map(|it| !it.is_nan()).collect();
        assert_eq!(
            there,
            [false, true, false, true, false, true, false],
            "only one time has three"
        );
        assert!(found[1].abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn difference_in_a_constant_column_is_capped() {
        let found = of(&[(0, vec![0.0]), (0, vec![0.0]), (0, vec![0.0])], r#"{"window":"10s"}"#);
        assert!(found.iter().all(|it| *it == 0.0));
        let grown = of(
            &[(0, vec![5.0, 5.0]), (0, vec![5.0, 5.0]), (0, vec![5.0, 5.2])],
            r#"{"window":"20s","min_spread_ratio":0.01}"#,
        );
        assert!(grown[5] > 1.0 && grown[5] <= 10.0, "{grown:?}");
    }

    #[test]
    fn entity_that_always_differs_is_seen_with_its_own_usual_distance_once_it_changes() {
        // Unlike levels, and a scatter of 1 that the nodes have in common in part.
        let wobble = |row: u32, node: u32| f64::from((row * 7 + node * 3) % 5) / 2.0;
        let series = |node: u32, level: f64| -> (i64, Vec<f64>) {
            let at = |row: u32| {
                level + wobble(row, node) + if node == 2 && row > 55 { 6.0 } else { 0.0 }
            };
            (0, (0..60).map(at).collect())
        };
        let nodes = [series(0, 100.0), series(1, 130.0), series(2, 170.0)];
        let whole = of(&nodes, r#"{"window":"10m"}"#);
        let own = of(&nodes, r#"{"window":"10m","own":true}"#);
        let last = |found: &[f64], node: usize| found[60 * node + 59];
        assert!(last(&whole, 2) < 1.5 * whole[60 * 2 + 50], "hidden: {}", last(&whole, 2));
        assert!(last(&own, 2) > 3.0, "{}", last(&own, 2));
        assert!(last(&own, 0).abs() < 2.5 && last(&own, 1).abs() < 2.5, "{own:?}");
        // A quarter of ten minutes.
        assert!(own[13].is_nan() && !own[14].is_nan(), "{own:?}");
    }

    #[test]
    fn departure_of_more_than_half_of_the_window_has_become_usual() {
        let flat = |level: f64| (0, vec![level; 60]);
        let stepped = (0, (0..60).map(|row| if row < 20 { 5.0 } else { 9.0 }).collect());
        let found = of(&[flat(5.0), flat(6.0), stepped], r#"{"window":"5m","own":true}"#);
        assert!(found[120 + 20] > 5.0, "{}", found[120 + 20]);
        assert!(found[120 + 59].abs() < 1e-9, "{}", found[120 + 59]);
    }

    proptest! {
        #[test]
        fn a_third_of_faulty_nodes_does_not_move_the_others(
            nodes in 3_usize..13, noise in proptest::collection::vec(-1.0_f64..1.0, 13 * 20),
            size in prop_oneof![Just(1e3_f64), Just(-1e3), Just(1e9)],
        ) {
            let faulty = nodes / 3;
            let series: Vec<(i64, Vec<f64>)> = (0..nodes)
                .map(|node| {
                    let extra = if node < faulty { size } else { 0.0 };
                    (0, (0..20).map(|row| 100.0 + noise[20 * node + row] + extra).collect())
                })
                .collect();
            let found = of(&series, r#"{"window":"200s","clip":1e6}"#);
            for (node, values) in found.chunks(20).enumerate() {
                let last = values[19].abs();
                // The spread is at least 1 % of the median, and a good node is within 2 of it.
                if node < faulty {
                    prop_assert!(last > 300.0, "node {node} of {nodes}: {last}");
                } else {
                    prop_assert!(last <= 2.1, "node {node} of {nodes}: {last}");
                }
            }
        }

        #[test]
        fn a_row_alone_with_its_lookback_is_as_in_a_batch(
            noise in proptest::collection::vec(-1.0_f64..1.0, 90), cut in 0_usize..24,
        ) {
            let series = |from: usize| -> Vec<(i64, Vec<f64>)> {
                let start = i64::try_from(from).unwrap();
                (0..3).map(|node| (start, noise[30 * node + from..30 * (node + 1)].to_vec())).collect()
            };
            for yaml in [r#"{"window":"60s"}"#, r#"{"window":"60s","own":true}"#] {
                let (all, part) = (of(&series(0), yaml), of(&series(cut), yaml));
                for node in 0..3 {
                    let (whole, tick) = (all[30 * node + 29], part[(30 - cut) * node + 29 - cut]);
                    prop_assert_eq!(whole.to_bits(), tick.to_bits());
                }
            }
        }
    }
}
