//! `lynceus features uses`: which documents, runs and models use which version of a group.

use std::collections::BTreeMap;
use std::path::Path;

use contract::StepError;
use contract::catalog::{Pin, Pins};
use contract::run::RunRecord;
use document::Changes;
use serde::Serialize;
use store::Catalog;

use super::super::context::StorePlace;
use super::super::{Global, OutputFormat, print, print_json, run, say};
use crate::find;
use crate::run::table;

/// Something that uses a version of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Use {
    pub(super) group: String,
    pub(super) version: u32,
    /// `writes`: a run that started the version or computed parts; `document`: one that reads it;
    /// `run`: a training that read it.
    by: &'static str,
    pipeline: String,
    /// The run; empty for a document.
    run: String,
    /// The source; empty for a writer.
    source: String,
    /// Parts that the run wrote or read.
    parts: usize,
    /// The model that the run registered.
    model: Option<String>,
}

pub(super) fn execute(
    global: &Global,
    place: &StorePlace,
    catalog: Catalog<'_>,
    group: Option<&String>,
) -> Result<(), StepError> {
    if let Some(group) = group {
        catalog.latest(group)?;
    }
    let uses = of(global, place, group.map(String::as_str))?;
    match global.output() {
        OutputFormat::Json => print_json(&uses),
        OutputFormat::Text => print(&text(&uses)),
    }
}

/// Returns the uses of a group, or of all groups: writers, then documents, then trainings.
pub(super) fn of(
    global: &Global,
    place: &StorePlace,
    group: Option<&str>,
) -> Result<Vec<Use>, StepError> {
    let mut uses = writers(place, group)?;
    uses.extend(documents(global, group));
    for pipeline in place.pipelines()? {
        for (folder, record) in place.runs(&pipeline)? {
            if record.is_training() && place.bring_run(&folder).is_ok() {
                uses.extend(of_run(&folder, &record, group));
            }
        }
    }
    Ok(uses)
}

fn is_of(group: Option<&str>, name: &str) -> bool {
    group.is_none_or(|group| group == name)
}

fn writers(place: &StorePlace, group: Option<&str>) -> Result<Vec<Use>, StepError> {
    let store = place.open()?;
    let catalog = Catalog::new(store.as_ref());
    let mut uses = Vec::new();
    for name in catalog.groups()?.into_iter().filter(|name| is_of(group, name)) {
        for version in catalog.versions(&name)? {
            let mut parts: BTreeMap<(String, String), usize> = BTreeMap::new();
            for origin in catalog.parts(&name, version)?.into_iter().filter_map(|it| it.origin) {
                *parts.entry((origin.pipeline, origin.run)).or_default() += 1;
            }
            uses.extend(parts.into_iter().map(|((pipeline, run), parts)| Use {
                group: name.clone(),
                version,
                by: "writes",
                pipeline,
                run,
                source: String::new(),
                parts,
                model: None,
            }));
        }
    }
    Ok(uses)
}

/// Returns the documents of the folder of documents that read a group. A document that cannot be
/// read is reported and left out.
fn documents(global: &Global, group: Option<&str>) -> Vec<Use> {
    let mut uses = Vec::new();
    for name in find::names(&global.pipelines) {
        let path = global.pipelines.join(format!("{name}.yaml"));
        let changes = Changes { overlays: Vec::new(), sets: Vec::new() };
        let document = match document::read_with(&path, &changes) {
            Ok(document) => document,
            Err(error) => {
                say(&format!("left out `{}`: {}", path.display(), error.message));
                continue;
            }
        };
        let groups = document.sources.iter().filter_map(|(source, settings)| {
            let features = settings.features.as_ref()?;
            is_of(group, &features.group).then(|| Use {
                group: features.group.clone(),
                version: features.version,
                by: "document",
                pipeline: document.name.clone(),
                run: String::new(),
                source: source.clone(),
                parts: 0,
                model: None,
            })
        });
        uses.extend(groups);
    }
    uses
}

/// Returns the groups that a training read: from the outcome of its `collect`, or from its pins.
fn of_run(folder: &Path, record: &RunRecord, group: Option<&str>) -> Vec<Use> {
    let read = RunRecord::outcome_of(folder, "collect")
        .and_then(|mut outcome| outcome.details.remove(Pins::DETAIL));
    let sources: BTreeMap<String, Vec<Pin>> =
        read.and_then(|read| serde_json::from_value(read).ok()).unwrap_or_default();
    let model = run::deployment(folder).map(|deployment| deployment.version);
    let of_source = |(source, pins): (String, Vec<Pin>)| {
        let first = pins.first()?;
        is_of(group, &first.group).then(|| Use {
            group: first.group.clone(),
            version: first.version,
            by: "run",
            pipeline: record.pipeline.clone(),
            run: record.run.clone(),
            source,
            parts: pins.len(),
            model: model.clone(),
        })
    };
    sources.into_iter().filter_map(of_source).collect()
}

pub(super) fn text(uses: &[Use]) -> String {
    let head = ["group", "version", "by", "pipeline", "source", "run", "parts", "model"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(uses.iter().cloned().map(|it| {
        let parts = if it.parts == 0 { String::new() } else { it.parts.to_string() };
        let version = it.version.to_string();
        let model = it.model.unwrap_or_default();
        vec![it.group, version, it.by.to_owned(), it.pipeline, it.source, it.run, parts, model]
    }));
    table(&rows)
}
