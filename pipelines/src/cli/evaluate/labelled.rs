//! Evaluation of scores against the labels of a table's own rows.

use std::collections::{BTreeMap, HashMap};

use collect::tables::LabelledRow;
use contract::score::{Verdict, WindowScore};
use contract::{Span, Timestamp};
use document::Document;
use models::measure::Counted;
use serde::Serialize;

use super::parts::Parts;
use super::{Evaluation, figures_of};
use crate::run::table;

/// Verdicts on the rows of a label.
#[derive(Debug, Serialize)]
pub(super) struct OfLabel {
    label: String,
    /// Rows that were scored.
    rows: u64,
    /// Rows that were classified as anomalous.
    anomalous: u64,
}

/// Returns the metrics of the scored windows whose rows have labels. Of several rows of one window
/// and entity the last one counts, as for the features.
pub(super) fn evaluate(
    document: &Document,
    rows: Vec<LabelledRow>,
    windows: &[WindowScore],
) -> Evaluation {
    let labels: HashMap<(Timestamp, String), String> = rows
        .into_iter()
        .map(|row| ((window_end(row.time, document.step), row.entity), row.label))
        .collect();
    let mut counted = Counted::default();
    let mut by_label: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for window in windows {
        for score in &window.entities {
            let Some(label) = labels.get(&(window.time, score.entity.clone())) else { continue };
            if score.verdict == Verdict::NoData {
                continue;
            }
            let alarm = score.verdict == Verdict::Anomalous;
            counted.entities.push(score.entity.as_str());
            counted.scores.push(report::ranking::rank(score));
            counted.alarms.push(alarm);
            counted.anomalous.push(!frames::is_normal(&document.labels.normal, label));
            let (all, alarmed) = by_label.entry(label).or_default();
            *all += 1;
            *alarmed += u64::from(alarm);
        }
    }
    let of = |(label, (rows, anomalous)): (&str, (u64, u64))| OfLabel {
        label: label.to_owned(),
        rows,
        anomalous,
    };
    Evaluation {
        windows: windows.len(),
        figures: figures_of(&counted, &[], document.step),
        scenarios: Vec::new(),
        parts: Parts::default(),
        labels: by_label.into_iter().map(of).collect(),
    }
}

/// Returns the end of the window that contains a time.
fn window_end(time: Timestamp, step: Span) -> Timestamp {
    let floor = time.floor(step);
    if floor == time { time } else { floor + step }
}

/// Returns the rows of each label as a table.
pub(super) fn table_of(labels: &[OfLabel]) -> String {
    let mut rows = vec![["label", "rows", "anomalous"].map(str::to_owned).to_vec()];
    rows.extend(
        labels
            .iter()
            .map(|of| vec![of.label.clone(), of.rows.to_string(), of.anomalous.to_string()]),
    );
    table(&rows)
}
