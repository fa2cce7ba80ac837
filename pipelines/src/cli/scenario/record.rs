//! `lynceus scenario record`: appends a fault of Chaos Mesh to the scenario log in the store.

use std::collections::BTreeSet;
use std::path::PathBuf;

use contract::{Span, StepError};
use document::HttpUrl;
use scenario::chaos::{self, Asked, Ended, Watch};
use scenario::file::ScenarioFile;
use scenario::log::{CSV_HEAD, End, Record};
use scenario::wall_clock;
use store::object::{Condition, Put};

use crate::cli::context::StorePlace;
use crate::cli::{Global, say};

use super::api::Api;

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
    /// Name of the Chaos Mesh object, which is watched until its fault is over
    #[arg(long, value_name = "NAME")]
    object: String,
    /// Namespace of the object
    #[arg(long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// URL of the Kubernetes API, for example of `kubectl proxy`; by default that of the pod's own
    /// cluster
    #[arg(long, value_name = "URL")]
    kubernetes: Option<HttpUrl>,
    /// Time between two reads of the object
    #[arg(long, value_name = "SPAN", default_value = "5s")]
    every: Span,
    /// Record an unfinished fault this long after its planned end
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    patience: Span,
}

pub(crate) fn execute(global: &Global, args: &RecordArgs) -> Result<(), StepError> {
    let file = ScenarioFile::read(&args.file)?;
    let step = file.steps.get(args.step).filter(|step| step.chaos_mesh.is_some());
    let Some((step, chaos)) = step.and_then(|step| Some((step, step.chaos_mesh.as_ref()?))) else {
        return Err(StepError::usage(format!("no Chaos Mesh step has the index {}", args.step))
            .hint("steps are counted from 0; the step must have the field `chaos_mesh`"));
    };
    let asked = Asked {
        id: &args.id,
        scenario: &file.name,
        label: &step.label,
        target: &step.target,
        duration: Span::from_seconds(args.seconds.into()),
        guard: step.guard,
        chaos,
    };
    let ended = watch(args, asked)?;
    for record in ended.records.iter().filter(|record| record.outcome != Some(End::Completed)) {
        let how = record.outcome.as_ref().map_or_else(String::new, super::ending);
        say(&format!("{} in {}: {how}", record.label, record.target));
    }
    append(global, &file.name, &ended.records)?;
    ended.error.map_or(Ok(()), Err)
}

/// Watches the object until its fault ends, or until `patience` after its planned end.
fn watch(args: &RecordArgs, asked: Asked<'_>) -> Result<Ended, StepError> {
    let chaos = asked.chaos;
    let deadline = wall_clock() + asked.duration + args.patience;
    let path = chaos.path(&args.namespace, &args.object);
    let api = Api::open(args.kubernetes.as_ref())?;
    let mut watch = Watch::new(asked, &args.object);
    let mut ended = loop {
        let object = api.get(&path)?;
        let now = wall_clock();
        if let Some(ended) = watch.see(object, now)? {
            break ended;
        }
        if now >= deadline {
            break watch.give_up(now)?;
        }
        let wait = u64::try_from(args.every.ms()).unwrap_or_default();
        std::thread::sleep(std::time::Duration::from_millis(wait));
    };
    if chaos.kind() == "StressChaos" {
        let killed = out_of_memory(&api, &ended.records);
        ended.records = chaos::cut(ended.records, &killed);
    }
    Ok(ended)
}

/// Returns the pods that ran out of memory; unknown for a pod that was deleted, or that the account
/// may not read.
fn out_of_memory(api: &Api, records: &[Record]) -> Vec<chaos::OutOfMemory> {
    let pods: BTreeSet<&str> = records.iter().filter_map(chaos::pod_of).collect();
    let mut killed = Vec::new();
    for (namespace, pod) in pods.into_iter().filter_map(|pod| pod.split_once('/')) {
        match api.get(&format!("/api/v1/namespaces/{namespace}/pods/{pod}")) {
            Ok(pod) => killed.extend(pod.as_ref().and_then(chaos::out_of_memory)),
            Err(error) => say(&format!(
                "Cannot check whether the memory of `{namespace}/{pod}` ran out: {}",
                error.message
            )),
        }
    }
    killed
}

/// Appends records to `scenarios/NAME.csv` and `.jsonl` in the store, each with compare-and-set. A
/// record that already exists is not added again.
fn append(global: &Global, name: &str, records: &[Record]) -> Result<(), StepError> {
    let store = StorePlace::new(&global.store)?.open()?;
    let bug = |error| StepError::bug(format!("cannot write JSON: {error}"));
    let mut json = Vec::new();
    let mut csv = Vec::new();
    for record in records {
        json.push(format!("{}\n", serde_json::to_string(record).map_err(bug)?));
        csv.extend(record.csv_lines()?);
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
    Err(StepError::lost_race(format!("`{key}` changed during each of {ATTEMPTS} attempts"))
        .hint("run again"))
}
