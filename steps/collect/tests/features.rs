//! The source `features`: point-in-time joins of feature groups, and pinned parts.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use contract::catalog::{GroupVersion, Origin, Part, PartStatistics, Pins};
use contract::{FeatureColumn, FeatureContract, Span, Timestamp, artifact, read_json, write_json};
use frames::{Column, FeatureTable, Table};
use proptest::prelude::*;
use store::{Catalog, ObjectStore};
use support::Place;

const STEP: Span = Span::from_seconds(60);
const DAY: Span = Span::from_seconds(86_400);

/// 2026-11-20T23:30:00Z: half an hour before a midnight.
const START: Timestamp = Timestamp::from_ms(1_795_217_400_000);

/// A row: minutes after the start, entity, value.
type Row = (i64, u8, f64);

fn time(minute: i64) -> Timestamp {
    START + Span::from_seconds(60 * minute)
}

fn contract(name: &str) -> FeatureContract {
    FeatureContract {
        format: FeatureContract::FORMAT,
        step: STEP,
        lookback: Span::ZERO,
        fill: "none".to_owned(),
        columns: vec![FeatureColumn {
            name: name.to_owned(),
            unit: String::new(),
            formula: "sample".to_owned(),
        }],
    }
}

/// Publishes rows as a group with the feature `name`, part by part.
fn publish(
    place: &Place,
    store: &dyn ObjectStore,
    (group, name): (&str, &str),
    rows: &[Row],
) -> Result<()> {
    let catalog = Catalog::new(store);
    let contract = contract(name);
    let origin = Origin {
        pipeline: "x".to_owned(),
        run: "r".to_owned(),
        now: START,
        document_sha256: String::new(),
    };
    catalog.create(&GroupVersion {
        format: GroupVersion::FORMAT,
        group: group.to_owned(),
        version: 1,
        contract_sha256: contract.sha256()?,
        contract: contract.clone(),
        labelled: false,
        description: String::new(),
        owner: String::new(),
        tags: Vec::new(),
        why: "test".to_owned(),
        origin: origin.clone(),
    })?;
    // If two rows have the same time and entity, the last one counts.
    let rows: BTreeMap<(i64, u8), f64> =
        rows.iter().map(|(minute, entity, value)| ((*minute, *entity), *value)).collect();
    let mut days: BTreeMap<Timestamp, Vec<(Timestamp, u8, f64)>> = BTreeMap::new();
    for ((minute, entity), value) in rows {
        days.entry(time(minute).floor(DAY)).or_default().push((time(minute), entity, value));
    }
    for (day, rows) in days {
        let mut table = Table::empty([]);
        table.columns.push(Column { name: name.to_owned(), values: Vec::new() });
        for (time, entity, value) in &rows {
            table.times.push(*time);
            let index = table.entity_index(&format!("e{entity}"));
            table.entity.push(index);
            table.columns[0].values.push(*value);
        }
        let warm_up = vec![false; rows.len()];
        let table = FeatureTable { contract: contract.clone(), table, warm_up, labels: None };
        let path = place.path("part.parquet");
        table.write(&path)?;
        let bytes = fs_err::read(&path)?;
        catalog.put_rows(group, 1, &day.date(), &bytes)?;
        let part = Part {
            format: Part::FORMAT,
            date: day.date(),
            sha256: artifact::sha256(&bytes),
            size_bytes: bytes.len() as u64,
            rows: rows.len() as u64,
            entities: 1,
            first: rows.first().context("a day has rows")?.0,
            last: rows.last().context("a day has rows")?.0,
            is_whole: false,
            origin: Some(origin.clone()),
        };
        let statistics = PartStatistics { format: 1, rows: part.rows, columns: Vec::new() };
        catalog.put_part(group, 1, &part, &statistics)?;
    }
    Ok(())
}

fn place(ttl_minutes: i64) -> Result<(Place, String)> {
    let place = Place::new(&format!(
        "step: 1m\nrange: 1h\nsources:\n  \
         a: {{features: {{group: ga, version: 1, columns: [x]}}}}\n  \
         b: {{features: {{group: gb, version: 1, ttl: {ttl_minutes}m, columns: [y]}}}}"
    ))?;
    let url = format!("file://{}", place.path("store").display());
    Ok((place, url))
}

/// The rows of the samples: minute and entity, with both values; `None` is a gap.
type Joined = BTreeMap<(i64, String), (Option<f64>, Option<f64>)>;

fn joined(place: &Place, url: &str, flags: &[&str]) -> Result<Joined> {
    let flags = [&["--recorded", url], flags].concat();
    let samples = place.samples(&time(60).to_string(), &flags)?;
    let table = &samples.table;
    let value = |name: &str, row: usize| {
        table.column(name).map(|column| column.values[row]).filter(|value| !value.is_nan())
    };
    let row = |row: usize| {
        let minute = (table.times[row] - START).ms() / 60_000;
        ((minute, table.entity_of(row).to_owned()), (value("x", row), value("y", row)))
    };
    Ok((0..table.rows()).map(row).collect())
}

/// Expected result of the join, computed by checking every row for every window.
fn expected(a: &[Row], b: &[Row], ttl_minutes: i64) -> Joined {
    let last = |rows: &[Row], minute: i64, entity: u8, age: i64| {
        let of = rows.iter().filter(|row| {
            row.1 == entity && row.0 <= minute && (row.0 == minute || minute - row.0 < age)
        });
        of.max_by_key(|row| row.0).map(|row| row.2)
    };
    // The longest lookback begins before the range, as do the rows of other sources.
    let windows = 1..=60;
    let mut joined = Joined::new();
    for minute in windows {
        for entity in 0..3 {
            let has = |rows: &[Row]| rows.iter().any(|row| row.0 == minute && row.1 == entity);
            if has(a) || has(b) {
                let values = (last(a, minute, entity, 0), last(b, minute, entity, ttl_minutes));
                joined.insert((minute, format!("e{entity}")), values);
            }
        }
    }
    joined
}

/// Rows of distinct times and entities.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    proptest::collection::btree_map((-20_i64..90, 0_u8..3), -100.0..100.0, 1..60).prop_map(|rows| {
        rows.into_iter().map(|((minute, entity), value)| (minute, entity, value)).collect()
    })
}

fn made(a: &[Row], b: &[Row], ttl_minutes: i64) -> Result<Option<Joined>> {
    let (place, url) = place(ttl_minutes)?;
    let store = store::open(&url)?;
    publish(&place, store.as_ref(), ("ga", "x"), a)?;
    publish(&place, store.as_ref(), ("gb", "y"), b)?;
    // A group without a row in the range refuses the training.
    let is_there = |rows: &[Row], reach: i64| rows.iter().any(|row| -reach < row.0 && row.0 <= 60);
    if !is_there(a, 0) || !is_there(b, ttl_minutes) {
        place.fails_keeping(&time(60).to_string(), &["--recorded", &url], 3)?;
        return Ok(None);
    }
    let mut joined = joined(&place, &url, &[])?;
    // Windows before the range come from rows that are read for its first windows.
    joined.retain(|(minute, _), _| *minute > 0);
    Ok(Some(joined))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn window_takes_the_last_row_within_the_ttl_and_never_a_later_one(
        a in rows(), b in rows(), ttl in 0_i64..30,
    ) {
        if let Some(joined) = made(&a, &b, ttl).unwrap() {
            prop_assert_eq!(joined, expected(&a, &b, ttl));
        }
    }

    #[test]
    fn rows_after_a_time_change_no_window_up_to_it(
        a in rows(), b in rows(), ttl in 1_i64..30, cut in 5_i64..55, change in 1.0..9.0,
    ) {
        let later = |rows: &[Row]| {
            let change = |row: &Row| if row.0 > cut { (row.0, row.1, row.2 + change) } else { *row };
            rows.iter().map(change).collect::<Vec<Row>>()
        };
        let until = |joined: Option<Joined>| {
            joined.map(|it| it.into_iter().filter(|((minute, _), _)| *minute <= cut).collect::<Joined>())
        };
        let before = until(made(&a, &b, ttl).unwrap());
        prop_assert_eq!(before, until(made(&later(&a), &later(&b), ttl).unwrap()));
    }
}

#[test]
fn pinned_parts_are_read_despite_later_ones_and_changed_ones_are_refused() -> Result<()> {
    let (place, url) = place(10)?;
    let store = store::open(&url)?;
    publish(&place, store.as_ref(), ("ga", "x"), &[(5, 0, 1.0), (40, 0, 2.0)])?;
    publish(&place, store.as_ref(), ("gb", "y"), &[(4, 0, 3.0)])?;
    let first = joined(&place, &url, &[])?;
    let outcome = place.outcome()?;
    let read = &outcome["details"][Pins::DETAIL];
    assert_eq!(read["a"].as_array().map(Vec::len), Some(2), "{read}");
    assert_eq!(read["a"][1]["date"], "2026-11-21");
    let pins = Pins { format: Pins::FORMAT, sources: serde_json::from_value(read.clone())? };
    write_json(&place.path("pins.json"), &pins)?;
    publish(&place, store.as_ref(), ("gb", "y"), &[(39, 0, 4.0)])?;
    let flags = ["--pins", "pins.json"];
    assert_eq!(joined(&place, &url, &flags)?, first, "the later part is not read");
    let second = joined(&place, &url, &[])?;
    assert_eq!(second[&(40, "e0".to_owned())], (Some(2.0), Some(4.0)));
    assert_eq!(first[&(40, "e0".to_owned())], (Some(2.0), None));
    let damaged = place.path("store/catalog/ga/1/date=2026-11-21/part.parquet");
    fs_err::write(&damaged, b"other")?;
    fs_err::remove_file(place.path("samples.parquet"))?;
    let said =
        place.fails(&time(60).to_string(), &["--recorded", &url, "--pins", "pins.json"], 3)?;
    ensure!(said.contains("is pinned") && said.contains("ga/1"), "{said}");
    let pins: Pins = read_json(&place.path("pins.json"))?;
    let other = Pins { sources: [("c".to_owned(), Vec::new())].into(), ..pins };
    write_json(&place.path("pins.json"), &other)?;
    let said =
        place.fails(&time(60).to_string(), &["--recorded", &url, "--pins", "pins.json"], 2)?;
    ensure!(said.contains("`a`") && said.contains("--pins"), "{said}");
    Ok(())
}

#[test]
fn missing_group_version_or_feature_error_lists_existing_ones() -> Result<()> {
    let (place, url) = place(10)?;
    let store = store::open(&url)?;
    let now = time(60).to_string();
    let said = place.fails(&now, &[], 2)?;
    ensure!(said.contains("--recorded"), "{said}");
    publish(&place, store.as_ref(), ("gb", "y"), &[(5, 0, 1.0)])?;
    let said = place.fails(&now, &["--recorded", &url], 2)?;
    ensure!(said.contains("no feature group `ga`") && said.contains("gb"), "{said}");
    publish(&place, store.as_ref(), ("ga", "z"), &[(5, 0, 1.0)])?;
    let said = place.fails(&now, &["--recorded", &url], 2)?;
    ensure!(said.contains("no feature `x`") && said.contains("are z"), "{said}");
    Ok(())
}
