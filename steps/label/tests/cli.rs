//! The program `label` as its users run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use contract::Span;
use frames::labels::read_labels;

const LOG: &str = "start,end,label,target\n\
    2026-11-21T08:36:07Z,2026-11-21T08:39:07Z,memory_stress,shop/cache\n\
    2026-11-21T08:42:22Z,2026-11-21T08:45:22Z,cpu_stress,shop/web\n";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(guard: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let document = format!(
            "format: 1\nname: x\nstep: 5s\nrange: 1h\nsources: {{main: {{recording: {{path: r}}, \
             queries: [{{name: a, promql: a}}]}}}}\nlabels: {{guard: {guard}}}\nfeatures: [raw: {{}}]\n\
             models: {{z_score: {{}}}}\nvote: {{combine: votes, weights: {{z_score: 1}}, \
             alarm_at: 1, threshold: {{quantile: {{share: 0.99}}}}}}\n"
        );
        fs_err::write(folder.path().join("x.yaml"), document)?;
        Ok(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn label(&self, log: &Path) -> Result<Output> {
        Command::new(env!("CARGO_BIN_EXE_label"))
            .args([Path::new("--document"), &self.path("x.yaml")])
            .args([Path::new("--scenarios"), log])
            .args([Path::new("--labels"), &self.path("labels.parquet")])
            .args([Path::new("--outcome"), &self.path("outcome.json")])
            .output()
            .context("cannot run label")
    }

    fn label_text(&self, log: &[u8]) -> Result<Output> {
        fs_err::write(self.path("s.csv"), log)?;
        self.label(&self.path("s.csv"))
    }
}

#[test]
fn a_log_becomes_scenarios_with_two_guard_bands_each() -> Result<()> {
    let place = Place::new("1m")?;
    let output = place.label_text(LOG.as_bytes())?;
    ensure!(output.status.success(), "{output:?}");
    let intervals = read_labels(&place.path("labels.parquet"))?;
    assert_eq!(intervals.len(), 6);
    let first = &intervals[0];
    assert_eq!(first.start.to_string(), "2026-11-21T08:35:07Z");
    assert_eq!((first.label.as_str(), first.target.as_str()), ("memory_stress", "shop/cache"));
    assert_eq!(first.scenario, "memory_stress@20261121T083607Z");
    assert!(first.guard && !intervals[1].guard && intervals[2].guard);
    assert_eq!(first.end - first.start, Span::from_seconds(120));
    assert_eq!(intervals[1].end - intervals[1].start, Span::from_seconds(60));
    let outcome: serde_json::Value = contract::read_json(&place.path("outcome.json"))?;
    assert_eq!(outcome["counts"]["scenarios"], 2);
    Ok(())
}

#[test]
fn the_recorded_log_has_eight_scenarios() -> Result<()> {
    let place = Place::new("30s")?;
    let log =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/samples/cluster/scenarios.csv");
    let output = place.label(&log)?;
    ensure!(output.status.success(), "{output:?}");
    assert_eq!(read_labels(&place.path("labels.parquet"))?.len(), 24);
    Ok(())
}

#[test]
fn epoch_seconds_other_names_further_columns_and_transitions_are_read() -> Result<()> {
    let place = Place::new("0s")?;
    let log = "\u{feff}start_time,end_time,label,target_node,run_id\r\n\
        1774292371,1774292551,normal,all,04\r\n\
        1774292551,1774292682.5,network,wk1,04\r\n\
        1774292682.5,1774292700,transition,all,04\r\n";
    let output = place.label_text(log.as_bytes())?;
    ensure!(output.status.success(), "{output:?}");
    let intervals = read_labels(&place.path("labels.parquet"))?;
    assert_eq!(intervals.len(), 2);
    assert_eq!((intervals[0].target.as_str(), intervals[0].end.ms()), ("wk1", 1_774_292_682_500));
    assert_eq!((intervals[1].target.as_str(), intervals[1].guard), ("", true));
    Ok(())
}

#[test]
fn the_same_log_gives_the_same_bytes() -> Result<()> {
    let place = Place::new("1m")?;
    let mut written = Vec::new();
    for _ in 0..2 {
        ensure!(place.label_text(LOG.as_bytes())?.status.success());
        written.push(fs_err::read(place.path("labels.parquet"))?);
    }
    assert_eq!(written[0], written[1]);
    Ok(())
}

#[test]
fn a_log_that_is_wrong_is_refused_with_its_line_and_nothing_is_written() -> Result<()> {
    let line = |text: &str| format!("start,end,label,target\n{text}\n").into_bytes();
    let good = "2026-11-21T08:36:07Z,2026-11-21T08:39:07Z,x,a";
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "no column `start`"),
        (b"\n\n".to_vec(), "no column `start`"),
        (b"start;end;label;target\n".to_vec(), "no column `start`"),
        (b"start,end,target\n".to_vec(), "no column `label`"),
        (b"begin,end,label\n".to_vec(), "no column `start`"),
        (b"start,start_time,end,label\n".to_vec(), "a second column `start_time`"),
        (line("1,2,x"), ":2`: 3 cells, expected 4"),
        (line("1,2,x,a,b"), ":2`: 5 cells, expected 4"),
        (line("2,1,x,a"), "is not after start"),
        (line("2,2,x,a"), "is not after start"),
        (line(",2,x,a"), "column `start`: ``"),
        (line("1,,x,a"), "column `end`: ``"),
        (line("1,2,,a"), "column `label` is empty"),
        (line("1,2, ,a"), "column `label` is empty"),
        (line("yesterday,2,x,a"), "`yesterday` is not a time"),
        (line("2026-11-21,2026-11-22,x,a"), "`2026-11-21` is not a time"),
        (line("2026-11-21 08:36:07,2026-11-21 08:39:07,x,a"), "is not a time"),
        (line("NaN,2,x,a"), "`NaN` is not a time"),
        (line("1,inf,x,a"), "`inf` is not a time"),
        (line("1774292371000,1774292551000,x,a"), "`1774292371000` is not a time"),
        (line(&format!("{good}\n{good}")), ":3`: `x` from"),
        (line(&format!("{good}\n2026-11-21T08:38:00Z,2026-11-21T08:50:00Z,y,")), "overlaps `x`"),
        (b"start,end,label,target\n1,2,\xff,a\n".to_vec(), "UTF-8"),
        (b"\x1f\x8b\x08\x00garbage".to_vec(), ""),
        (vec![0; 100], "no column `start`"),
    ];
    for (log, part) in cases {
        let place = Place::new("1m")?;
        let output = place.label_text(&log)?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let shown = String::from_utf8_lossy(&log).into_owned();
        assert_eq!(output.status.code(), Some(3), "{shown}\n{error}");
        assert!(error.contains("s.csv") && error.contains(part), "{shown}\n{error}");
        assert!(!place.path("labels.parquet").exists(), "{shown}");
        assert!(!place.path(".labels.parquet.partial").exists(), "{shown}");
    }
    Ok(())
}

#[test]
fn an_absent_log_is_a_usage_error() -> Result<()> {
    let place = Place::new("1m")?;
    let output = place.label(&place.path("nowhere.csv"))?;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere.csv"));
    Ok(())
}
