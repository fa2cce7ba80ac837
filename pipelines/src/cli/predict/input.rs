//! The rows of a table as features of a model: read directly if the table has the features by name,
//! otherwise computed by the document from the table's samples.

use std::path::Path;

use collect::tables;
use contract::step::Common;
use contract::steps::{CollectArgs, FeatureArgs, SourcePath};
use contract::{Division, FeatureContract, Outcome, Shard, Span, StepError, Timestamp, artifact};
use document::Document;
use document::sources::table::TableSource;
use document::sources::{Entity, Source};
use frames::samples::SampleRows;
use frames::{FeatureTable, RowLabels, Table};

use super::super::context::{Context, absolute};

/// Default columns of the time, the entity and the label.
const TIME: &str = "time";
const ENTITY: &str = "entity";
const LABEL: &str = "label";

/// The model and the pipeline for which rows are read.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    /// The pipeline, if one is given.
    pub(super) context: Option<&'a Context>,
    /// The features of the model.
    pub(super) contract: &'a FeatureContract,
    /// The shard whose rows the model scores; `None` for all rows.
    pub(super) shard: Option<Shard>,
    /// The column that determines the shard of a row; `None` if the entity determines it.
    pub(super) division: Option<&'a Division>,
}

impl Input<'_> {
    /// Reads a table.
    ///
    /// Errors: refused (3) for a file that is not a table, or lacks a column.
    pub(super) fn read(&self, path: &Path) -> Result<FeatureTable, StepError> {
        if !path.is_file() {
            return Err(StepError::usage(format!("there is no table `{}`", path.display()))
                .hint("check the path, and the folder in which the command runs"));
        }
        let path = &absolute(path)?;
        let (settings, entity) = self.settings()?;
        let header = tables::header(path, &settings)?;
        let has = |name: &str| header.iter().any(|column| column == name);
        let names = self.contract.names();
        let missing: Vec<&str> = names.iter().copied().filter(|name| !has(name)).collect();
        let settings = fitted(settings, path, has);
        if let Some(error) = self.undivided(path, &settings, &header) {
            return Err(error);
        }
        if missing.is_empty() {
            let columns = names.iter().map(|name| (*name).to_owned()).collect();
            return self.rows(path, &self.labelled(TableSource { columns, ..settings }), &entity);
        }
        match self.context {
            Some(context) => self.made(context, path, settings, &header),
            None => Err(lacks(path, &missing).hint(
                "name the pipeline instead of the bundle: its document says how features are made",
            )),
        }
    }

    /// Returns the settings of the document's table, or those of any table.
    fn settings(&self) -> Result<(TableSource, Entity), StepError> {
        let sources =
            self.context.into_iter().flat_map(|context| context.document.sources.values());
        let mut tables =
            sources.filter_map(|source| Some((source.table.clone()?, source.entity.clone())));
        match tables.next() {
            Some(table) => Ok(table),
            None => Ok((any_table()?, Entity::default())),
        }
    }

    /// Reads the features of each row unchanged.
    fn rows(
        &self,
        path: &Path,
        settings: &TableSource,
        entity: &Entity,
    ) -> Result<FeatureTable, StepError> {
        let mut table = Table::empty(self.contract.names());
        let mut labels = Vec::new();
        tables::each_block(path, settings, entity, self.contract.step, &mut |rows| {
            let rows = self.own(rows);
            table.times.extend(&rows.times);
            for name in &rows.entities {
                let index = table.entity_index(name);
                table.entity.push(index);
            }
            labels.extend(rows.labels);
            for (column, values) in table.columns.iter_mut().zip(&rows.columns) {
                column.values.extend(values.iter().map(|value| value.unwrap_or(f64::NAN)));
            }
            Ok(())
        })?;
        let rows = table.rows();
        let is_labelled = settings.label.is_some() && settings.label.as_deref() != self.label();
        let labels = is_labelled.then(|| RowLabels {
            label: labels,
            scenario: vec![String::new(); rows],
            excluded: vec![false; rows],
        });
        let contract = self.contract.clone();
        Ok(FeatureTable { contract, table, warm_up: vec![false; rows], labels })
    }

    /// Returns the column that determines the shard of a row, if there is one.
    fn label(&self) -> Option<&str> {
        self.shard?;
        self.division.map(|division| division.label.as_str())
    }

    /// Returns the rows that the model scores.
    fn own(&self, rows: SampleRows) -> SampleRows {
        let Some(shard) = self.shard else { return rows };
        let is_own = |entity: &str, label: &str| match self.division {
            Some(division) => division.holds(shard, label),
            None => shard.holds(entity),
        };
        rows.split(1, |entity, label| is_own(entity, label).then_some(0)).pop().unwrap_or_default()
    }

    /// Returns why the shard of a row is unknown; `None` if it is known.
    fn undivided(
        &self,
        path: &Path,
        settings: &TableSource,
        header: &[String],
    ) -> Option<StepError> {
        self.shard?;
        let path = path.display();
        let (message, hint) = match self.label() {
            Some(label) if !header.iter().any(|name| name == label) => (
                format!("`{path}` has no column `{label}`, which says whose model judges a row"),
                "the shards of the version are divided by that label: add it to the table",
            ),
            None if settings.entity.is_none() => (
                format!("`{path}` names no entity, which says whose model judges a row"),
                "the version has shards: name the table's column of entities in `table.entity` of the document",
            ),
            Some(_) | None => return None,
        };
        Some(StepError::refused(message).hint(hint))
    }

    /// Returns the settings with the label that determines the shard of a row, if there is one.
    fn labelled(&self, settings: TableSource) -> TableSource {
        match self.label() {
            Some(label) => TableSource { label: Some(label.to_owned()), ..settings },
            None => settings,
        }
    }

    /// Computes the features of the table's samples in a temporary folder.
    fn made(
        &self,
        context: &Context,
        path: &Path,
        settings: TableSource,
        header: &[String],
    ) -> Result<FeatureTable, StepError> {
        let document = reading(context, settings, header)?;
        let folder = context.store.root.join(format!("cache/predict-{}", std::process::id()));
        let table = self.made_in(&folder, &document, path);
        artifact::remove(&folder).map_err(|e| StepError::writing(&folder, &e))?;
        table
    }

    /// Returns the first and the last time of the model's rows in a document's table; `None`
    /// without a row.
    fn extent(
        &self,
        document: &Document,
        path: &Path,
    ) -> Result<Option<(Timestamp, Timestamp)>, StepError> {
        let mut range: Option<(Timestamp, Timestamp)> = None;
        for source in document.sources.values() {
            let Some(settings) = source.table.clone() else { continue };
            let settings = self.labelled(settings);
            tables::each_block(path, &settings, &source.entity, document.step, &mut |rows| {
                for time in self.own(rows).times {
                    let (first, last) = range.unwrap_or((time, time));
                    range = Some((first.min(time), last.max(time)));
                }
                Ok(())
            })?;
        }
        Ok(range)
    }

    /// Returns a table without rows.
    fn none(&self) -> FeatureTable {
        let table = Table::empty(self.contract.names());
        FeatureTable { contract: self.contract.clone(), table, warm_up: Vec::new(), labels: None }
    }

    fn made_in(
        &self,
        folder: &Path,
        document: &Document,
        path: &Path,
    ) -> Result<FeatureTable, StepError> {
        let file = folder.join("document.yaml");
        document::write(&file, document)?;
        let (first, last) = match self.extent(document, path)? {
            Some(range) => range,
            // A shard may have no rows; a table without rows is an error.
            None if Self { shard: None, ..*self }.extent(document, path)?.is_some() => {
                return Ok(self.none());
            }
            None => {
                return Err(StepError::refused(format!("`{}` has no rows", path.display()))
                    .hint("name a table with at least one row below its header"));
            }
        };
        let samples = folder.join("samples.parquet");
        let features = folder.join("features.parquet");
        artifact::scratch(true);
        let collected = collect::run(
            &CollectArgs {
                document: file.clone(),
                samples: samples.clone(),
                now: ceiling(last, document.step),
                start: Some(first.floor(document.step) - document.step),
                range: None,
                store: None,
                recorded: None,
                pins: None,
                source: vec![SourcePath { name: None, path: path.to_owned() }],
                coverage: None,
                record: None,
                shard: self.shard,
                shards: None,
                live: None,
                numbers: None,
                common: Common::default(),
            },
            &mut Outcome::start("collect"),
        );
        let args = FeatureArgs {
            document: file,
            samples,
            labels: None,
            features: features.clone(),
            common: Common::default(),
        };
        let made = collected.and_then(|()| feature::run(&args, &mut Outcome::start("feature")));
        artifact::scratch(false);
        made?;
        let mut table = FeatureTable::read(&features)?.with_columns_of(self.contract);
        let have: Vec<&str> = table.contract.names();
        let missing: Vec<&str> =
            self.contract.names().into_iter().filter(|name| !have.contains(name)).collect();
        if !missing.is_empty() {
            return Err(lacks(path, &missing));
        }
        // A table has the same columns as a server, but other formulas.
        table.contract = self.contract.clone();
        Ok(table)
    }
}

/// Returns the document with the table in place of its sources.
fn reading(
    context: &Context,
    settings: TableSource,
    header: &[String],
) -> Result<Document, StepError> {
    let mut document = context.document.clone();
    let known = document.columns();
    let numbers = known.into_iter().filter(|column| !column.is_text());
    let columns: Vec<String> =
        numbers.map(|column| column.name).filter(|name| header.contains(name)).collect();
    if columns.is_empty() && !document.has_other_columns() {
        let names: Vec<String> = document.columns().into_iter().map(|column| column.name).collect();
        return Err(StepError::refused(format!(
            "the table has neither the model's features nor the document's samples: {}",
            names.join(", ")
        ))
        .hint("rename its columns, or list them in `table.columns` of the document"));
    }
    let columns = if document.has_other_columns() { settings.columns.clone() } else { columns };
    // A text column has its name in the samples, or the name of its label.
    let texts = document.sources.values().flat_map(|source| &source.entity.texts);
    let texts = texts.filter_map(|(name, label)| {
        let there = [name, label].into_iter().find(|column| header.contains(column))?;
        Some((name.clone(), there.clone()))
    });
    let source = Source {
        table: Some(TableSource { columns, ..settings }),
        entity: Entity { texts: texts.collect(), ..Entity::default() },
        ..Source::default()
    };
    document.sources = [("table".to_owned(), source)].into();
    Ok(document)
}

fn lacks(path: &Path, missing: &[&str]) -> StepError {
    let shown: Vec<&str> = missing.iter().copied().take(10).collect();
    let more = missing.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    StepError::refused(format!(
        "`{}` does not have these features of the model: {}{more}",
        path.display(),
        shown.join(", ")
    ))
    .hint(
        "use a table with all of them, or a table with the document's samples, from which the \
             features are computed",
    )
}

/// Returns the default settings of a table.
fn any_table() -> Result<TableSource, StepError> {
    let value =
        serde_json::json!({"path": "table", "time": TIME, "entity": ENTITY, "label": LABEL});
    serde_json::from_value(value).map_err(|e| StepError::bug(format!("no settings: {e}")))
}

/// Removes the columns that the table does not have. Rows without times are one step apart.
fn fitted(settings: TableSource, path: &Path, has: impl Fn(&str) -> bool) -> TableSource {
    let there = |name: Option<String>| name.filter(|name| has(name));
    let time = there(settings.time);
    let start = settings.start.or_else(|| time.is_none().then(|| Timestamp::from_ms(0)));
    TableSource {
        path: path.to_owned(),
        time,
        start,
        entity: there(settings.entity),
        label: there(settings.label),
        ..settings
    }
}

/// Returns the first and the last time of a document's table.
///
/// Errors: refused for a table without rows.
pub(in super::super) fn range(
    document: &Document,
    path: &Path,
) -> Result<(Timestamp, Timestamp), StepError> {
    let mut range: Option<(Timestamp, Timestamp)> = None;
    for source in document.sources.values() {
        let Some(settings) = &source.table else { continue };
        tables::each_block(path, settings, &source.entity, document.step, &mut |rows| {
            for time in rows.times {
                let (first, last) = range.unwrap_or((time, time));
                range = Some((first.min(time), last.max(time)));
            }
            Ok(())
        })?;
    }
    range.ok_or_else(|| {
        StepError::refused(format!("`{}` has no rows", path.display()))
            .hint("use a table with at least one row below its header")
    })
}

/// Returns the first whole step that is not before a time.
pub(in super::super) fn ceiling(time: Timestamp, step: Span) -> Timestamp {
    let floor = time.floor(step);
    if floor == time { time } else { floor + step }
}
