//! A store with score objects, and a document with sinks.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::PathBuf;
use std::process::{Command, Output};

use contract::score::{EntityScore, MemberScore, Verdict, WindowScore};
use contract::step::{Common, command_line};
use contract::steps::ExportArgs;
use contract::{Span, Timestamp};
use export::Exported;
use store::{FolderStore, Stored, Watermark, scores, watermark};

/// Minute 0: in the past, because a server does not accept samples of the future.
const BEGIN_MS: i64 = 1_700_000_040_000 / 60_000 * 60_000;

pub(crate) fn minute(number: i64) -> Timestamp {
    Timestamp::from_ms(BEGIN_MS + 60_000 * number)
}

pub(crate) struct Place {
    temp: tempfile::TempDir,
}

impl Place {
    /// A pipeline with these sinks, scored up to a minute.
    pub(crate) fn new(sinks: &str, scored_to: i64) -> Self {
        let place = Self { temp: tempfile::tempdir().unwrap() };
        place.sinks(sinks);
        place.move_watermark(scored_to);
        place
    }

    pub(crate) fn sinks(&self, sinks: &str) {
        let text = format!(
            "format: 1\nname: cluster\nstep: 1m\nrange: 1d\nsources: {{main: {{recording: {{path: r}}, \
             queries: [{{name: load, promql: node_load1}}]}}}}\nfeatures: [raw]\nmodels: {{z_score: {{}}}}\n\
             vote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\nexports:\n{sinks}"
        );
        fs_err::write(self.path("cluster.yaml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn store(&self) -> FolderStore {
        FolderStore::open(&self.path("store")).unwrap()
    }

    fn watermark(&self) -> Option<Stored<Watermark>> {
        watermark::read(&self.store(), "cluster").unwrap()
    }

    /// Sets the watermark: everything up to a minute is scored.
    pub(crate) fn scored_to(&self, number: i64) {
        self.move_watermark(number);
    }

    fn move_watermark(&self, number: i64) {
        let moved = Watermark::new(minute(number));
        let before = self.watermark();
        let etag = before.as_ref().map(|stored| stored.etag.as_str());
        watermark::write(&self.store(), "cluster", &moved, etag).unwrap();
    }

    /// Scores windows as `score` does: `a` and `b` are normal, except for `a` in some windows.
    pub(crate) fn score(&self, minutes: std::ops::RangeInclusive<i64>, anomalous: &[i64]) {
        let last = *minutes.end();
        for number in minutes {
            let entities = ["a", "b"].map(|entity| {
                let is_anomalous = entity == "a" && anomalous.contains(&number);
                let verdict = if is_anomalous { Verdict::Anomalous } else { Verdict::Normal };
                scored(entity, verdict)
            });
            let window = WindowScore::new("cluster", minute(number), "v1", entities.into());
            assert!(scores::write_once(&self.store(), &window).unwrap());
        }
        self.move_watermark(last);
    }

    pub(crate) fn args(&self, now: Timestamp) -> ExportArgs {
        ExportArgs {
            document: self.path("cluster.yaml"),
            store: self.path("store").to_string_lossy().into_owned(),
            now,
            scored: None,
            features: None,
            budget: Span::from_seconds(20),
            exported: self.path("exported.json"),
            shard: None,
            common: Common::default(),
        }
    }

    pub(crate) fn output(&self, args: &ExportArgs) -> Output {
        Command::new(env!("CARGO_BIN_EXE_export"))
            .current_dir(self.temp.path())
            .args(command_line(args).unwrap())
            .args(["--outcome", "outcome.json"])
            .output()
            .unwrap()
    }

    /// Runs the step half a minute after a minute; it must succeed. Returns its warnings.
    pub(crate) fn export(&self, number: i64) -> Vec<String> {
        let output = self.output(&self.args(minute(number) + Span::from_seconds(30)));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let outcome: contract::Outcome = contract::read_json(&self.path("outcome.json")).unwrap();
        outcome.warnings
    }

    pub(crate) fn exported(&self) -> Exported {
        contract::read_json(&self.path("exported.json")).unwrap()
    }
}

/// Returns a verdict of a model without classes.
pub(crate) fn scored(entity: &str, verdict: Verdict) -> EntityScore {
    EntityScore {
        completeness: 1.0,
        members: vec![MemberScore {
            kind: "z_score".to_owned(),
            decision: 1.0,
            calibrated: 0.5,
            threshold: 2.0,
            vote: false,
        }],
        ..EntityScore::bare(entity.to_owned(), verdict)
    }
}
