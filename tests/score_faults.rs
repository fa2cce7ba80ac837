//! Does scoring survive what happens to it: kills, races, outages?

#[path = "support/small_model.rs"]
mod small_model;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use contract::step::Common;
use contract::steps::{AlertArgs, ScoreArgs, StepCommand};
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use small_model::{bundle, candidate, document, features, minute};
use store::{Change, FolderStore, Registry, Watermark, watermark};

use crate::prometheus;
use crate::workspace::{Workspace, differences};

const TICKS: i64 = 200;
const KILLS: usize = 100;

/// A store with a live model that was scored to minute 100, and features of the minutes that follow.
struct Place {
    temp: tempfile::TempDir,
}

impl Place {
    fn new() -> anyhow::Result<Self> {
        let place = Self { temp: tempfile::tempdir()? };
        let file = place.path("cluster.yaml");
        document(&file)?;
        let alerts = "alerts: {for: 2, resolve_after: 2, cool_down: 3m, channels: [{file: {path: told.jsonl}}]}\n";
        fs_err::write(&file, fs_err::read_to_string(&file)? + alerts)?;
        let train = features(&(0..100).collect::<Vec<_>>(), &[""], &[]);
        candidate(&place.path("candidate"), &train)?;
        bundle(&place.path("bundle"), &place.path("candidate"), &file, &train, minute(100))?;
        let store = place.store()?;
        let registry = Registry::new(&store, "cluster");
        let version = registry.put_version(&place.path("bundle"))?;
        let now = minute(100);
        let change = Change { alias: "live", version: &version, now, by: "test", why: "a test" };
        registry.promote(&change, None)?;
        let start =
            Watermark { format: Watermark::FORMAT, scored_to: minute(100), state: Value::Null };
        watermark::write(&store, "cluster", &start, None)?;
        // Six minutes of anomaly, then six of quiet, for one of two entities.
        let anomalous: Vec<i64> = (100..=100 + TICKS).filter(|m| m / 6 % 2 == 1).collect();
        let minutes: Vec<i64> = (101..=100 + TICKS).collect();
        features(&minutes, &["a"], &anomalous).write(&place.path("features.parquet"))?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn store(&self) -> anyhow::Result<FolderStore> {
        Ok(FolderStore::open(&self.path("store"))?)
    }

    fn score(&self, number: i64) -> StepCommand {
        StepCommand::Score(ScoreArgs {
            document: self.path("cluster.yaml"),
            features: self.path("features.parquet"),
            samples: None,
            store: self.path("store").to_string_lossy().into_owned(),
            now: minute(number),
            model_cache: None,
            scored: self.path("scored.json"),
            common: Common::default(),
        })
    }

    fn alert(&self, number: i64) -> StepCommand {
        StepCommand::Alert(AlertArgs {
            document: self.path("cluster.yaml"),
            store: self.path("store").to_string_lossy().into_owned(),
            now: minute(number),
            scored: None,
            ended: Vec::new(),
            messages: self.path("messages.json"),
            common: Common::default(),
        })
    }

    /// Runs a tick that nothing disturbs.
    fn tick(&self, number: i64) -> anyhow::Result<()> {
        for step in [self.score(number), self.alert(number)] {
            let output = command(&step)?.output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{}: {said}", step.stage());
        }
        Ok(())
    }

    /// Returns the hashes of scores and watermark.
    fn scored(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let hashes = small_model::hashes(&self.path("store"))?;
        let is_score = |name: &String| name.starts_with("scores/") || name.contains("watermark");
        Ok(hashes.into_iter().filter(|(name, _)| is_score(name)).collect())
    }

    /// Returns what people were told, in order, and how many messages came again.
    fn told(&self) -> anyhow::Result<(Vec<String>, usize)> {
        let (mut keys, mut told, mut repeated) = (BTreeSet::new(), Vec::new(), 0);
        for line in fs_err::read_to_string(self.path("told.jsonl"))?.lines() {
            let message: Value = serde_json::from_str(line)?;
            if !keys.insert(message["key"].to_string()) {
                repeated += 1;
                continue;
            }
            for alert in message["alerts"].as_array().context("alerts")? {
                let of = ["entity", "kind", "status", "since", "ended"];
                told.push(of.map(|name| alert[name].to_string()).join(" "));
            }
        }
        Ok((told, repeated))
    }
}

fn command(step: &StepCommand) -> anyhow::Result<Command> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lynceus"));
    command.args(["step", step.stage().name()]).args(step.command_line()?);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    Ok(command)
}

/// Starts a step, kills it after a while and returns whether it had not ended by then.
fn kill(step: &StepCommand, after: Duration) -> anyhow::Result<bool> {
    let mut child = command(step)?.stderr(Stdio::null()).spawn()?;
    // The wait is what is tested: a moment, not a synchronisation.
    std::thread::sleep(after);
    let running = child.try_wait()?.is_none();
    child.kill()?;
    child.wait()?;
    Ok(running)
}

#[test]
fn a_hundred_kills_in_two_hundred_ticks_change_no_score_and_no_alarm() -> anyhow::Result<()> {
    let (undisturbed, killed) = (Place::new()?, Place::new()?);
    for number in (110..=100 + TICKS).step_by(10) {
        undisturbed.tick(number)?;
    }
    let started = Instant::now();
    killed.tick(101)?;
    let mut length = started.elapsed() / 2;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let (mut kills, mut kills_of_alert) = (0, 0);
    for number in 102..=100 + TICKS {
        // Kills until the hundred is full; three in a row at most, then perhaps a tick that ends.
        for _ in 0..3 {
            if kills == KILLS || random.random_bool(0.3) {
                break;
            }
            let after = length.mul_f64(random.random_range(0.1..1.0));
            let of_score = random.random_bool(0.5);
            let running = if of_score {
                kill(&killed.score(number), after)?
            } else {
                command(&killed.score(number))?.output()?;
                kill(&killed.alert(number), after)?
            };
            kills += usize::from(running);
            kills_of_alert += usize::from(running && !of_score);
            // A machine that is busy at one time and not at another: moments stay within the step.
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
fn of_two_schedulers_at_once_each_window_has_one_score_and_nobody_is_told_twice()
-> anyhow::Result<()> {
    let (one, two) = (Place::new()?, Place::new()?);
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
        // What one of them left to the other is done by the next tick.
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
        source: {prometheus: {url: 'http://127.0.0.1:1', retries: 0, timeout: 2s}}\n\
        queries: [{name: load, promql: 'sum(node_load1)'}, \
        {name: available_bytes, promql: 'sum(node_memory_MemAvailable_bytes)'}]\n\
        features: [raw: {}, {rolling: {window: 1m, statistics: [mean]}}]\nmodels: {z_score: {}}\n\
        vote: {combine: votes, limit: {quantile: {share: 0.99}}}\n\
        gate: {max_false_alarm_ratio: 1}\n\
        scoring: {every: 1m, delay: 0s, catch_up: 2h}\n";
    fs_err::write(workspace.path().join("node.yaml"), text)?;
    let url = format!("source.prometheus.url={}", server.url());
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
fn an_hour_without_prometheus_and_without_a_store_is_made_up_for() -> anyhow::Result<()> {
    let server = prometheus::Prometheus::start(&[])?;
    let url = format!("source.prometheus.url={}", server.url());
    let (away, there) = (trained(&server)?, trained(&server)?);
    let tick =
        |at: &'static str| ["score", "node.yaml", "--at", at, "--since", "2026-11-21T08:15:00Z"];
    let up = |at: &'static str| [&tick(at)[..], &["--set", &url]].concat();
    for workspace in [&away, &there] {
        workspace.run(&up("2026-11-21T08:16:00Z"))?;
    }
    // Nobody answers: an outside service failed, and nothing moved.
    let before = scored(&away)?;
    for at in ["2026-11-21T08:17:00Z", "2026-11-21T08:47:00Z", "2026-11-21T09:16:00Z"] {
        let output = away.output(&tick(at))?;
        assert_eq!(code(output.status), 4, "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(scored(&away)?, before);
    // Nor does the store, which is a bucket that nobody serves.
    let output = Command::new(env!("CARGO_BIN_EXE_lynceus"))
        .current_dir(away.path())
        .args(up("2026-11-21T09:16:00Z"))
        .args(["--store", "s3://bucket/prefix"])
        .envs([
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_ACCESS_KEY_ID", "x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_REGION", "us-east-1"),
        ])
        .output()?;
    assert_eq!(code(output.status), 4, "{}", String::from_utf8_lossy(&output.stderr));

    let caught_up = away.json(&[&up("2026-11-21T09:16:00Z")[..], &[]].concat())?;
    assert_eq!(caught_up["windows"], 360);
    for at in ["2026-11-21T08:17:00Z", "2026-11-21T08:47:00Z", "2026-11-21T09:16:00Z"] {
        there.run(&up(at))?;
    }
    assert_eq!(differences(&scored(&away)?, &scored(&there)?), [""; 0]);
    Ok(())
}

#[test]
fn a_person_sees_the_scores_the_state_and_how_a_challenger_does() -> anyhow::Result<()> {
    let server = prometheus::Prometheus::recorded()?;
    let workspace = trained(&server)?;
    let url = format!("source.prometheus.url={}", server.url());
    let said = workspace.run(&["status", "node.yaml"])?;
    assert!(said.contains("none was scored yet"), "{said}");
    let output = workspace.output(&["scores", "node.yaml"])?;
    assert_eq!(code(output.status), 3);

    let live = workspace.json(&["models", "list", "node"])?[0]["version"].clone();
    let live = live.as_str().context("a version")?;
    workspace.run(&["models", "promote", "node", live, "--alias", "shadow"])?;
    let at = "2026-11-21T08:16:00Z";
    let tick = ["score", "node.yaml", "--at", at, "--since", "2026-11-21T08:15:00Z", "--set", &url];
    workspace.run(&tick)?;
    let windows = workspace.json(&["scores", "node.yaml", "--last", "30s"])?;
    assert_eq!(windows.as_array().map(Vec::len), Some(3));
    let table = workspace.run(&["scores", "node.yaml", "--from", "2026-11-21T08:15:50Z"])?;
    assert!(table.contains("2026-11-21T08:16:00Z"), "{table}");
    let status = workspace.json(&["status", "node.yaml", "--now", "2026-11-21T08:26:00Z"])?;
    assert_eq!(
        (&status["live"]["version"], &status["scoring"]["late"]),
        (&live.into(), &true.into())
    );
    assert_eq!(status["scoring"]["windows_total"], 6);
    let compared = workspace.json(&["models", "compare", "node", "live", "shadow"])?;
    assert_eq!((&compared["compared"], &compared["agreement_ratio"]), (&6.into(), &1.0.into()));
    Ok(())
}
