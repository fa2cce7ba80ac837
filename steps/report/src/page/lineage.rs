//! Data flow between the tasks of a run.

use maud::{Markup, PreEscaped, html};

use super::{Section, figure};
use crate::contents::Contents;
use crate::graph::{Graph, Node};
use crate::runs::Run;
use crate::units;
use contract::StepError;

pub(super) fn section(contents: &Contents) -> Result<Option<Section>, StepError> {
    let Some(run) = contents.runs.iter().rev().find(|run| run.is_training()) else {
        return Ok(None);
    };
    let graph = graph(run);
    let drawing: Markup = {
        let drawn = graph.svgs(&alternative(&graph))?;
        html! { @for drawing in drawn { (PreEscaped(drawing)) } }
    };
    let words = "by the first digits of each SHA-256; the same digits mean the same bytes.";
    let body = figure(&html! { "Data flow between tasks," }, words, &drawing);
    Ok(Some(Section { id: "lineage", title: "Lineage", body }))
}

fn graph(run: &Run) -> Graph {
    let node = |title: &str, hash: Option<&str>, note: Option<String>| Node {
        title: title.to_owned(),
        lines: [Some(hash.map_or("not there", units::short).to_owned()), note]
            .into_iter()
            .flatten()
            .collect(),
    };
    let rows = |task: &str| {
        let count = run.outcome(task)?.counts.get("rows").copied()?;
        Some(units::counted(count, "row"))
    };
    let mut sources = vec![node("samples", run.output_hash("collect", "samples"), rows("collect"))];
    if run.tasks.iter().any(|task| task.record.name == "label") {
        sources.push(node("labels", run.output_hash("label", "labels"), None));
    }
    let bundle = run.bundle.as_ref();
    let dataset = run
        .output_hash("validate", "dataset")
        .or_else(|| bundle.map(|bundle| bundle.provenance.dataset_sha256.as_str()));
    let learned = bundle.map(|bundle| units::counted(bundle.provenance.train_rows, "row"));
    let candidates = run.tasks.iter().filter_map(|task| {
        let kind = task.record.name.strip_prefix("train-")?;
        let hash = run.output_hash(&task.record.name, "candidate");
        Some(node("candidate", hash, Some(units::words(kind))))
    });
    let version = run.deployment.as_ref();
    // Its name is the end of its data and the first digits of its hash.
    let name = version.map_or("none", |deployment| deployment.version.as_str());
    let lines = name.split_inclusive('-').map(str::to_owned).collect();
    let layers = vec![
        sources,
        vec![node("features", run.output_hash("feature", "features"), rows("feature"))],
        vec![node("data set", dataset, learned.map(|rows| format!("{rows} for training")))],
        candidates.collect(),
        vec![node("bundle", run.output_hash("select", "bundle"), None)],
        vec![Node { title: "version".to_owned(), lines }],
    ];
    Graph { layers: layers.into_iter().filter(|layer| !layer.is_empty()).collect() }
}

/// Returns the alternative text: the contents of each layer, in order.
fn alternative(graph: &Graph) -> String {
    let one = |node: &Node| {
        let joined = node.lines.join(" ").replace("- ", "-");
        format!("{} {joined}", node.title)
    };
    let layer = |layer: &Vec<Node>| layer.iter().map(one).collect::<Vec<_>>().join(" and ");
    let layers: Vec<String> = graph.layers.iter().map(layer).collect();
    format!("Data flow between tasks: {}.", layers.join("; of it "))
}
