//! What `tests/bench/nodes.sh` measures: a thousand nodes that are scraped at once, and their samples.
//!
//! ```text
//! nodes scrape BODY NODES STEPS       serves a reply of node_exporter as so many nodes, and records
//!                                     them so often; prints seconds and rows of each step
//! nodes record STORE NODES MINUTES    writes what a recorder would have: 24 columns every 10 s
//! ```
#![expect(clippy::print_stdout, reason = "what was measured is the output")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use collect::follow::{Recorder, Recording};
use collect::recorded::{Appender, Outbox, Place};
use contract::{Span, Timestamp};
use document::sections::Collect;
use document::sources::exporter::ExporterSource;
use frames::samples::SampleRows;

/// 2026-11-21T00:00:00Z.
const BEGIN_MS: i64 = 1_795_219_200_000;
const STEP: Span = Span::from_seconds(10);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["scrape", body, nodes, steps] => scrape(Path::new(body), nodes.parse()?, steps.parse()?),
        ["record", store, nodes, minutes] => record(store, nodes.parse()?, minutes.parse()?),
        _ => bail!("scrape BODY NODES STEPS, or record STORE NODES MINUTES"),
    }
}

/// The address of a node: each has its own, so that none shares a connection.
fn address(node: usize) -> String {
    format!("127.1.{}.{}", node / 250, node % 250 + 1)
}

fn scrape(body: &Path, nodes: usize, steps: usize) -> Result<()> {
    let body = Arc::new(fs_err::read_to_string(body)?);
    ensure!(body.contains("nodename=\""), "the reply has no node_uname_info");
    let listener = Arc::new(TcpListener::bind("0.0.0.0:0")?);
    let port = listener.local_addr()?.port();
    for _ in 0..4 {
        let (listener, body) = (Arc::clone(&listener), Arc::clone(&body));
        std::thread::spawn(move || {
            // A client that went away is none of a server's business.
            listener.incoming().flatten().for_each(|stream| drop(answer(stream, &body)));
        });
    }
    let folder = tempfile::tempdir()?;
    let mut urls = String::new();
    for node in 0..nodes {
        writeln!(urls, "http://{}:{port}/metrics", address(node))?;
    }
    fs_err::write(folder.path().join("nodes.txt"), urls)?;
    let text = "format: 1\nname: node\nstep: 10s\nrange: 1h\n\
        sources: {metrics: {exporter: {file: nodes.txt}, entity: {labels: [nodename]}}}\n\
        features: [raw]\nmodels: {z_score: {}}\n\
        vote: {combine: votes, threshold: {quantile: {share: 0.99}}}\n";
    let document: Collect = document::parse("nodes.yaml", text)?.into();
    let (exports, spool) = (BTreeMap::new(), folder.path().join("spool"));
    let mut recorder = Recorder::open(Recording {
        document: &document,
        exports: &exports,
        folder: folder.path(),
        store: store::open(&format!("file://{}", folder.path().join("store").display()))?.into(),
        recorder: "central",
        spool: &spool,
    })?;
    for step in 1..=i64::try_from(steps)? {
        let begin = Instant::now();
        let taken =
            recorder.step(Timestamp::from_ms(BEGIN_MS) + Span::from_ms(step * STEP.ms()))?;
        let seconds = begin.elapsed().as_secs_f64();
        let failed = taken.failures.len();
        println!("{nodes} nodes: {} rows, {failed} failures, {seconds:.3} s", taken.rows);
        if let Some(first) = taken.failures.first() {
            println!("  {first}");
        }
    }
    Ok(())
}

/// Answers as the node whose address was asked.
fn answer(mut stream: TcpStream, body: &str) -> Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the client is gone");
        request.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    let IpAddr::V4(address) = stream.local_addr()?.ip() else { bail!("not by IPv4") };
    let (before, name) = body.split_once("nodename=\"").context("no nodename")?;
    let (_, after) = name.split_once('"').context("no nodename")?;
    let node = format!("nodename=\"node-{address}\"");
    let length = before.len() + node.len() + after.len();
    // In one write: the small pieces of a reply would wait for each other's acknowledgement.
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{before}{node}{after}"
    );
    stream.write_all(reply.as_bytes())?;
    Ok(())
}

fn record(store: &str, nodes: usize, minutes: i64) -> Result<()> {
    let store = store::open(store)?;
    let place = Place {
        pipeline: "nodes".to_owned(),
        source: "metrics".to_owned(),
        recorder: "central".to_owned(),
    };
    let columns: Vec<String> =
        ExporterSource::default().metrics.into_iter().map(|metric| metric.name).collect();
    let width = columns.len();
    let spool = tempfile::tempdir()?;
    let mut appender = Appender::open(columns, spool.path(), Vec::new())?;
    let outbox = Outbox::new(spool.path());
    let mut seed = 1_u64;
    let mut noise = move || {
        // Numerical Recipes' generator: what is measured is time, not chance.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f64 / f64::from(1_u32 << 24)
    };
    for step in 1..=minutes * 6 {
        let time = Timestamp::from_ms(BEGIN_MS) + Span::from_ms(step * STEP.ms());
        let column = |column: usize| (0..nodes).map(move |node| (column * node) as f64);
        let rows = SampleRows {
            times: vec![time; nodes],
            entities: (0..nodes).map(|node| format!("node-{node:04}")).collect(),
            columns: (0..width)
                .map(|index| column(index).map(|level| Some(level + noise())).collect())
                .collect(),
            ..SampleRows::default()
        };
        appender.append(&rows)?;
    }
    appender.close()?;
    let sent = outbox.send(store.as_ref(), &place)?;
    println!("{nodes} nodes, {minutes} minutes: {} segments", sent.segments);
    Ok(())
}
