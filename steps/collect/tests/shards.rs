//! One reading of the sources for all shards of a pipeline.

mod support;

#[expect(dead_code, reason = "this uses a part of it")]
#[path = "support/fake.rs"]
mod fake;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use contract::coverage::Coverage;
use contract::{Shard, ShardNumber, Timestamp, read_json};
use fake::{Answer, Asked, Fake, matrix};
use frames::Samples;
use store::Watermark;
use support::{Place, stderr};

const NOW: &str = "2026-11-30T12:00:00Z";
const PIPELINE: &str = "x";

/// Replies with a series of each of twelve nodes, four in each zone; the first node has no zone.
fn nodes(asked: &Asked) -> Answer {
    let series = (0..12).map(|node| {
        let zone = match node {
            0 => String::new(),
            node => format!(r#","zone":"z{}""#, node % 3),
        };
        let labels = format!(r#"{{"node":"n{node}"{zone}}}"#);
        asked.series(&labels, |time| Some((time + 7 * node) as f64))
    });
    matrix(&series.collect::<Vec<_>>())
}

fn place(fake: &Fake, rest: &str) -> Result<Place> {
    let url = fake.url();
    Place::new(&format!(
        "step: 1m\nrange: 2h\nsources: {{main: {{prometheus: {{url: '{url}'}}, queries: \
         [{{name: a, promql: a, entity: node}}, {{name: b, promql: b, entity: node}}]}}}}\n{rest}"
    ))
}

/// Collects, and returns the number of requests to the server.
fn collect(place: &Place, fake: &Fake, flags: &[&str]) -> Result<usize> {
    let before = fake.asked().len();
    let output = place.collect(NOW, flags)?;
    ensure!(output.status.success(), "{}", stderr(&output));
    Ok(fake.asked().len() - before)
}

fn entities(samples: &Samples) -> BTreeSet<String> {
    (0..samples.table.rows()).map(|row| samples.table.entity_of(row).to_owned()).collect()
}

#[test]
fn all_shards_of_one_reading_have_the_bytes_that_each_reads_alone() -> Result<()> {
    for rest in ["shards: {count: 3}", "shards: {count: 3, by: label, label: zone}"] {
        let fake = Fake::start(nodes)?;
        let (together, alone) = (place(&fake, rest)?, place(&fake, rest)?);
        let asked = collect(&together, &fake, &["--shards", "3"])?;
        assert_eq!(asked, 2, "once for each query");
        assert_eq!(together.outcome()?["counts"]["entities"], 12);
        let mut seen = BTreeSet::new();
        for shard in Shard::all(3) {
            let file = together.path("samples.parquet").join(format!("{}.parquet", shard.part()));
            let there = fs_err::read(&file)?;
            let samples = Samples::read(&file)?;
            assert!(samples.labels.is_none(), "the label of the shard is none of the rows");
            seen.extend(entities(&samples));
            let output = alone.collect(NOW, &["--shard", &shard.to_string()])?;
            if !output.status.success() {
                // No zone has this hash.
                assert!(entities(&samples).is_empty(), "{}", stderr(&output));
                continue;
            }
            assert!(there == fs_err::read(alone.path("samples.parquet"))?, "{rest} {shard}");
        }
        assert_eq!(seen.len(), 12);
    }
    Ok(())
}

#[test]
fn entities_with_one_value_of_the_label_share_a_shard() -> Result<()> {
    let fake = Fake::start(nodes)?;
    let place = place(&fake, "shards: {count: 2, by: label, label: zone}")?;
    let shards = Shard::all(2);
    let zones = ["", "z0", "z1", "z2"].map(|zone| usize::from(shards[1].holds(zone)));
    ensure!(zones.contains(&0) && zones.contains(&1), "one shard would be empty: {zones:?}");
    collect(&place, &fake, &["--shards", "2"])?;
    for shard in shards {
        let file = place.path("samples.parquet").join(format!("{}.parquet", shard.part()));
        let expected = (0..12).filter(|node: &i64| {
            let zone = if *node == 0 { String::new() } else { format!("z{}", node % 3) };
            shard.holds(&zone)
        });
        let expected: BTreeSet<String> = expected.map(|node| format!("n{node}")).collect();
        assert_eq!(entities(&Samples::read(&file)?), expected, "{shard}");
    }
    let warnings = place.outcome()?["warnings"].to_string();
    assert!(warnings.contains("no value of the label `zone`"), "{warnings}");
    Ok(())
}

/// Returns a query as it was before it became part of a form.
fn decoded(query: &str) -> String {
    let codes =
        [("%7B", "{"), ("%7D", "}"), ("%3D", "="), ("%7E", "~"), ("%22", "\""), ("%7C", "|")];
    codes.iter().fold(query.to_owned(), |query, (code, letter)| query.replace(code, letter))
}

#[test]
fn shard_of_named_values_asks_for_its_own_series_alone() -> Result<()> {
    let fake = Fake::start(nodes)?;
    let url = fake.url();
    let place = Place::new(&format!(
        "step: 1m\nrange: 2h\nsources: {{main: {{prometheus: {{url: '{url}'}}, queries: \
         [{{name: a, promql: 'a{{$shard}}', entity: node}}]}}}}\n\
         shards: {{count: 2, by: label, label: zone, values: [z0, z1, z2]}}"
    ))?;
    let queries = |flags: &[&str]| -> Result<Vec<String>> {
        let before = fake.asked().len();
        collect(&place, &fake, flags)?;
        Ok(fake.asked()[before..].iter().map(|asked| decoded(&asked.query)).collect())
    };
    assert_eq!(queries(&["--shard", "0/2"])?, [r#"a{zone=~"z0|z2"}"#]);
    let found = entities(&Samples::read(&place.path("samples.parquet"))?);
    // The test's server replies with all nodes: the node without a zone is in the shard of the
    // empty value.
    let own = |node: &i64| match node {
        0 => Shard::all(2)[0].holds(""),
        node => node % 3 != 1,
    };
    let expected: BTreeSet<String> = (0..12).filter(own).map(|node| format!("n{node}")).collect();
    assert_eq!(found, expected);
    assert_eq!(queries(&["--shard", "1/2"])?, [r#"a{zone=~"z1"}"#]);
    fs_err::remove_file(place.path("samples.parquet"))?;
    assert_eq!(queries(&["--shards", "2"])?, [r#"a{zone=~"z0|z1|z2"}"#]);
    Ok(())
}

#[test]
fn label_that_no_row_has_is_refused() -> Result<()> {
    let fake = Fake::start(nodes)?;
    let place = place(&fake, "shards: {count: 2, by: label, label: rack}")?;
    let output = place.collect(NOW, &["--shards", "2"])?;
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("no value of the label `rack`") && said.contains("by (...)"), "{said}");
    assert!(!place.path("samples.parquet").exists(), "nothing is half written");
    Ok(())
}

#[test]
fn shard_that_is_behind_is_read_apart_and_keeps_no_other_waiting() -> Result<()> {
    let fake = Fake::start(nodes)?;
    let place = place(&fake, "shards: {count: 3}\nscoring: {delay: 0s, catch_up: 1d}")?;
    let url = place.path("store").display().to_string();
    let now: Timestamp = NOW.parse().unwrap();
    for (shard, minutes) in Shard::all(3).into_iter().zip([1, 90, 1]) {
        let store = store::open_shard(&url, Some(shard))?;
        let behind = now - contract::Span::from_seconds(60 * minutes);
        store::watermark::write(store.as_ref(), PIPELINE, &Watermark::new(behind), None)?;
    }
    let flags = ["--shards", "3", "--store", &url, "--coverage", "coverage"];
    assert_eq!(collect(&place, &fake, &flags)?, 4, "two ranges of two queries");
    let rows = |index: u32| -> Result<usize> {
        let file = place.path("samples.parquet").join(format!("shard-{index}.parquet"));
        let samples = Samples::read(&file)?;
        let coverage: Coverage =
            read_json(&place.path("coverage").join(format!("shard-{index}.json")))?;
        assert_eq!(coverage.until, now);
        Ok(samples.table.rows() / entities(&samples).len())
    };
    assert_eq!([rows(0)?, rows(1)?, rows(2)?], [1, 90, 1]);

    // An unreadable watermark stops only its own shard, when it is scored.
    let broken = place.path("store/state/x/shard=1-of-3/watermark.safetensors");
    fs_err::write(broken, "no watermark")?;
    collect(&place, &fake, &flags)?;
    assert_eq!([rows(0)?, rows(1)?, rows(2)?], [1, 1, 1]);
    let warnings = place.outcome()?["warnings"].to_string();
    assert!(warnings.contains("shard 1/3"), "{warnings}");
    Ok(())
}

#[test]
fn open_number_of_a_training_is_that_of_the_entities_and_is_listed() -> Result<()> {
    let fake = Fake::start(nodes)?;
    let place = place(&fake, "shards: {count: auto}")?;
    let numbers = place.path("shards.json").display().to_string();
    collect(&place, &fake, &["--shards", "auto", "--numbers", &numbers])?;
    let list: Vec<ShardNumber> = read_json(place.path("shards.json").as_path())?;
    assert_eq!(list, [ShardNumber { index: 0, count: 1 }]);
    let samples = Samples::read(&place.path("samples.parquet").join("shard-0.parquet"))?;
    assert_eq!(entities(&samples).len(), 12, "the only shard has all entities");
    Ok(())
}

#[test]
fn list_of_shards_is_written_before_a_source_fails() -> Result<()> {
    let fake = Fake::start(|_| (400, "", b"bad data".to_vec()))?;
    let place = place(&fake, "shards: {count: 3}")?;
    let numbers = place.path("shards.json").display().to_string();
    let output = place.collect(NOW, &["--shards", "3", "--numbers", &numbers])?;
    assert!(!output.status.success());
    let list: Vec<ShardNumber> = read_json(place.path("shards.json").as_path())?;
    assert_eq!(list.len(), 3);
    Ok(())
}
