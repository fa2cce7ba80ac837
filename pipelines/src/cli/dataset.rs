//! `lynceus dataset`: the labelled feature rows of a run, for other programs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use collect::raw::Written;
use contract::{StepError, TimeRange, artifact};
use frames::FeatureTable;
use fs_err as fs;
use serde_json::{Map, Value, json};

use super::context::{StorePlace, absolute};
use super::{Global, OutputFormat, print, print_json, runs, say};
use crate::find;

/// What to do with a data set.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DatasetCommand {
    /// Write the feature rows of a run with their labels
    #[command(after_help = "Example: lynceus dataset export node --format csv --to node.csv")]
    Export {
        /// Name of the pipeline
        pipeline: String,
        /// Name of the run, its beginning, `previous`, or `last`
        #[arg(long, value_name = "RUN", default_value = "last")]
        run: String,
        /// Format of the file
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "csv")]
        format: Format,
        /// Write this file [default: CSV goes to stdout]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// Also write the raw data of the rows into a folder named like FILE with the extension
        /// `.raw`: lines of events, segments of recorders, and samples
        #[arg(long, requires = "to")]
        raw: bool,
    },
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A header and a line a row.
    Csv,
    /// Parquet.
    Parquet,
}

pub(crate) fn execute(global: &Global, command: &DatasetCommand) -> Result<(), StepError> {
    let DatasetCommand::Export { pipeline, run, format, to, raw } = command;
    let store = StorePlace::new(&global.store)?;
    let (folder, _) = runs::find(&store, pipeline, run)?;
    store.bring_run(&folder)?;
    let is_json = global.output() == OutputFormat::Json;
    if *raw && runs::parts(&folder).len() > 1 {
        return Err(StepError::usage(
            "`--raw`: the run has shards, whose samples lie in several files",
        )
        .hint("leave `--raw` out: the samples are in the run's folder, below `collect`"));
    }
    runs::with_features(&folder, |path| write_rows(path, *format, to.as_deref(), is_json))?;
    if is_json && to.is_none() {
        return Ok(());
    }
    let Some(to) = to else { return Ok(()) };
    let raw = raw.then(|| write_raw(global, pipeline, &store, &folder, to)).transpose()?;
    match (raw, is_json) {
        (None, true) => print_json(&json!({"path": to})),
        (Some((folder, _)), true) => print_json(&json!({"path": to, "raw": folder})),
        (Some((folder, written)), false) => {
            let of = |it: &Written| format!(" {} ({})", it.name, it.count);
            let files: String = written.iter().map(of).collect();
            say(&format!("Wrote{files} samples.parquet into {}", folder.display()));
            Ok(())
        }
        (None, false) => Ok(()),
    }
}

/// Writes feature rows to a file, or to standard output.
fn write_rows(
    path: &Path,
    format: Format,
    to: Option<&Path>,
    is_json: bool,
) -> Result<(), StepError> {
    match (format, to) {
        (_, None) if is_json => print_json(&objects(path)?),
        (Format::Parquet, None) => Err(StepError::usage("Parquet does not go to stdout")
            .hint("write it to a file with `--to FILE`")),
        (Format::Parquet, Some(to)) => {
            let bytes = fs::read(path).map_err(|error| StepError::reading(path, &error))?;
            artifact::write_file(to, &bytes)
        }
        (Format::Csv, Some(to)) => artifact::write_file(to, csv(path)?.as_bytes()),
        (Format::Csv, None) => print(&csv(path)?),
    }
}

/// Writes the raw data of a run's rows into a folder beside their file; returns the folder, and its
/// content by source.
fn write_raw(
    global: &Global,
    pipeline: &str,
    store: &StorePlace,
    run: &Path,
    to: &Path,
) -> Result<(PathBuf, Vec<Written>), StepError> {
    let document = document::read(&run.join("document.yaml"))?;
    // Files of events are relative to the document's folder, which is not part of a run.
    let base = absolute(&find::document(pipeline, &global.pipelines)?.base)?;
    let extent = FeatureTable::extent(&run.join("feature/features.parquet"))?;
    let (Some(first), Some(last)) = (extent.first, extent.last) else {
        return Err(StepError::refused("the run has no rows").hint("name another run with --run"));
    };
    let range = TimeRange { after: first - document.step, until: last };
    let folder = collect::raw::folder_beside(to);
    let store = store.open()?;
    let mut written = Vec::new();
    artifact::write_folder(&folder, |folder| {
        written = collect::raw::write(&document, &base, store.as_ref(), range, folder)?;
        collect::raw::copy_samples(&run.join("collect/samples.parquet"), folder)
    })?;
    Ok((folder, written))
}

/// Returns the rows as JSON: an object for each, with null for a gap.
fn objects(path: &Path) -> Result<Vec<Map<String, Value>>, StepError> {
    let features = FeatureTable::read(path)?;
    let (table, labels) = (&features.table, features.labels.as_ref());
    let object = |row: usize| {
        let text = |texts: Option<&Vec<String>>| {
            texts.and_then(|texts| texts.get(row)).cloned().unwrap_or_default()
        };
        let excluded = labels.is_some_and(|labels| labels.excluded.get(row) == Some(&true));
        let mut object = Map::new();
        for (name, value) in [
            ("time", json!(table.times.get(row))),
            ("entity", json!(table.entity_of(row))),
            ("label", json!(text(labels.map(|labels| &labels.label)))),
            ("scenario", json!(text(labels.map(|labels| &labels.scenario)))),
            ("excluded", json!(excluded)),
        ] {
            object.insert(name.to_owned(), value);
        }
        for column in &table.columns {
            // JSON has no number for a gap, so it becomes null.
            object.insert(column.name.clone(), json!(column.values.get(row)));
        }
        object
    };
    Ok((0..features.rows()).map(object).collect())
}

/// Returns the rows as CSV: time, entity, label, scenario, whether metrics exclude the row, and the
/// features; a gap is empty.
fn csv(path: &Path) -> Result<String, StepError> {
    let features = FeatureTable::read(path)?;
    let table = &features.table;
    let mut text = "time,entity,label,scenario,excluded".to_owned();
    table.columns.iter().for_each(|column| text.extend([",", &cell(&column.name)]));
    text.push('\n');
    for row in 0..features.rows() {
        let labels = features.labels.as_ref();
        let of = |texts: Option<&Vec<String>>| {
            texts.and_then(|texts| texts.get(row)).map(|it| cell(it)).unwrap_or_default()
        };
        let excluded = labels.is_some_and(|labels| labels.excluded.get(row) == Some(&true));
        // Writing to a String cannot fail.
        write!(
            text,
            "{},{},{},{},{excluded}",
            table.times[row],
            cell(table.entity_of(row)),
            of(labels.map(|labels| &labels.label)),
            of(labels.map(|labels| &labels.scenario)),
        )
        .unwrap_or_default();
        for column in &table.columns {
            match column.values.get(row).filter(|value| !value.is_nan()) {
                Some(value) => write!(text, ",{value}").unwrap_or_default(),
                None => text.push(','),
            }
        }
        text.push('\n');
    }
    Ok(text)
}

/// Returns a text as a cell, in quotes if necessary.
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_must_be() {
        let cells = ["node-1", "a,b", "say \"x\"", ""].map(cell);
        assert_eq!(cells, ["node-1", "\"a,b\"", "\"say \"\"x\"\"\"", ""]);
    }
}
