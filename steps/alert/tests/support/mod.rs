//! A pipeline with a store, a document and score objects made by hand.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]

pub(crate) mod outcomes;

use std::path::{Path, PathBuf};

use anyhow::Result;
use contract::artifact::write_file;
use contract::score::{Cause, EntityScore, NewLevel, Verdict, WindowScore};
use contract::step::Common;
use contract::steps::AlertArgs;
use contract::{Decimal, Span, Timestamp};
use fs_err as fs;
use store::{FolderStore, scores};

pub(crate) const VERSION: &str = "20261121T080000Z-0123456789ab";
pub(crate) const STDOUT: &str = "    - stdout: {}\n";
pub(crate) const FILE: &str = "    - file: {path: told/alerts.jsonl}\n";

/// 2026-11-21T08:00:00Z plus a number of minutes.
pub(crate) fn minute(number: i64) -> Timestamp {
    Timestamp::from_ms(1_795_248_000_000) + Span::from_seconds(60 * number)
}

pub(crate) struct Pipeline {
    temp: tempfile::TempDir,
}

impl Pipeline {
    pub(crate) fn new(rules: &str, channels: &str) -> Result<Self> {
        let pipeline = Self { temp: tempfile::tempdir()? };
        pipeline.document(rules, channels)?;
        Ok(pipeline)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.temp.path()
    }

    pub(crate) fn store_folder(&self) -> PathBuf {
        self.folder().join("store")
    }

    pub(crate) fn store(&self) -> Result<FolderStore> {
        Ok(FolderStore::open(&self.store_folder())?)
    }

    pub(crate) fn document(&self, rules: &str, channels: &str) -> Result<()> {
        let text = format!(
            "format: 1\nname: cluster\nstep: 1m\nrange: 1d\nsources: {{main: {{recording: {{path: r}}, \
             queries: [{{name: load, promql: node_load1}}]}}}}\nfeatures: [{{raw: {{columns: ['*']}}}}]\n\
             models: {{z_score: {{}}}}\nvote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\n\
             alerts:\n{rules}  channels:\n{channels}"
        );
        Ok(write_file(&self.folder().join("cluster.yaml"), text.as_bytes())?)
    }

    pub(crate) fn args(&self, now: Timestamp) -> AlertArgs {
        AlertArgs {
            document: self.folder().join("cluster.yaml"),
            store: format!("file://{}", self.store_folder().display()),
            now,
            scored: None,
            tick: Vec::new(),
            failed: None,
            ended: Vec::new(),
            messages: self.folder().join("messages.json"),
            shard: None,
            common: Common::default(),
        }
    }

    /// Writes the windows of minutes `from` on: one word each, one letter for each entity.
    pub(crate) fn score<'a>(
        &self,
        from: i64,
        windows: impl IntoIterator<Item = &'a str>,
    ) -> Result<()> {
        let store = self.store()?;
        for (number, verdicts) in (from..).zip(windows) {
            scores::write_once(&store, &window(minute(number), verdicts))?;
        }
        Ok(())
    }

    /// Returns the lines of the file channel.
    pub(crate) fn told(&self) -> Result<Vec<alert::message::Message>> {
        let text = fs::read_to_string(self.folder().join("told/alerts.jsonl")).unwrap_or_default();
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }
}

/// `a` is anomalous, `u` urgently so, `m` misses a feature, `n` without data, `-` not reported, `s` normal on a new level since minute 1,
/// anything else normal; a single letter is the whole cluster.
pub(crate) fn window(time: Timestamp, verdicts: &str) -> WindowScore {
    let one = verdicts.len() == 1;
    let entity = |(index, letter)| {
        let (verdict, completeness) = match letter {
            'a' | 'u' => (Verdict::Anomalous, 1.0),
            'n' => (Verdict::NoData, 0.125),
            '-' => return None,
            _ => (Verdict::Normal, 1.0),
        };
        let causes = if verdict == Verdict::Anomalous { causes() } else { Vec::new() };
        let name = if one { String::new() } else { format!("node-{index:02}") };
        Some(EntityScore {
            completeness,
            votes: Decimal::ONE,
            causes,
            urgent: letter == 'u',
            new_level: (letter == 's')
                .then(|| NewLevel { since: minute(1), features: vec!["load".into()] }),
            missing: if letter == 'm' { vec!["load".into()] } else { Vec::new() },
            ..EntityScore::bare(name, verdict)
        })
    };
    WindowScore::new(
        "cluster",
        time,
        VERSION,
        verdicts.chars().enumerate().filter_map(entity).collect(),
    )
}

fn causes() -> Vec<Cause> {
    let cause = |feature: &str, value, unit: &str, usual_low, usual_high| Cause {
        feature: feature.into(),
        share: 0.5,
        value,
        unit: unit.into(),
        usual_low,
        usual_high,
    };
    vec![
        cause("memory_used_bytes", Some(8.48e9), "bytes", 2.25e9, 3.65e9),
        cause("cpu_busy_ratio", Some(0.987), "ratio", 0.1, 0.4),
        cause("load", None, "", 0.0, 0.0),
    ]
}
