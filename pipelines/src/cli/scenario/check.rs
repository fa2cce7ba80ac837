//! `lynceus scenario check`: checks whether a data set shows the faults of a scenario log.

use std::collections::BTreeMap;
use std::path::PathBuf;

use contract::{Span, StepError, Timestamp};
use document::document::Labels;
use frames::{FeatureTable, LabelInterval};
use models::quality::roc_auc;
use scenario::file::ScenarioFile;
use serde::Serialize;

use crate::cli::{Global, OutputFormat, print, print_json};
use crate::run::table;

/// Significance level of the test, for all features together.
const SIGNIFICANCE: f64 = 0.01;

/// Flags of `lynceus scenario check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Scenario file
    file: PathBuf,
    /// Feature table that covers the scenario, written by the step `feature`
    #[arg(long, value_name = "FILE")]
    features: PathBuf,
    /// Ignore rows this close to a start or an end
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    guard: Span,
    /// Fewest rows of each label
    #[arg(long, value_name = "N", default_value_t = 10)]
    min_rows: usize,
    /// Smallest share of normal rows in the data set, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.3)]
    min_normal: f64,
}

/// Visibility of one label in the data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Shown {
    label: String,
    rows: usize,
    /// Feature that distinguishes its rows best from normal ones.
    feature: String,
    /// Area under the ROC curve of that feature, 0.5 to 1.
    auc: f64,
    /// Probability of such a difference by chance (Mann-Whitney, Bonferroni over the features).
    probability: f64,
    /// Seconds from the log's start to the first row beyond 99 % of normal rows: the offset between
    /// the scenario's clock and the metrics, including rate windows.
    delay_seconds: Option<f64>,
}

/// The whole result.
#[derive(Debug, Serialize)]
struct Report {
    rows: usize,
    normal_share: f64,
    labels: Vec<Shown>,
    problems: Vec<String>,
}

pub(crate) fn execute(global: &Global, args: &CheckArgs) -> Result<(), StepError> {
    let file = ScenarioFile::read(&args.file)?;
    let log = file.log_path(&args.file);
    let labels = Labels { guard: args.guard, ..Labels::default() };
    let intervals = label::read(&log, &labels)?;
    let features = FeatureTable::read(&args.features)?;
    let report = check(&features, &intervals, args);
    match global.output() {
        OutputFormat::Json => print_json(&report)?,
        OutputFormat::Text => print(&text(&report))?,
    }
    if report.problems.is_empty() {
        return Ok(());
    }
    Err(StepError::refused(format!(
        "the data set is not good enough: {}",
        report.problems.join("; ")
    ))
    .hint("make the faults longer or stronger, or the pauses longer, and run the pilot again"))
}

fn check(features: &FeatureTable, intervals: &[LabelInterval], args: &CheckArgs) -> Report {
    let mut normal = Vec::new();
    let mut by_label: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for row in (0..features.rows()).filter(|row| !features.warm_up[*row]) {
        let (time, entity) = (features.table.times[row], features.table.entity_of(row));
        let named = |target: &str| features.table.entities.iter().any(|known| known == target);
        let covers = |it: &&LabelInterval| {
            let is_inside = it.start < time && time <= it.end;
            is_inside && (it.target == entity || !named(&it.target))
        };
        let mut covering = intervals.iter().filter(covers);
        match covering.next() {
            None => normal.push(row),
            Some(interval) if !interval.guard => {
                by_label.entry(&interval.label).or_default().push(row);
            }
            Some(_) => {}
        }
    }
    for interval in intervals.iter().filter(|interval| !interval.guard) {
        by_label.entry(&interval.label).or_default();
    }
    let rows = features.rows();
    let normal_share = normal.len() as f64 / (rows.max(1)) as f64;
    let shown: Vec<Shown> = by_label
        .iter()
        .map(|(label, rows)| visible(features, label, rows, &normal, intervals))
        .collect();
    let mut problems = gaps(features);
    if normal_share < args.min_normal {
        let (share, least) = (normal_share * 100.0, args.min_normal * 100.0);
        problems.push(format!("{share:.0} % of the rows are normal, {least:.0} % are needed"));
    }
    for label in &shown {
        if label.rows < args.min_rows {
            let (name, rows, least) = (&label.label, label.rows, args.min_rows);
            problems.push(format!("`{name}` has {rows} rows, {least} are needed"));
        } else if label.probability > SIGNIFICANCE {
            let name = &label.label;
            problems.push(format!("`{name}` shows in no feature (p = {:.2})", label.probability));
        }
    }
    Report { rows, normal_share, labels: shown, problems }
}

/// Compares the rows of a label with normal rows by ranks, for each feature.
fn visible(
    features: &FeatureTable,
    label: &str,
    rows: &[usize],
    normal: &[usize],
    intervals: &[LabelInterval],
) -> Shown {
    let mut best = Shown {
        label: label.to_owned(),
        rows: rows.len(),
        feature: String::new(),
        auc: 0.5,
        probability: 1.0,
        delay_seconds: None,
    };
    let mut direction = 1.0;
    for column in &features.table.columns {
        let values = |rows: &[usize]| -> Vec<f64> {
            rows.iter().map(|row| column.values[*row]).filter(|value| value.is_finite()).collect()
        };
        let (faulty, usual) = (values(rows), values(normal));
        let anomalous: Vec<bool> =
            (0..faulty.len() + usual.len()).map(|index| index < faulty.len()).collect();
        let Some(auc) = roc_auc(&[faulty.as_slice(), &usual].concat(), &anomalous) else {
            continue;
        };
        let sign = if auc < 0.5 { -1.0 } else { 1.0 };
        let auc = auc.max(1.0 - auc);
        if auc > best.auc {
            let probability = chance(auc, faulty.len(), usual.len());
            let all = features.table.columns.len() as f64;
            best.auc = auc;
            best.feature.clone_from(&column.name);
            best.probability = (probability * all).min(1.0);
            direction = sign;
        }
    }
    best.delay_seconds = delay(features, &best, direction, normal, intervals);
    best
}

/// Returns the two-sided probability of an area under the ROC curve by chance: the normal
/// approximation of the Mann-Whitney test, whose statistic is the area times both counts.
fn chance(auc: f64, faulty: usize, usual: usize) -> f64 {
    let (a, b) = (faulty as f64, usual as f64);
    let z = (auc - 0.5).abs() * (12.0 * a * b / (a + b + 1.0)).sqrt();
    complementary_error(z / std::f64::consts::SQRT_2)
}

/// The complementary error function (Abramowitz and Stegun 7.1.26, error below 1.5e-7).
fn complementary_error(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let polynomial = terms.iter().fold(0.0, |sum, term| (sum + term) * t);
    (polynomial * (-x * x).exp()).clamp(0.0, 1.0)
}

fn delay(
    features: &FeatureTable,
    best: &Shown,
    direction: f64,
    normal: &[usize],
    intervals: &[LabelInterval],
) -> Option<f64> {
    let column = features.table.column(&best.feature)?;
    let mut usual: Vec<f64> = normal
        .iter()
        .map(|row| column.values[*row] * direction)
        .filter(|it| it.is_finite())
        .collect();
    usual.sort_by(f64::total_cmp);
    let bound = *usual.get((usual.len() * 99 / 100).min(usual.len().checked_sub(1)?))?;
    let of_label = intervals.iter().filter(|interval| interval.label == best.label);
    // The start in the log is inside the first guard band.
    let scenario = of_label.clone().next()?.scenario.clone();
    let band: Vec<&LabelInterval> = of_label.filter(|it| it.scenario == scenario).collect();
    let first = band.iter().filter(|it| it.guard).min_by_key(|it| it.start);
    let start: Timestamp = match first {
        Some(guard) => guard.start + Span::from_ms((guard.end - guard.start).ms() / 2),
        None => band.first()?.start,
    };
    let end = band.iter().map(|it| it.end).max()?;
    (0..features.rows())
        .filter(|row| (start..=end).contains(&features.table.times[*row]))
        .find(|row| column.values[*row] * direction > bound)
        .map(|row| (features.table.times[row] - start).seconds())
}

/// Returns a problem where an entity's rows are further apart than usual.
fn gaps(features: &FeatureTable) -> Vec<String> {
    let mut times: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for row in 0..features.rows() {
        times.entry(features.table.entity_of(row)).or_default().push(features.table.times[row]);
    }
    let mut problems = Vec::new();
    for (entity, times) in times {
        let steps: Vec<Span> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let Some(usual) = steps.iter().min() else { continue };
        let missing: i64 = steps.iter().map(|step| step.ms() / usual.ms().max(1) - 1).sum();
        if missing > 0 {
            let name = if entity.is_empty() { "the cluster" } else { entity };
            problems.push(format!("{missing} rows of {name} are missing between others"));
        }
    }
    problems
}

fn text(report: &Report) -> String {
    let head = ["label", "rows", "best feature", "AUC", "p", "visible after"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    rows.extend(report.labels.iter().map(|it| {
        let delay = it.delay_seconds.map_or_else(|| "-".to_owned(), |it| format!("{it:.0} s"));
        let (auc, p) = (format!("{:.3}", it.auc), format!("{:.1e}", it.probability));
        vec![it.label.clone(), it.rows.to_string(), it.feature.clone(), auc, p, delay]
    }));
    let share = 100.0 * report.normal_share;
    format!("{}{} rows, {share:.0} % of them normal\n", table(&rows), report.rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_of_a_rank_difference_is_that_of_scipy() {
        // scipy 1.17: 2 * norm.sf((0.8 - 0.5) * sqrt(12 * 10 * 20 / 31)) and of 0.5.
        assert!((chance(0.8, 10, 20) - 0.008_299_2).abs() < 1e-6, "{}", chance(0.8, 10, 20));
        assert!((chance(0.5, 10, 20) - 1.0).abs() < 1e-6);
    }
}
