//! Compares features with values computed by pandas; `data/make_rolling.py` created them.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;

use contract::Timestamp;
use frames::{Column, FeatureTable, Samples, Table};

const REFERENCE: &str = include_str!("data/rolling.csv");
const ROWS: [usize; 5] = [1, 2, 5, 12, 30];

fn reference() -> BTreeMap<String, Vec<f64>> {
    let mut lines = REFERENCE.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut columns = vec![Vec::new(); names.len()];
    for line in lines {
        for (values, field) in columns.iter_mut().zip(line.split(',')) {
            values.push(if field.is_empty() { f64::NAN } else { field.parse().unwrap() });
        }
    }
    names.into_iter().map(str::to_owned).zip(columns).collect()
}

fn features(values: &[f64]) -> FeatureTable {
    let statistics = "[mean, std, min, max, {quantile: 0.9}, {quantile: 0.5}]";
    let rules =
        ROWS.map(|rows| format!("{{rolling: {{window: {rows}m, statistics: {statistics}}}}}"));
    let text = format!(
        "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {{main: {{table: {{path: t, time: t}}}}}}\n\
         features: [{}, {{difference: {{lag: 3m}}}}]\nmodels: {{z_score: {{}}}}\n\
         vote: {{combine: mean, threshold: {{quantile: {{share: 0.99}}}}}}\n",
        rules.join(", ")
    );
    let document = document::parse("reference.yaml", &text).unwrap().into();
    let rows = i64::try_from(values.len()).unwrap();
    let table = Table {
        times: (0..rows).map(|row| Timestamp::from_ms(60_000 * row)).collect(),
        entity: vec![0; values.len()],
        entities: vec![String::new()],
        columns: vec![Column { name: "value".into(), values: values.to_vec() }],
    };
    feature::features(&document, Samples { table, labels: None }, None).unwrap().0
}

/// Returns whether two values are equal except for rounding; `scale` is the scale of the input
/// values.
fn near(found: f64, expected: f64, scale: f64) -> bool {
    (found.is_nan() && expected.is_nan()) || (found - expected).abs() <= 1e-13 * scale
}

#[test]
fn rolling_statistics_and_differences_are_those_of_pandas() {
    let reference = reference();
    let table = features(&reference["value"]);
    let mut compared = 0;
    for Column { name, values } in &table.table.columns {
        // `value_mean_5m` is the reference's `mean_5`.
        let key = name.trim_start_matches("value_").trim_end_matches('m');
        for (row, (found, expected)) in values.iter().zip(&reference[key]).enumerate() {
            assert!(near(*found, *expected, 1e3), "{name} row {row}: {found}, expected {expected}");
            compared += usize::from(!expected.is_nan());
        }
    }
    assert!(compared > 4000, "{compared} figures compared");
}

#[test]
fn order_statistics_are_those_of_pandas_to_the_last_bit() {
    let reference = reference();
    let table = features(&reference["value"]);
    for rows in ROWS {
        for statistic in ["min", "max"] {
            let found = &table.table.column(&format!("value_{statistic}_{rows}m")).unwrap().values;
            let expected = &reference[&format!("{statistic}_{rows}")];
            let bits = |values: &[f64]| {
                values.iter().map(|v| (!v.is_nan()).then(|| v.to_bits())).collect::<Vec<_>>()
            };
            assert_eq!(bits(found), bits(expected), "{statistic} of {rows} rows");
        }
    }
}
