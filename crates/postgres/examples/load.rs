//! What `tests/bench/postgres.sh` measures: how fast rows of 24 numbers are loaded.
//!
//! ```text
//! load URL ROWS ROWS_AT_ONCE    loads rows of 1,000 nodes, 10 s apart, twice
//! ```
#![expect(clippy::print_stdout, reason = "what was measured is the output")]

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use contract::{Span, Timestamp};
use document::postgres::{PostgresServer, PostgresTls};
use postgres::{Column, Loader, Rows, Target, Values};

const NODES: usize = 1_000;
const COLUMNS: usize = 24;
/// 2026-11-21T00:00:00Z.
const BEGIN_MS: i64 = 1_795_219_200_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, rows, at_once] = arguments.as_slice() else { bail!("URL ROWS ROWS_AT_ONCE") };
    let (rows, at_once): (usize, usize) = (rows.parse()?, at_once.parse()?);
    let server = PostgresServer {
        url: url.clone(),
        password: None,
        tls: PostgresTls::Auto,
        ca_file: None,
        server_name: None,
        timeout: Span::from_seconds(60),
        in_cluster: None,
    };
    let target = Target {
        schema: "lynceus".to_owned(),
        table: "bench".to_owned(),
        views: false,
        retention: None,
    };
    let mut loader = Loader::connect("bench", &server, Path::new(""), target)?;
    let batches: Vec<Rows> =
        (0..rows).step_by(at_once).map(|first| batch(first, at_once)).collect();
    for name in ["new", "again"] {
        let begin = Instant::now();
        let mut changed = 0;
        for batch in &batches {
            changed += loader.load(batch)?.changed;
        }
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "{name}: {rows} rows, {changed} changed, {seconds:.3} s, {:.0} rows/s",
            rows as f64 / seconds
        );
    }
    Ok(())
}

fn batch(first: usize, count: usize) -> Rows {
    let numbers = |column: usize| {
        (first..first + count).map(move |row| Some((row * 31 + column * 7) as f64 / 3.0))
    };
    let time = |row: usize| {
        let steps = i64::try_from(row / NODES).unwrap_or(0);
        Timestamp::from_ms(BEGIN_MS + steps * 10_000)
    };
    Rows {
        times: (first..first + count).map(time).collect(),
        entities: (first..first + count).map(|row| format!("node-{}", row % NODES)).collect(),
        columns: (0..COLUMNS)
            .map(|column| Column {
                name: format!("metric_{column}"),
                values: Values::Numbers(numbers(column).collect()),
            })
            .collect(),
    }
}
