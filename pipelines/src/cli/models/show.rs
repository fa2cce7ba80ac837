//! `lynceus models show`: shows the content of a version as text.

use contract::bundle::BundleManifest;

use crate::run::table;

/// Returns the content and the metrics of a version as text.
pub(super) fn text(version: &str, manifest: &BundleManifest) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let made = &manifest.provenance;
    let columns = &manifest.contract.columns;
    let mut rows = vec![
        row("version", version.to_owned()),
        row("pipeline", manifest.pipeline.clone()),
        row(
            "trained on",
            format!("{} to {}, {} rows", made.train_start, made.train_end, made.train_rows),
        ),
        row("features", columns.len().to_string()),
        row("lynceus", made.version.clone()),
    ];
    if let Some(threshold) = manifest.combined_threshold {
        rows.push(row("threshold", format!("{threshold:.4} of the combined score")));
    }
    rows.extend(manifest.diagnosis.iter().map(|stage| row("diagnosis", stage.kinds.join(", "))));
    let mut text = table(&rows);
    let mut members = vec![["model", "threshold", "weight", "seed"].map(str::to_owned).to_vec()];
    members.extend(manifest.members.iter().map(|member| {
        vec![
            member.kind.clone(),
            format!("{:.4}", member.threshold),
            manifest.vote.weight(&member.kind).to_string(),
            member.seed.to_string(),
        ]
    }));
    text.push('\n');
    text.push_str(&table(&members));
    let mut figures = vec![["measured on", "metric", "value"].map(str::to_owned).to_vec()];
    for (part, named) in &manifest.metrics {
        figures.extend(named.iter().map(|(name, value)| {
            vec![part.clone(), name.replace('_', " "), format!("{value:.4}")]
        }));
    }
    if figures.len() > 1 {
        text.push('\n');
        text.push_str(&table(&figures));
    }
    text
}
