use contract::{Span, Timestamp};
use proptest::prelude::*;

use super::*;

fn rule(yaml: &str) -> Peers {
    serde_json::from_str(yaml).unwrap()
}

/// A grid of entities a, b, c, ... with these values, each starting at its step.
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
    deviations(&grid, &values, None, &rule, rows)
}

/// The deviations of entities whose groups are given by these columns.
fn grouped(series: &[(i64, Vec<f64>)], by: &[Vec<f64>], yaml: &str) -> Vec<f64> {
    let (grid, values) = grid(series);
    let rule = rule(yaml);
    let rows = rule.window.in_steps(grid.step);
    deviations(&grid, &values, Some(&by.concat()), &rule, rows)
}

#[test]
fn a_deviation_is_the_distance_from_the_median_in_spreads() {
    let one = |value: f64| (0, vec![value]);
    let found = of(&[one(10.0), one(12.0), one(11.0), one(30.0)], r#"{"window":"10s","clip":100}"#);
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
    // The mean distance of the group is 8/3, because half of its values are equal.
    assert!((found[2] - 3.0 / OF_MEAN).abs() < 1e-12, "{found:?}");
    assert!(found[..2].iter().all(|it| *it == 0.0));
    assert!(found[3].is_nan() && found[4].is_nan());
}

#[test]
fn groups_of_a_column_are_as_those_of_the_names_and_entities_without_one_are_another() {
    let one = |value: f64| (0, vec![value]);
    let nodes = [one(1.0), one(1.0), one(9.0), one(50.0), one(51.0), one(55.0), one(1.0)];
    let by: Vec<Vec<f64>> =
        [7.0, 7.0, 7.0, 3.0, 3.0, 3.0, f64::NAN].map(|group| vec![group]).to_vec();
    let found = grouped(&nodes, &by, r#"{"window":"10s"}"#);
    let names = of(&nodes, r#"{"window":"10s","groups":[["a","b","c"],["d","e","f"]]}"#);
    assert!(found[6].is_nan() && names[6].is_nan());
    assert_eq!(found[..6], names[..6]);
    let without = vec![vec![f64::NAN]; 7];
    assert_eq!(grouped(&nodes, &without, r#"{"window":"10s"}"#), of(&nodes, r#"{"window":"10s"}"#));
}

#[test]
fn node_of_another_role_is_usual_and_a_worker_that_departs_from_its_pool_is_not() {
    let wobble = |row: u32, node: u32| f64::from((row * 7 + node * 3) % 5) / 2.0;
    let series = |node: u32, level: f64, fault: f64| -> (i64, Vec<f64>) {
        let at = |row| level + wobble(row, node) + if row > 55 { fault } else { 0.0 };
        (0, (0..60).map(at).collect())
    };
    // Three nodes of the control plane at 10, four workers at 60; one of the workers changes to the
    // level of the control plane.
    let nodes: Vec<(i64, Vec<f64>)> = (0..7)
        .map(|node| match node {
            0..3 => series(node, 10.0, 0.0),
            6 => series(node, 60.0, -50.0),
            _ => series(node, 60.0, 0.0),
        })
        .collect();
    let by: Vec<Vec<f64>> = (0..7).map(|node| vec![f64::from(node / 3 > 0); 60]).collect();
    for yaml in [r#"{"window":"5m"}"#, r#"{"window":"5m","own":true}"#] {
        let found = grouped(&nodes, &by, yaml);
        let last = |node: usize| found[60 * node + 59].abs();
        assert!((0..6).all(|node| last(node) < 3.0), "{yaml}: {found:?}");
        assert!(last(6) >= 10.0, "{yaml}: {}", last(6));
    }
    let without = of(&nodes, r#"{"window":"5m"}"#);
    assert!(without[50].abs() >= 10.0, "the control plane departs: {}", without[50]);
}

#[test]
fn gap_in_the_group_keeps_the_past_and_a_changed_group_begins_anew() {
    let flat = |level: f64| (0, (0..30).map(|row| level + f64::from(row % 3)).collect());
    let nodes = [flat(5.0), flat(6.0), flat(7.0), flat(50.0), flat(51.0), flat(52.0), flat(8.0)];
    let mut by: Vec<Vec<f64>> = (0..6).map(|node| vec![f64::from(node / 3); 30]).collect();
    let gap = (0..30).map(|row| if row == 20 { f64::NAN } else { 0.0 }).collect();
    by.push(gap);
    let rule = r#"{"window":"200s","own":true}"#;
    let found = grouped(&nodes, &by, rule);
    let last = &found[180..];
    assert!(last[20].is_nan() && !last[21].is_nan(), "{last:?}");
    by[6] = (0..30).map(|row| f64::from(row >= 20)).collect();
    let found = grouped(&nodes, &by, rule);
    let last = &found[180..];
    assert!(!last[19].is_nan() && last[23].is_nan(), "four rows of the new group: {last:?}");
    assert!(last[24].abs() < 3.0, "usual for the new group: {last:?}");
}

#[test]
fn entities_that_come_later_or_have_gaps_are_compared_at_their_own_times() {
    let found = of(
        &[(0, vec![1.0, 2.0, 3.0]), (1, vec![2.5, 3.5]), (1, vec![1.0, f64::NAN])],
        r#"{"window":"10s"}"#,
    );
    let there: Vec<bool> = found.iter().map(|it| !it.is_nan()).collect();
    assert_eq!(there, [false, true, false, true, false, true, false], "only one time has three");
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
    // Different levels, and noise of amplitude 1 that the nodes partly share.
    let wobble = |row: u32, node: u32| f64::from((row * 7 + node * 3) % 5) / 2.0;
    let series = |node: u32, level: f64| -> (i64, Vec<f64>) {
        let at =
            |row: u32| level + wobble(row, node) + if node == 2 && row > 55 { 6.0 } else { 0.0 };
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
