//! Which sections of the document a stage reads: the part that its cache key depends on.

use contract::{Stage, StepError, artifact};

use crate::Document;

/// What steps after `collect` know of the sources: the columns of the samples, not the servers.
const COLUMNS: &str = "columns";

/// Returns the names of the sections a stage reads; `columns` is made of `sources`.
pub fn names(stage: Stage) -> &'static [&'static str] {
    match stage {
        Stage::Collect => &[
            "name",
            "step",
            "range",
            "rate_window",
            "sources",
            "collect",
            "features",
            "fill",
            "scoring",
        ],
        Stage::Label => &["labels"],
        Stage::Feature => &["step", COLUMNS, "labels", "fill", "features"],
        Stage::Validate => {
            &["task", "classify", "step", COLUMNS, "labels", "expectations", "split", "models"]
        }
        Stage::Train => &["task", "classify", "models", "labels", "step"],
        Stage::Select => &["task", "classify", "name", "labels", "vote", "scoring", "step"],
        Stage::Deploy => &["task", "classify", "name", "labels", "gate", "deployment"],
        Stage::Score => &["task", "classify", "name", "step", "deployment", "scoring"],
        Stage::Alert => &["task", "name", "step", "alerts"],
        Stage::Report => &[
            "task",
            "classify",
            "name",
            "description",
            "step",
            "labels",
            "vote",
            "gate",
            "deployment",
            "scoring",
        ],
    }
}

/// Returns the hash of the sections a stage reads; `train` reads only the model it is to fit, and
/// `validate` only which kinds there are.
///
/// Two documents with the same hash are the same document to that stage.
pub fn sha256(document: &Document, stage: Stage, model: Option<&str>) -> Result<String, StepError> {
    let bug =
        |e: serde_json::Error| StepError::bug(format!("cannot write the document as JSON: {e}"));
    let mut value = serde_json::to_value(document).map_err(bug)?;
    value[COLUMNS] = serde_json::to_value(document.columns()).map_err(bug)?;
    let mut kept = serde_json::Map::new();
    for name in names(stage) {
        if let Some(section) = value.get_mut(*name) {
            kept.insert((*name).to_owned(), section.take());
        }
    }
    if let Some(serde_json::Value::Object(models)) = kept.get_mut("models") {
        models.retain(|kind, _| model.is_none_or(|model| kind == model));
        if stage == Stage::Validate {
            models.values_mut().for_each(|settings| *settings = serde_json::Value::Null);
        }
    }
    Ok(artifact::sha256(&serde_json::to_vec(&kept).map_err(bug)?))
}
