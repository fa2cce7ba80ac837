//! `lynceus scenario record`: appends a fault of Chaos Mesh to the scenario log in the store.

use std::path::PathBuf;

use contract::{Span, StepError};
use scenario::chaos::{self, Asked};
use scenario::file::ScenarioFile;
use scenario::log::{CSV_HEAD, Record};
use store::object::{Condition, Put};

use crate::cli::Global;
use crate::cli::context::StorePlace;

/// Attempts at writing the log while other runs write it, too.
const ATTEMPTS: usize = 20;

/// Flags of `lynceus scenario record`.
#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    /// Scenario file
    file: PathBuf,
    /// Number of the fault in the log
    #[arg(long, value_name = "ID")]
    id: String,
    /// Index of the step in the scenario file
    #[arg(long, value_name = "N")]
    step: usize,
    /// Duration of the fault in seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: u32,
    /// `status` of the Chaos Mesh object, as JSON
    #[arg(long, value_name = "JSON")]
    status: String,
}

pub(crate) fn execute(global: &Global, args: &RecordArgs) -> Result<(), StepError> {
    let file = ScenarioFile::read(&args.file)?;
    let step = file.steps.get(args.step).filter(|step| step.chaos_mesh.is_some());
    let Some((step, chaos)) = step.and_then(|step| Some((step, step.chaos_mesh.as_ref()?))) else {
        return Err(StepError::usage(format!("no Chaos Mesh step has the index {}", args.step)));
    };
    let asked = Asked {
        id: &args.id,
        scenario: &file.name,
        label: &step.label,
        target: &step.target,
        duration: Span::from_seconds(args.seconds.into()),
        chaos,
    };
    let records = chaos::records(&args.status, &asked)?;
    append(global, &file.name, &records)
}

/// Appends records to `scenarios/NAME.csv` and `.jsonl` in the store, each with compare-and-set. A
/// record that is there already is not added again.
fn append(global: &Global, name: &str, records: &[Record]) -> Result<(), StepError> {
    let store = StorePlace::new(&global.store)?.open()?;
    let bug = |error| StepError::bug(format!("cannot write JSON: {error}"));
    let mut json = Vec::new();
    let mut csv = Vec::new();
    for record in records {
        json.push(format!("{}\n", serde_json::to_string(record).map_err(bug)?));
        csv.extend(record.csv_line()?);
    }
    let files = [("jsonl", "", json), ("csv", CSV_HEAD, csv)];
    for (extension, head, lines) in files {
        let key = format!("scenarios/{name}.{extension}");
        append_lines(store.as_ref(), &key, head, &lines)?;
    }
    Ok(())
}

fn append_lines(
    store: &dyn store::ObjectStore,
    key: &str,
    head: &str,
    lines: &[String],
) -> Result<(), StepError> {
    for _ in 0..ATTEMPTS {
        let found = store.get(key)?;
        let text = found.as_ref().map(|object| String::from_utf8_lossy(&object.bytes).into_owned());
        let mut text = text.unwrap_or_else(|| head.to_owned());
        for line in lines {
            if !text.split_inclusive('\n').any(|known| known == line) {
                text.push_str(line);
            }
        }
        let condition =
            found.as_ref().map_or(Condition::IfAbsent, |object| Condition::IfMatch(&object.etag));
        match store.put(key, text.as_bytes(), condition)? {
            Put::Written(_) => return Ok(()),
            Put::Conflict => {}
        }
    }
    Err(StepError::lost_race(format!("`{key}` changed during each of {ATTEMPTS} attempts")))
}
