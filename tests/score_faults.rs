//! Does scoring survive kills, races and outages?

mod killed;
mod outages;
mod place;
#[path = "support/small_model.rs"]
mod small_model;
mod stopped;
mod watched;

use std::collections::BTreeMap;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use anyhow::ensure;
use place::{Place, command};
use rand::{Rng as _, SeedableRng as _};

use crate::fault_proxy::{Fault, FaultProxy};
use crate::prometheus;
use crate::workspace::{Workspace, differences, kill};

const TICKS: i64 = 200;
const KILLS: usize = 100;

#[test]
fn a_hundred_kills_in_two_hundred_ticks_change_no_score_and_no_alarm() -> anyhow::Result<()> {
    let (undisturbed, killed) = (Place::new(TICKS)?, Place::new(TICKS)?);
    for number in (110..=100 + TICKS).step_by(10) {
        undisturbed.tick(number)?;
    }
    let started = Instant::now();
    killed.tick(101)?;
    let mut length = started.elapsed() / 2;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let (mut kills, mut kills_of_alert) = (0, 0);
    for number in 102..=100 + TICKS {
        // Kills up to a total of one hundred; at most three in a row, then possibly a tick that
        // ends.
        for _ in 0..3 {
            if kills == KILLS || random.random_bool(0.3) {
                break;
            }
            let after = length.mul_f64(random.random_range(0.1..1.0));
            let of_score = random.random_bool(0.5);
            let running = if of_score {
                kill(&mut command(&killed.score(number))?, after)?
            } else {
                command(&killed.score(number))?.output()?;
                kill(&mut command(&killed.alert(number))?, after)?
            };
            kills += usize::from(running);
            kills_of_alert += usize::from(running && !of_score);
            // The load of the machine varies, so the length is adjusted to keep the kills within
            // the step.
            length = length.mul_f64(if running { 1.05 } else { 0.8 });
        }
        if random.random_bool(0.5) || number == 100 + TICKS {
            killed.tick(number)?;
        }
    }
    ensure!(kills == KILLS, "only {kills} were quick enough");
    assert_eq!(differences(&undisturbed.scored()?, &killed.scored()?), [""; 0]);
    let windows = killed.scored()?.keys().filter(|name| name.starts_with("scores/")).count();
    assert_eq!(i64::try_from(windows)?, TICKS, "one score a window");
    let (expected, none_twice) = undisturbed.told()?;
    let (told, repeated) = killed.told()?;
    assert_eq!((told, none_twice), (expected, 0));
    ensure!(repeated <= kills_of_alert, "{repeated} repeats of {kills_of_alert} kills");
    Ok(())
}

#[test]
fn two_concurrent_schedulers_score_and_notify_each_window_once() -> anyhow::Result<()> {
    let (one, two) = (Place::new(TICKS)?, Place::new(TICKS)?);
    let mut lost = 0;
    for number in (105..=100 + TICKS).step_by(15) {
        one.tick(number)?;
        for step in [two.score(number), two.alert(number)] {
            let first = command(&step)?.spawn()?;
            let second = command(&step)?.spawn()?;
            for child in [first, second] {
                let output = child.wait_with_output()?;
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                lost += usize::from(code(output.status) == 5);
                ensure!([0, 4, 5].contains(&code(output.status)), "{said}");
            }
        }
        // The next tick does the remaining work of both.
        two.tick(number)?;
    }
    assert_eq!(differences(&one.scored()?, &two.scored()?), [""; 0], "{lost} races were lost");
    assert_eq!(two.told()?, one.told()?);
    Ok(())
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// A pipeline of two queries over the recorded server, trained on its first part.
fn trained(server: &prometheus::Prometheus) -> anyhow::Result<Workspace> {
    let workspace = Workspace::new()?;
    let text = "format: 1\nname: node\nstep: 10s\nrange: 20m\nrate_window: 1m\n\
        sources: {main: {prometheus: {url: 'http://127.0.0.1:1', retries: 0, timeout: 2s}, \
        queries: [{name: load, promql: 'sum(node_load1)'}, \
        {name: available_bytes, promql: 'sum(node_memory_MemAvailable_bytes)'}]}}\n\
        features: [raw: {}, {rolling: {window: 1m, statistics: [mean]}}]\nmodels: {z_score: {}}\n\
        vote: {combine: votes, threshold: {quantile: {share: 0.99}}}\n\
        gate: {max_false_alarm_ratio: 1}\n\
        scoring: {every: 1m, delay: 0s, catch_up: 2h}\n";
    fs_err::write(workspace.path().join("node.yaml"), text)?;
    let url = format!("sources.main.prometheus.url={}", server.url());
    workspace.run(&["run", "node.yaml", "--now", "2026-11-21T08:15:00Z", "--set", &url])?;
    Ok(workspace)
}

fn scored(workspace: &Workspace) -> anyhow::Result<BTreeMap<String, String>> {
    let promised = workspace.promised()?.into_iter();
    Ok(promised
        .filter(|(name, _)| name.starts_with("scores/") || name.contains("watermark"))
        .collect())
}

#[test]
fn hour_without_prometheus_and_store_is_caught_up() -> anyhow::Result<()> {
    let server = prometheus::Prometheus::start(&[])?;
    let url = format!("sources.main.prometheus.url={}", server.url());
    let (away, there) = (trained(&server)?, trained(&server)?);
    let tick =
        |at: &'static str| ["score", "node.yaml", "--at", at, "--since", "2026-11-21T08:15:00Z"];
    let up = |at: &'static str| [&tick(at)[..], &["--set", &url]].concat();
    for workspace in [&away, &there] {
        workspace.run(&up("2026-11-21T08:16:00Z"))?;
    }
    // No server answers: an external service failed, and the watermark did not move.
    let before = scored(&away)?;
    for at in ["2026-11-21T08:17:00Z", "2026-11-21T08:47:00Z", "2026-11-21T09:16:00Z"] {
        let output = away.output(&tick(at))?;
        assert_eq!(code(output.status), 4, "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(scored(&away)?, before);
    // The store, a bucket without a server, does not answer either.
    let silent = FaultProxy::start(None, &[], Fault::Silence)?;
    let slow = silent.url();
    let nobody = "http://127.0.0.1:1";
    for (arguments, endpoint) in [
        (&up("2026-11-21T09:16:00Z"), nobody),
        // Or a server that accepts requests and never answers: the tick still ends.
        (&up("2026-11-21T09:16:00Z"), slow.as_str()),
        (&tick("2026-11-21T09:16:00Z").to_vec(), nobody),
        (&tick("2026-11-21T09:16:00Z").to_vec(), slow.as_str()),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_lynceus"))
            .current_dir(away.path())
            .args(arguments)
            .args(["--retries", "0", "--store", "s3://bucket/prefix"])
            .envs([
                ("AWS_ENDPOINT_URL", endpoint),
                ("AWS_ACCESS_KEY_ID", "x"),
                ("AWS_SECRET_ACCESS_KEY", "x"),
                ("AWS_REGION", "us-east-1"),
                ("LYNCEUS_S3_REPLY_SECONDS", "1"),
            ])
            .output()?;
        assert_eq!(code(output.status), 4, "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(!silent.requests().is_empty());

    let caught_up = away.json(&[&up("2026-11-21T09:16:00Z")[..], &[]].concat())?;
    assert_eq!(caught_up["windows"], 360);
    for at in ["2026-11-21T08:17:00Z", "2026-11-21T08:47:00Z", "2026-11-21T09:16:00Z"] {
        there.run(&up(at))?;
    }
    assert_eq!(differences(&scored(&away)?, &scored(&there)?), [""; 0]);
    Ok(())
}
