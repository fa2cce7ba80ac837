//! Two or more runs side by side: documents, data, figures, time and memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contract::{StepError, artifact};
use maud::Markup;
use serde_json::{Map, Value};

use crate::page;
use crate::runs::Run;
use crate::tables::{Cell, Table};
use crate::units;

/// Runs side by side.
#[derive(Debug)]
pub struct Comparison {
    /// Names of the runs, in the order in which they were given.
    pub runs: Vec<String>,
    /// Differences of documents, data, figures, and tasks; tables without a difference are empty.
    pub tables: Vec<Table>,
}

/// Compares the runs in these folders, in this order.
///
/// Errors: usage for fewer than two folders or one that is no run, refused where its record cannot
/// be read. What is missing inside a run is absent in the tables.
pub fn compare(folders: &[&Path]) -> Result<Comparison, StepError> {
    if folders.len() < 2 {
        return Err(StepError::usage("it takes two runs to compare"));
    }
    let runs: Vec<Run> =
        folders.iter().map(|folder| Run::read(folder)).collect::<Result<_, _>>()?;
    let documents: Vec<BTreeMap<String, String>> = runs.iter().map(document).collect();
    let tables = vec![
        side_by_side("documents", "Fields of the document that differ", &documents, true),
        side_by_side("data", "The data", &runs.iter().map(data).collect::<Vec<_>>(), false),
        figures(&runs),
        side_by_side(
            "seconds",
            "Time of each task",
            &runs.iter().map(seconds).collect::<Vec<_>>(),
            false,
        ),
        side_by_side(
            "memory",
            "Memory of each task",
            &runs.iter().map(memory).collect::<Vec<_>>(),
            false,
        ),
    ];
    Ok(Comparison { runs: runs.into_iter().map(|run| run.record.run).collect(), tables })
}

impl Comparison {
    /// Returns the page.
    pub fn html(&self) -> String {
        let title = format!("Lynceus: {}", self.runs.join(" and "));
        let tables: Vec<Markup> = self.shown().map(Table::html).collect();
        page::plain(&title, &tables)
    }

    /// Returns the tables as JSON, by name.
    pub fn json(&self) -> Value {
        let tables = self.tables.iter().map(|table| (table.name.to_owned(), table.json()));
        Value::Object(tables.collect::<Map<_, _>>())
    }

    /// Writes the page.
    pub fn write(&self, path: &Path) -> Result<(), StepError> {
        artifact::write_file(path, self.html().as_bytes())
    }

    /// Returns the tables that hold anything, as rows of text under a caption, for a terminal.
    pub fn text(&self) -> Vec<(String, Vec<Vec<String>>)> {
        self.shown().map(|table| (table.caption.clone(), table.text())).collect()
    }

    fn shown(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(|table| !table.is_empty())
    }
}

/// Keys of the runs' columns; more runs than there are names share none.
const COLUMNS: [(&str, &str); 6] =
    [("a", "~A"), ("b", "~B"), ("c", "~C"), ("d", "~D"), ("e", "~E"), ("f", "~F")];

fn head(runs: usize) -> Vec<(&'static str, &'static str)> {
    let mut columns = vec![("what", "")];
    columns.extend(COLUMNS.iter().take(runs));
    columns
}

/// Makes a table of what each run says of the same things.
fn side_by_side(
    name: &'static str,
    caption: &str,
    runs: &[BTreeMap<String, String>],
    differences_only: bool,
) -> Table {
    let mut table = Table::new(name, caption, &head(runs.len()));
    let keys: BTreeSet<&String> = runs.iter().flat_map(BTreeMap::keys).collect();
    for key in keys {
        let said: Vec<Option<&String>> = runs.iter().map(|run| run.get(key)).collect();
        if differences_only && said.windows(2).all(|pair| pair[0] == pair[1]) {
            continue;
        }
        let cells = said.into_iter().take(COLUMNS.len());
        let cells = cells.map(|said| said.map_or_else(Cell::empty, Cell::text));
        table.push(std::iter::once(Cell::text(key)).chain(cells).collect());
    }
    table
}

/// Returns the document's fields by path, as JSON.
fn document(run: &Run) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let document = document::read(&run.folder.join("document.yaml")).ok();
    if let Some(value) = document.and_then(|document| serde_json::to_value(document).ok()) {
        flatten("", &value, &mut fields);
    }
    fields
}

fn flatten(path: &str, value: &Value, fields: &mut BTreeMap<String, String>) {
    let join =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(object) if !object.is_empty() => {
            object.iter().for_each(|(name, value)| flatten(&join(name), value, fields));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&join(&index.to_string()), item, fields);
            }
        }
        Value::String(text) => {
            fields.insert(path.to_owned(), text.clone());
        }
        other => {
            fields.insert(path.to_owned(), other.to_string());
        }
    }
}

fn data(run: &Run) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    let parts = run.validation.iter().flat_map(|validation| &validation.parts);
    for part in parts {
        said.insert(format!("{} rows", part.part), units::count(part.rows));
        if let (Some(first), Some(last)) = (part.first, part.last) {
            let range = format!("{} to {}", units::time(first), units::until(first, last));
            said.insert(format!("{} range (UTC)", part.part), range);
        }
    }
    if let Some(validation) = &run.validation {
        let broken = validation.expectations.iter().filter(|finding| !finding.passed).count();
        said.insert("broken expectations".to_owned(), broken.to_string());
    }
    if let Some(bundle) = &run.bundle {
        let hash = units::short(&bundle.provenance.dataset_sha256).to_owned();
        said.insert("data set".to_owned(), hash);
        said.insert("features".to_owned(), bundle.contract.columns.len().to_string());
    }
    said
}

/// Figures of the bundles, with how the last differs from the first.
fn figures(runs: &[Run]) -> Table {
    let mut columns = head(runs.len());
    columns.push(("difference", "#Last less first"));
    let mut table = Table::new("figures", "Figures of each run's own data set", &columns);
    let of = |run: &Run| {
        let metrics = run.bundle.iter().flat_map(|bundle| &bundle.metrics);
        let named = metrics.flat_map(|(part, figures)| {
            figures.iter().map(move |(name, value)| (format!("{part} {name}"), *value))
        });
        named.collect::<BTreeMap<String, f64>>()
    };
    let runs: Vec<BTreeMap<String, f64>> = runs.iter().take(COLUMNS.len()).map(of).collect();
    let keys: BTreeSet<&String> = runs.iter().flat_map(BTreeMap::keys).collect();
    for key in keys {
        let values: Vec<Option<f64>> = runs.iter().map(|run| run.get(key).copied()).collect();
        let ends = values.first().copied().flatten().zip(values.last().copied().flatten());
        let mut row = vec![Cell::of(units::words(key), key.as_str())];
        row.extend(values.into_iter().map(Cell::number));
        row.push(Cell::number(ends.map(|(first, last)| last - first)));
        table.push(row);
    }
    table
}

fn seconds(run: &Run) -> BTreeMap<String, String> {
    let tasks = run.tasks.iter().filter(|task| task.record.attempts > 0);
    let tasks = tasks.map(|task| (task.record.name.clone(), units::seconds(task.record.seconds)));
    tasks.chain([("all".to_owned(), units::seconds(run.record.seconds))]).collect()
}

fn memory(run: &Run) -> BTreeMap<String, String> {
    let tasks = run.tasks.iter().filter_map(|task| {
        let bytes = task.outcome.as_ref()?.peak_memory_bytes;
        Some((task.record.name.clone(), units::bytes(bytes)))
    });
    tasks.collect()
}
