//! Fills a folder store with the scores of many days, for `tests/bench/report.sh`.
//!
//!     fill FOLDER DAYS ENTITIES

use std::path::Path;

use anyhow::{Context as _, Result};
use contract::score::{Cause, EntityScore, MemberScore, Verdict, WindowScore};
use contract::{Decimal, Span, Timestamp};

const DOCUMENT: &str = "format: 1\nname: large\nstep: 1m\nrange: 1d\n\
    sources: {main: {recording: {path: r}, queries: [{name: load, promql: node_load1}]}}\n\
    features: [raw]\nmodels: {z_score: {}}\nvote: {combine: votes, threshold: {quantile: {share: 0.99}}}\n";
const START: &str = "2026-10-01T00:00:00Z";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, days, entities] = arguments.as_slice() else {
        anyhow::bail!("usage: fill FOLDER DAYS ENTITIES");
    };
    let (folder, days, entities) = (Path::new(folder), days.parse::<i64>()?, entities.parse()?);
    let start: Timestamp = START.parse().map_err(anyhow::Error::msg)?;
    fs_err::create_dir_all(folder)?;
    fs_err::write(folder.join("document.yaml"), DOCUMENT)?;
    for number in 1..=days * 1440 {
        let time = start + Span::from_seconds(60 * number);
        let scores = (0..entities).map(|entity| score(number, entity)).collect();
        let window = WindowScore::new("large", time, "20261001T000000Z-000000000000", scores);
        let path = folder.join(store::scores::key("large", time));
        fs_err::create_dir_all(path.parent().context("a key has a folder")?)?;
        fs_err::write(path, contract::artifact::json_bytes(&window)?)?;
    }
    Ok(())
}

/// One entity in fifty minutes is anomalous, and says why.
fn score(number: i64, entity: i64) -> EntityScore {
    let noise = ((number * 7919 + entity * 104_729) % 1009) as f64 / 1009.0;
    let anomalous = number % 50 == 0 && entity == number / 50 % 97;
    let decision = if anomalous { 40.0 + noise } else { 3.0 + 2.0 * noise };
    let cause = || Cause {
        feature: "node_load".to_owned(),
        share: 0.75,
        value: Some(decision),
        unit: "per_second".to_owned(),
        usual_low: 0.125,
        usual_high: 2.75,
    };
    let verdict = if anomalous { Verdict::Anomalous } else { Verdict::Normal };
    EntityScore {
        completeness: 1.0,
        votes: if anomalous { Decimal::ONE } else { Decimal::ZERO },
        members: vec![MemberScore {
            kind: "adaptive".to_owned(),
            decision,
            calibrated: if anomalous { 1.0 } else { noise },
            threshold: 7.713_452_119_812_34,
            vote: anomalous,
        }],
        causes: if anomalous { vec![cause()] } else { Vec::new() },
        ..EntityScore::bare(format!("node-{entity:03}"), verdict)
    }
}
