//! The property that training and scoring rely on: a window that is computed only from its lookback
//! has the same bits as in a batch.
#![expect(clippy::unwrap_used, reason = "a test may")]

use contract::{Span, Timestamp};
use document::sections::Feature;
use frames::{Column, FeatureTable, Samples, Table};
use proptest::prelude::*;

const STEP_MS: i64 = 60_000;
const ENTITIES: [&str; 3] = ["node-b", "node-a", "node-c"];

fn document(fill: &str, rules: &[String]) -> Feature {
    let text = format!(
        "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {{main: {{table: {{path: t, time: t}}}}}}\n\
         fill: {fill}\nfeatures: [{}]\nmodels: {{z_score: {{}}}}\n\
         vote: {{combine: mean, threshold: {{quantile: {{share: 0.99}}}}}}\n",
        rules.join(", ")
    );
    document::parse("law.yaml", &text).unwrap().into()
}

/// A sample: entity, grid time, and two values.
type Sample = (u32, i64, [f64; 2]);

fn samples(rows: &[Sample]) -> Samples {
    let column = |index: usize, name: &str| Column {
        name: name.to_owned(),
        values: rows.iter().map(|(.., values)| values[index]).collect(),
    };
    let table = Table {
        times: rows.iter().map(|(_, step, _)| Timestamp::from_ms(step * STEP_MS)).collect(),
        entity: rows.iter().map(|(entity, ..)| *entity).collect(),
        entities: ENTITIES.map(str::to_owned).to_vec(),
        columns: vec![column(0, "first"), column(1, "second")],
    };
    Samples { table, labels: None }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -1e3..1e3_f64,
        2 => (0..4_i32).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(0.1), Just(1e15), Just(-1e300), Just(1e-300)],
    ]
}

fn rows() -> impl Strategy<Value = Vec<Sample>> {
    prop::collection::vec((0..3_u32, 0..60_i64, [value(), value()]), 1..150)
}

fn rule() -> impl Strategy<Value = String> {
    let statistics = Just("[mean, std, min, max, {quantile: 0.9}, {quantile: 0.33}]");
    prop_oneof![
        Just("raw: {}".to_owned()),
        (1..20_u32, statistics, 0..=4_u32).prop_map(|(window, statistics, quarters)| format!(
            "rolling: {{window: {window}m, statistics: {statistics}, min_share: {}}}",
            f64::from(quarters) / 4.0
        )),
        (1..20_u32).prop_map(|lag| format!("difference: {{lag: {lag}m}}")),
        Just("rate: {}".to_owned()),
        Just("ratio: {name: first_ratio, numerator: first, denominator: second}".to_owned()),
        Just("calendar: {hour_of_day: true, day_of_week: true}".to_owned()),
    ]
    .prop_map(|rule| format!("{{{rule}}}"))
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(rule(), 1..5).prop_map(|mut rules| {
        rules.sort();
        // Two rolling windows or differences of the same length would give two features the same
        // name.
        rules.dedup_by_key(|rule| rule.split(", statistics").next().map(str::to_owned));
        rules
    })
}

fn fill() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("none"),
        Just("zero"),
        Just("drop_row"),
        Just("{forward: {max_windows: 1}}"),
        Just("{forward: {max_windows: 4}}"),
    ]
}

/// The row of an entity at a time, as bits; `None` if the table has none.
fn row(table: &FeatureTable, entity: &str, time: Timestamp) -> Option<(bool, Vec<u64>)> {
    let row = (0..table.rows())
        .find(|row| table.table.times[*row] == time && table.table.entity_of(*row) == entity)?;
    let bits = table.table.columns.iter().map(|column| column.values[row].to_bits());
    Some((table.warm_up[row], bits.collect()))
}

fn lookback(document: &Feature) -> Span {
    document::features::lookback(document.step, &document.features, &document.fill)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_window_alone_has_the_same_bits_as_in_a_batch(
        rows in rows(), rules in rules(), fill in fill()
    ) {
        let document = document(fill, &rules);
        let lookback = lookback(&document);
        let (batch, _) = feature::features(&document, samples(&rows), None).unwrap();
        let settled: Vec<usize> = (0..batch.rows()).filter(|row| !batch.warm_up[*row]).collect();
        for &index in settled.iter().step_by(settled.len() / 12 + 1) {
            let (time, entity) = (batch.table.times[index], batch.table.entity_of(index));
            let near: Vec<Sample> = rows
                .iter()
                .filter(|(_, step, _)| {
                    let sample = Timestamp::from_ms(step * STEP_MS);
                    sample <= time && time - sample <= lookback
                })
                .copied()
                .collect();
            let (alone, _) = feature::features(&document, samples(&near), None).unwrap();
            let Some((warm_up, bits)) = row(&alone, entity, time) else {
                // No sample at this very time: alone, the window has no row to compare.
                let of_entity = |sample: &Sample| ENTITIES[sample.0 as usize] == entity;
                let there = near.iter().any(|s| of_entity(s) && s.1 * STEP_MS == time.ms());
                prop_assert!(!there, "{} {}", entity, time);
                continue;
            };
            if warm_up && fill == "zero" {
                // The lookback begins with a gap: computed alone, the window has no information
                // about the fill.
                continue;
            }
            let expected = row(&batch, entity, time).unwrap().1;
            prop_assert_eq!(bits, expected, "{} {} {:?}", entity, time, rules);
        }
    }

    #[test]
    fn a_complete_window_alone_is_no_warm_up(length in 1..40_i64, rules in rules()) {
        let document = document("none", &rules);
        let lookback = lookback(&document).in_steps(document.step);
        let rows: Vec<Sample> = (0..length).map(|step| (0, step, [1.0, 2.0])).collect();
        let (table, _) = feature::features(&document, samples(&rows), None).unwrap();
        let warm_up = table.warm_up.iter().filter(|warm_up| **warm_up).count();
        prop_assert_eq!(warm_up, lookback.min(rows.len()));
    }

    #[test]
    fn neither_threads_nor_the_order_of_samples_change_a_bit(
        rows in rows(), rules in rules(), fill in fill()
    ) {
        let mut distinct = rows;
        distinct.sort_by_key(|(entity, step, _)| (*entity, *step));
        distinct.dedup_by_key(|(entity, step, _)| (*entity, *step));
        let mut reversed = distinct.clone();
        reversed.reverse();
        let document = document(fill, &rules);
        let bits = |rows: &[Sample], threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let made = pool.install(|| feature::features(&document, samples(rows), None));
            let table = made.unwrap().0;
            let columns = table.table.columns.iter();
            let bits: Vec<Vec<u64>> =
                columns.map(|c| c.values.iter().map(|v| v.to_bits()).collect()).collect();
            (table.table.times, table.table.entity, table.table.entities, table.warm_up, bits)
        };
        prop_assert_eq!(bits(&distinct, 1), bits(&reversed, 3));
    }
}
