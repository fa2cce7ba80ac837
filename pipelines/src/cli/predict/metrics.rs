//! Metrics of a model on labelled rows.

use std::collections::BTreeMap;

use contract::score::Verdict;
use frames::{FeatureTable, is_normal};
use models::AnyBundle;
use models::classify::judge::JudgedRow;
use models::measure::{self, Counted};

use super::super::context::Context;
use super::super::score_rows;
use super::Judged;
use crate::run::table;

/// Returns the most probable class of a row, and its probability.
pub(super) fn likeliest<'a>(names: &'a [String], row: &JudgedRow) -> (&'a str, f64) {
    let pairs = names.iter().zip(&row.probabilities);
    let best = pairs.max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(("", f64::NAN), |(name, probability)| (name.as_str(), *probability))
}

/// Returns a summary line, and tables if the rows have labels.
pub(super) fn text(
    model: &AnyBundle,
    rows: &FeatureTable,
    judged: &Judged,
    context: Option<&Context>,
) -> String {
    match model {
        AnyBundle::Anomaly(_) => of_anomalies(rows, judged, context),
        AnyBundle::Classify(bundle) => of_classes(bundle.model().classes(), rows, &judged.classes),
    }
}

/// Returns metrics by name; empty if the rows have no labels.
pub(super) fn metrics(
    model: &AnyBundle,
    rows: &FeatureTable,
    judged: &Judged,
    context: Option<&Context>,
) -> BTreeMap<String, f64> {
    match model {
        AnyBundle::Anomaly(_) => labelled(rows, judged, context)
            .map(|found| measure::figures(&found.counted, &[], rows.contract.step))
            .unwrap_or_default(),
        AnyBundle::Classify(bundle) => rows.labels.as_ref().map_or_else(BTreeMap::new, |labels| {
            let names = bundle.model().classes();
            let pairs = judged.classes.iter().zip(&labels.label);
            let right = pairs.filter(|(row, label)| likeliest(names, row).0 == label.as_str());
            let share = right.count() as f64 / judged.classes.len().max(1) as f64;
            BTreeMap::from([("accuracy".to_owned(), share)])
        }),
    }
}

/// The verdicts of rows with labels.
struct Labelled<'a> {
    counted: Counted<&'a str>,
    /// Number of rows, and of anomalous rows, by label.
    by_label: BTreeMap<&'a str, (u64, u64)>,
}

fn labelled<'a>(
    rows: &'a FeatureTable,
    judged: &'a Judged,
    context: Option<&Context>,
) -> Option<Labelled<'a>> {
    let labels = rows.labels.as_ref()?;
    let normal = context.map_or_else(
        || vec!["normal".to_owned()],
        |context| context.document.labels.normal.clone(),
    );
    let mut order: Vec<usize> = (0..rows.rows())
        .filter(|row| !labels.excluded[*row] && judged.verdicts[*row].verdict != Verdict::NoData)
        .collect();
    order.sort_by_key(|row| rows.table.times[*row]);
    let mut counted = Counted::default();
    let mut by_label: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for row in order {
        let score = &judged.verdicts[row];
        let alarm = score.verdict == Verdict::Anomalous;
        counted.entities.push(score.entity.as_str());
        counted.scores.push(score_rows::score(score));
        counted.alarms.push(alarm);
        counted.anomalous.push(!is_normal(&normal, &labels.label[row]));
        let (all, alarmed) = by_label.entry(labels.label[row].as_str()).or_default();
        *all += 1;
        *alarmed += u64::from(alarm);
    }
    Some(Labelled { counted, by_label })
}

fn of_anomalies(rows: &FeatureTable, judged: &Judged, context: Option<&Context>) -> String {
    let count = |verdict| judged.verdicts.iter().filter(|it| it.verdict == verdict).count();
    let mut text = format!(
        "{} rows, {} anomalous, {} without data\n",
        judged.verdicts.len(),
        count(Verdict::Anomalous),
        count(Verdict::NoData)
    );
    let Some(Labelled { counted, by_label }) = labelled(rows, judged, context) else { return text };
    let figures = measure::figures(&counted, &[], rows.contract.step);
    let shown = ["precision", "recall", "f1", "roc_auc", "average_precision", "false_alarm_ratio"];
    for name in shown {
        if let Some(value) = figures.get(name) {
            text.push_str(&format!("{name} {value:.4}\n"));
        }
    }
    let mut cells = vec![["label", "rows", "anomalous"].map(str::to_owned).to_vec()];
    cells.extend(by_label.into_iter().map(|(label, (all, alarmed))| {
        vec![label.to_owned(), all.to_string(), alarmed.to_string()]
    }));
    text.push_str(&table(&cells));
    text
}

fn of_classes(names: &[String], rows: &FeatureTable, judged: &[JudgedRow]) -> String {
    let mut text = format!("{} rows\n", judged.len());
    let Some(labels) = &rows.labels else { return text };
    let mut confusion: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (row, label) in judged.iter().zip(&labels.label) {
        *confusion.entry((label.as_str(), likeliest(names, row).0)).or_default() += 1;
    }
    let right: u64 = confusion.iter().filter(|((a, b), _)| a == b).map(|(_, count)| count).sum();
    text.push_str(&format!("accuracy {:.4}\n", right as f64 / judged.len().max(1) as f64));
    let sum = |of: &dyn Fn(&str, &str) -> bool| -> u64 {
        confusion.iter().filter(|((a, b), _)| of(a, b)).map(|(_, count)| count).sum()
    };
    let share = |part: u64, all: u64| match all {
        0 => "-".to_owned(),
        all => format!("{:.4}", part as f64 / all as f64),
    };
    let mut cells = vec![["class", "rows", "precision", "recall"].map(str::to_owned).to_vec()];
    for name in names {
        let hit = confusion.get(&(name.as_str(), name.as_str())).copied().unwrap_or(0);
        let actual = sum(&|a, _| a == name);
        let named = sum(&|_, b| b == name);
        cells.push(vec![name.clone(), actual.to_string(), share(hit, named), share(hit, actual)]);
    }
    text.push_str(&table(&cells));
    let mut cells = vec![["label", "taken for", "rows"].map(str::to_owned).to_vec()];
    let pairs = confusion.into_iter();
    cells.extend(pairs.map(|((label, class), count)| {
        vec![label.to_owned(), class.to_owned(), count.to_string()]
    }));
    text.push_str(&table(&cells));
    text
}
