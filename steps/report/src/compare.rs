//! Two or more runs side by side: documents, data, metrics, faults, time and memory.

mod later;
pub(crate) mod metrics;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contract::{StepError, Timestamp, artifact};
use frames::labels::read_labels;
use maud::html;
use serde_json::{Map, Value, json};

use self::later::Judged;
use crate::ground_truth::Truth;
use crate::page;
use crate::runs::{Run, Task};
use crate::tables::{Cell, Table};
use crate::zone::Zone;
use crate::{document_fields, units};

/// Runs side by side.
#[derive(Debug)]
pub struct Comparison {
    /// Names of the runs, in the order in which they were given.
    pub runs: Vec<String>,
    /// Summary in a few sentences.
    pub summary: String,
    /// The runs, and what differs in documents, data, metrics, faults, time and memory; tables
    /// without a row are left out when they are shown.
    pub tables: Vec<Table>,
}

/// Keys and headings of the runs' columns.
const COLUMNS: [(&str, &str); 6] =
    [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D"), ("e", "E"), ("f", "F")];

/// Keys and headings of the columns that compare a later run with the first: the difference and its
/// significance.
const AGAINST_FIRST: [[(&str, &str); 2]; 5] = [
    [("b_difference", "B less A"), ("b_meaning", "Which is")],
    [("c_difference", "C less A"), ("c_meaning", "Which is")],
    [("d_difference", "D less A"), ("d_meaning", "Which is")],
    [("e_difference", "E less A"), ("e_meaning", "Which is")],
    [("f_difference", "F less A"), ("f_meaning", "Which is")],
];

/// The same for faults: the result for each.
const CHANGES: [(&str, &str); 5] = [
    ("b_change", "B against A"),
    ("c_change", "C against A"),
    ("d_change", "D against A"),
    ("e_change", "E against A"),
    ("f_change", "F against A"),
];

/// Keys and headings of the runs' columns for long texts.
const TEXTS: [(&str, &str); 6] =
    [("a", "~A"), ("b", "~B"), ("c", "~C"), ("d", "~D"), ("e", "~E"), ("f", "~F")];

/// Compares the runs in these folders, in this order, the later ones against the first.
///
/// The models are compared on the rows of `features` that come after the data of all of them: files
/// in order of time, as scoring writes them.
///
/// Errors: usage for fewer than two folders, more than six or one that is not a run, refused where
/// its record cannot be read. Data that a run lacks is absent from the tables.
pub fn compare(folders: &[&Path], features: &[&Path]) -> Result<Comparison, StepError> {
    if !(2..=COLUMNS.len()).contains(&folders.len()) {
        let message = format!("{} runs cannot be compared", folders.len());
        return Err(StepError::usage(message).hint("compare two to six runs"));
    }
    let runs: Vec<Run> =
        folders.iter().map(|folder| Run::read(folder)).collect::<Result<_, _>>()?;
    let zone = zone(&runs);
    let documents: Vec<BTreeMap<String, String>> = runs.iter().map(document_fields::of).collect();
    let (judged, notes) = judged(&runs, features);
    let documents = differing("documents", "Fields of the document that differ", &documents);
    let data: Vec<_> = runs.iter().map(|run| data(run, &zone)).collect();
    let data = differing("data", "Differences in the data", &data);
    let later = metrics::later(&judged);
    let faults = metrics::faults(&judged, &zone);
    let said = [
        metrics::of_documents(documents.len(), &documents),
        metrics::of_data(&runs),
        metrics::of_later(&judged),
        metrics::of_cost(&runs),
    ];
    let mut summary = said.join(" ");
    notes.iter().for_each(|note| summary.push_str(&format!(" {note}")));
    let tables = vec![
        overview(&runs, &zone),
        later,
        faults,
        metrics::own(&runs),
        documents,
        data,
        each(
            "seconds",
            "Time of each task; for a cached task, of its original run",
            &runs,
            seconds,
        ),
        each("memory", "Most memory of each task", &runs, memory),
    ];
    let runs = runs.into_iter().map(|run| run.record.run).collect();
    Ok(Comparison { runs, summary, tables })
}

impl Comparison {
    /// Returns the page.
    pub fn html(&self) -> String {
        let title = format!("Lynceus: {} runs side by side", self.runs.len());
        let heads = [
            ("The runs", &["runs"][..]),
            ("Quality of the models", &["later", "faults", "figures"]),
            ("What differs", &["documents", "data"]),
            ("What they took", &["seconds", "memory"]),
        ];
        let section = |(head, names): &(&'static str, &[&str])| {
            let tables = || self.shown().filter(|table| names.contains(&table.name));
            let body = html! { @for table in tables() { (table.html()) } };
            (tables().count() > 0).then_some((*head, body))
        };
        let sections: Vec<_> = heads.iter().filter_map(section).collect();
        page::plain(&title, &self.summary, &sections)
    }

    /// Returns the tables as JSON, by name, with the summary.
    pub fn json(&self) -> Value {
        let summary = ("summary".to_owned(), json!(self.summary));
        let tables = self.tables.iter().map(|table| (table.name.to_owned(), table.json()));
        Value::Object(std::iter::once(summary).chain(tables).collect::<Map<_, _>>())
    }

    /// Writes the page.
    pub fn write(&self, path: &Path) -> Result<(), StepError> {
        artifact::write_file(path, self.html().as_bytes())
    }

    /// Returns the tables that have rows, as rows of text under a caption, for a terminal.
    pub fn text(&self) -> Vec<(String, Vec<Vec<String>>)> {
        self.shown().map(|table| (table.caption.clone(), table.text())).collect()
    }

    fn shown(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(|table| !table.is_empty())
    }
}

/// The zone of the last run's document.
fn zone(runs: &[Run]) -> Zone {
    let mut documents = runs.iter().rev().map(|run| run.folder.join("document.yaml"));
    let document = documents.find_map(|path| document::read(&path).ok());
    document.map_or_else(Zone::utc, |document| Zone::named(&document.alerts.time_zone))
}

/// Computes the metrics of each run's bundle on the rows after the data of all of them; `None`
/// without bundles or such rows, and a note for a bundle that cannot score them.
fn judged(runs: &[Run], features: &[&Path]) -> (Vec<Option<Judged>>, Vec<String>) {
    let last =
        |run: &Run| run.validation.iter().flat_map(|v| &v.parts).filter_map(|p| p.last).max();
    let after: Option<Timestamp> = runs.iter().filter_map(last).max();
    let labels = runs.iter().rev().find_map(|run| {
        let normal = document::read(&run.folder.join("document.yaml")).ok()?.labels.normal;
        let intervals = read_labels(&run.there("label/labels.parquet")?).ok()?;
        Some(Truth::of(intervals, &normal))
    });
    let truth = labels.unwrap_or_default();
    let mut notes = Vec::new();
    let mut one = |run: &Run| {
        let after = after.filter(|_| run.bundle.is_some() && !features.is_empty())?;
        match later::judge(run, features, after, &truth) {
            Ok(judged) => (judged.rows() > 0).then_some(judged),
            Err(error) => {
                let run = &run.record.run;
                notes.push(format!("Run {run} cannot be compared on later rows: {error}."));
                None
            }
        }
    };
    let judged = runs.iter().map(&mut one).collect();
    (judged, notes)
}

/// Returns the headings of a table with a column for each run.
fn head(first: (&'static str, &'static str), runs: usize) -> Vec<(&'static str, &'static str)> {
    std::iter::once(first).chain(COLUMNS.into_iter().take(runs)).collect()
}

/// Makes the table that assigns a letter to each run.
fn overview(runs: &[Run], zone: &Zone) -> Table {
    let mut table = Table::new(
        "runs",
        format!("The runs; times are {}", zone.name()),
        &[
            ("column", "Column"),
            ("run", "Run"),
            ("now", "Its present"),
            ("status", "Ended"),
            ("seconds", "#Time"),
            ("version", "Version"),
            ("became", "~Result"),
        ],
    );
    for ((column, head), run) in COLUMNS.iter().zip(runs) {
        let deployment = run.deployment.as_ref();
        table.push(vec![
            Cell::of(*head, *column),
            Cell::code(&run.record.run),
            Cell::time(zone, run.record.now),
            Cell::text(units::status(run.record.status)),
            Cell::seconds(run.record.seconds),
            deployment.map_or_else(Cell::empty, |deployment| Cell::code(&deployment.version)),
            deployment.map_or_else(Cell::empty, |deployment| Cell::text(&deployment.why)),
        ]);
    }
    table
}

/// Makes a table of the values that differ between the runs.
fn differing(name: &'static str, caption: &str, said: &[BTreeMap<String, String>]) -> Table {
    let columns: Vec<_> = [("what", "")].into_iter().chain(TEXTS).take(1 + said.len()).collect();
    let mut table = Table::new(name, caption, &columns);
    for (what, said) in document_fields::differences(said) {
        let cells = said.into_iter().map(|said| said.map_or_else(Cell::empty, Cell::text));
        table.push(std::iter::once(Cell::text(what)).chain(cells).collect());
    }
    table
}

/// Makes a table of the resources that each task of each run used.
fn each(
    name: &'static str,
    caption: &str,
    runs: &[Run],
    took: fn(&Run) -> BTreeMap<String, Cell>,
) -> Table {
    let took: Vec<BTreeMap<String, Cell>> = runs.iter().map(took).collect();
    let mut table = Table::new(name, caption, &head(("task", "Task"), runs.len()));
    let known: BTreeSet<&String> = took.iter().flat_map(BTreeMap::keys).collect();
    let planned = runs.iter().flat_map(|run| &run.tasks).map(|task| task.record.name.as_str());
    let mut order: Vec<&str> = Vec::new();
    for task in planned.chain(["all"]) {
        if known.contains(&task.to_owned()) && !order.contains(&task) {
            order.push(task);
        }
    }
    for task in order {
        let cells = took.iter().map(|run| run.get(task).cloned().unwrap_or_else(Cell::empty));
        table.push(std::iter::once(Cell::text(task)).chain(cells).collect());
    }
    table
}

fn data(run: &Run, zone: &Zone) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let parts = run.validation.iter().flat_map(|validation| &validation.parts);
    for part in parts {
        said.insert(format!("{} rows", part.part), units::count(part.rows));
        if let (Some(first), Some(last)) = (part.first, part.last) {
            let range = format!("{} to {}", zone.time(first), zone.until(first, last));
            said.insert(format!("{} range", part.part), range);
        }
    }
    if let Some(validation) = &run.validation {
        for finding in validation.expectations.iter().filter(|finding| !finding.passed) {
            let of = finding.column.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
            said.insert(format!("broken: {}{of}", finding.expectation), finding.found.clone());
        }
    }
    if let Some(bundle) = &run.bundle {
        let hash = units::short(&bundle.provenance.dataset_sha256).to_owned();
        said.insert("data set".to_owned(), hash);
        said.insert("features".to_owned(), bundle.contract.columns.len().to_string());
    }
    said
}

fn seconds(run: &Run) -> BTreeMap<String, Cell> {
    let seconds = |task: &Task| Some((task.record.name.clone(), Cell::seconds(task.seconds()?)));
    let all = ("all".to_owned(), Cell::seconds(run.record.seconds));
    run.tasks.iter().filter_map(seconds).chain([all]).collect()
}

fn memory(run: &Run) -> BTreeMap<String, Cell> {
    let bytes =
        |task: &Task| Some((task.record.name.clone(), Cell::bytes(task.peak_memory_bytes()?)));
    run.tasks.iter().filter_map(bytes).collect()
}
