//! `lynceus models compare`: compares two versions that scored the same windows.

use std::collections::BTreeMap;

use contract::score::{EntityScore, Verdict, WindowScore};
use contract::{ErrorKind, Span, StepError, Timestamp};
use serde::Serialize;
use store::{ObjectStore, Registry, Whole};

use crate::cli::{Global, OutputFormat, print, print_json};
use crate::run::table;

/// Disagreements that are shown; all of them are counted.
const SHOWN: usize = 20;

/// Verdicts of two versions on the same windows and entities.
#[derive(Debug, Default, Serialize)]
struct Comparison {
    versions: [String; 2],
    /// Pairs of a window and an entity that both scored.
    compared: usize,
    /// Pairs that only one of them scored, because the other had too many missing values.
    scored_by_one: usize,
    /// Pairs that both classify as anomalous.
    both_anomalous: usize,
    /// Pairs that only the first, or only the second, classifies as anomalous.
    only_one_anomalous: [usize; 2],
    /// Share of the pairs on which both agree; absent if there are no pairs.
    agreement_ratio: Option<f64>,
    /// Correlation of their calibrated scores, -1 to 1; absent if the scores of one of them are
    /// constant.
    correlation: Option<f64>,
    /// Some of the pairs on which they do not agree, oldest first.
    disagreements: Vec<Disagreement>,
}

#[derive(Debug, Serialize)]
struct Disagreement {
    window: Timestamp,
    entity: String,
    /// Version that classifies it as anomalous.
    anomalous: String,
    scores: [f64; 2],
}

/// Compares the verdicts of two aliases or versions in a time range before the last window.
pub(super) fn execute(
    global: &Global,
    store: &dyn ObjectStore,
    pipeline: &str,
    names: [&str; 2],
    last: Span,
) -> Result<(), StepError> {
    let registry = Registry::new(store, pipeline);
    let mut versions = names.map(str::to_owned);
    for version in &mut versions {
        match registry.resolve(version) {
            // The version may have been removed from the registry, or the alias may not be set; the
            // comparison then reports that no such version has scored.
            Err(error) if error.kind == ErrorKind::Refused => {}
            resolved => *version = resolved?,
        }
    }
    let whole = Whole::open(store, pipeline)?;
    let end = whole.scored_to()?;
    let end = end.ok_or_else(|| {
        StepError::refused(format!("`{pipeline}` has no scored window yet"))
            .hint(format!("score it with: lynceus score {pipeline}"))
    })?;
    let mut comparison = Comparison { versions, ..Comparison::default() };
    let mut pairs = Vec::new();
    for window in whole.read_after(Some(end - last), end) {
        comparison.add(&window?, &mut pairs);
    }
    if comparison.compared == 0 {
        let [first, second] = &comparison.versions;
        return Err(StepError::refused(format!(
            "`{first}` and `{second}` have no scored window in common in the last {last}"
        ))
        .hint(format!(
            "lynceus models promote {pipeline} VERSION --alias shadow lets a version \
             score beside the live one"
        )));
    }
    let agreed = comparison.compared - comparison.only_one_anomalous.iter().sum::<usize>();
    comparison.agreement_ratio = Some(agreed as f64 / comparison.compared as f64);
    comparison.correlation = correlation(&pairs);
    match global.output() {
        OutputFormat::Json => print_json(&comparison),
        OutputFormat::Text => print(&text(&comparison)),
    }
}

impl Comparison {
    fn add(&mut self, window: &WindowScore, pairs: &mut Vec<[f64; 2]>) {
        let [Some(first), Some(second)] =
            [0, 1].map(|which| said_by(window, &self.versions[which]))
        else {
            return;
        };
        let second: BTreeMap<&str, &EntityScore> =
            second.iter().map(|entity| (entity.entity.as_str(), entity)).collect();
        for one in first {
            let Some(other) = second.get(one.entity.as_str()) else {
                self.scored_by_one += usize::from(one.verdict != Verdict::NoData);
                continue;
            };
            let ([Some(a), Some(b)], verdicts) =
                ([score(one), score(other)], [one.verdict, other.verdict])
            else {
                let scored = |entity: &EntityScore| entity.verdict != Verdict::NoData;
                self.scored_by_one += usize::from(scored(one) || scored(other));
                continue;
            };
            self.compared += 1;
            pairs.push([a, b]);
            let which = match verdicts.map(|verdict| verdict == Verdict::Anomalous) {
                [true, true] => {
                    self.both_anomalous += 1;
                    continue;
                }
                [false, false] => continue,
                [true, false] => 0,
                [false, true] => 1,
            };
            self.only_one_anomalous[which] += 1;
            if self.disagreements.len() < SHOWN {
                self.disagreements.push(Disagreement {
                    window: window.time,
                    entity: one.entity.clone(),
                    anomalous: self.versions[which].clone(),
                    scores: [a, b],
                });
            }
        }
    }
}

/// Returns the verdict of a version on a window, as the live version or as the challenger.
fn said_by<'a>(window: &'a WindowScore, version: &str) -> Option<&'a [EntityScore]> {
    if window.version == version {
        return Some(&window.entities);
    }
    let shadow = window.shadow.as_ref().filter(|shadow| shadow.version == version)?;
    Some(&shadow.entities)
}

/// Returns the mean of the models' calibrated scores; `None` without data.
fn score(entity: &EntityScore) -> Option<f64> {
    let members = entity.members.len();
    let sum: f64 = entity.members.iter().map(|member| member.calibrated).sum();
    (members > 0).then(|| sum / members as f64)
}

/// Returns Pearson's correlation; `None` if one side is constant.
fn correlation(pairs: &[[f64; 2]]) -> Option<f64> {
    let count = pairs.len() as f64;
    let mean = |side: usize| pairs.iter().map(|pair| pair[side]).sum::<f64>() / count;
    let means = [mean(0), mean(1)];
    let product = |a: usize, b: usize| {
        pairs.iter().map(|pair| (pair[a] - means[a]) * (pair[b] - means[b])).sum::<f64>()
    };
    let spread = (product(0, 0) * product(1, 1)).sqrt();
    (spread > 0.0).then(|| product(0, 1) / spread)
}

fn text(comparison: &Comparison) -> String {
    let [first, second] = &comparison.versions;
    let [only_first, only_second] = comparison.only_one_anomalous;
    let number =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    let rows = [
        ("first", first.clone()),
        ("second", second.clone()),
        ("compared (windows x entities)", comparison.compared.to_string()),
        ("scored by one of them", comparison.scored_by_one.to_string()),
        ("agreement", number(comparison.agreement_ratio)),
        ("correlation of scores", number(comparison.correlation)),
        ("anomalous for both", comparison.both_anomalous.to_string()),
        ("anomalous for the first only", only_first.to_string()),
        ("anomalous for the second only", only_second.to_string()),
    ];
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let mut text = table(&rows);
    if !comparison.disagreements.is_empty() {
        let head = ["window", "entity", "anomalous for", "first", "second"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(comparison.disagreements.iter().map(|it| {
            let [a, b] = it.scores.map(|score| format!("{score:.4}"));
            vec![it.window.to_string(), it.entity.clone(), it.anomalous.clone(), a, b]
        }));
        text.push('\n');
        text.push_str(&table(&rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_correlation_is_that_of_numpy() {
        // numpy.corrcoef([1, 2, 3, 4], [1, 3, 2, 5])[0, 1]
        let pairs = [[1.0, 1.0], [2.0, 3.0], [3.0, 2.0], [4.0, 5.0]];
        let found = correlation(&pairs).unwrap();
        assert!((found - 0.831_521_840_620_299_9).abs() < 1e-12, "{found}");
        assert_eq!(correlation(&[[1.0, 1.0], [1.0, 2.0]]), None);
        assert_eq!(correlation(&[]), None);
    }
}
