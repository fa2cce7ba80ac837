//! Makes a samples file to measure steps on: noisy waves, seeded, with one gap in a thousand.
//!
//! `cargo run --release -p feature --example make_samples -- ENTITIES COLUMNS ROWS FILE [STEP_SECONDS]`
//! makes ROWS rows of each entity, 10 seconds apart unless another step is given.

use contract::Timestamp;
use frames::SamplesWriter;
use frames::samples::SampleRows;

/// 2026-11-21T00:00:00Z.
const START_MS: i64 = 1_795_219_200_000;
const STEP_SECONDS: i64 = 10;
/// Rows that are made at a time.
const PART_ROWS: usize = 32 * 1024;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [entities, columns, rows, path, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("usage: make_samples ENTITIES COLUMNS ROWS FILE [STEP_SECONDS]");
    };
    let step_seconds = rest.first().map_or(Ok(STEP_SECONDS), |text| text.parse())?;
    let (entities, columns): (usize, usize) = (entities.parse()?, columns.parse()?);
    let rows: usize = rows.parse()?;
    let names: Vec<String> = (0..columns).map(|column| format!("column_{column}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut writer = SamplesWriter::create(path.as_ref(), &names, false)?;
    let mut random = Random(1);
    let at_once = (PART_ROWS / entities.max(1)).max(1);
    for first in (0..rows).step_by(at_once) {
        let mut part = SampleRows { columns: vec![Vec::new(); columns], ..SampleRows::default() };
        for row in first..rows.min(first + at_once) {
            for entity in 0..entities {
                let since_seconds = step_seconds * i64::try_from(row)?;
                part.times.push(Timestamp::from_ms(START_MS + 1000 * since_seconds));
                part.entities.push(format!("node-{entity:04}"));
                for (column, values) in part.columns.iter_mut().enumerate() {
                    let wave = ((row + 97 * column) as f64 / 900.0).sin();
                    let value = 10.0 + wave + random.next();
                    values.push((random.next() > 0.001).then_some(value));
                }
            }
        }
        writer.write(&part)?;
    }
    writer.publish()?;
    Ok(())
}

/// A linear congruential generator (Knuth's MMIX constants): enough to make numbers differ.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
