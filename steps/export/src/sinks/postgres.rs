//! The sink `postgres`: a table with a row for each entity and window.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use ::postgres::{Column, Loader, Rows, Target, Values, column_name, value_column};
use contract::score::{EntityScore, Verdict, WindowScore};
use contract::{ErrorKind, StepError, Timestamp};
use document::sinks::postgres::PostgresSink;
use frames::FeatureTable;
use models::Reference;
use store::{ObjectStore, Registry};

use super::{Batch, Failure, Opener, Sink};

/// Mean and standard deviation of each feature over the reference rows of a version.
type Moments = HashMap<String, (f64, f64)>;

/// A table.
#[derive(Debug)]
struct Postgres {
    settings: PostgresSink,
    field: String,
    folder: PathBuf,
    /// Created with the first rows, so that an unreachable server does not make earlier work fail.
    loader: Option<Loader>,
    /// By version, for z-scores; empty for a version that no longer exists.
    moments: BTreeMap<String, Moments>,
}

impl Opener for PostgresSink {
    /// Names the table; nothing is sent yet.
    fn open(&self, name: &str, folder: &Path) -> Result<Box<dyn Sink>, StepError> {
        let (settings, folder) = (self.clone(), folder.to_owned());
        let field = format!("exports.{name}.postgres");
        Ok(Box::new(Postgres { settings, field, folder, loader: None, moments: BTreeMap::new() }))
    }
}

impl Postgres {
    fn loader(&mut self, pipeline: &str) -> Result<&mut Loader, StepError> {
        if let Some(loader) = self.loader.take() {
            return Ok(self.loader.insert(loader));
        }
        let target = Target::of_table(&self.settings.target(), pipeline);
        let loader = Loader::connect(&self.field, &self.settings.server, &self.folder, target)?;
        Ok(self.loader.insert(loader))
    }

    /// Makes the requested columns of features, as values and as z-scores; `found` are the rows of
    /// the features in the order of the batch.
    fn values(
        &mut self,
        batch: &Batch<'_>,
        found: &[Option<usize>],
    ) -> Result<Vec<Column>, StepError> {
        let Some(features) = batch.features else { return Ok(Vec::new()) };
        let mut columns = Vec::new();
        if self.settings.features {
            for column in &features.table.columns {
                let values = found.iter().map(|row| column.values.get((*row)?).copied());
                let values = Values::Numbers(values.collect());
                columns.push(Column { name: value_column(&column.name), values });
            }
        }
        if self.settings.z_scores {
            for window in batch.windows {
                if !self.moments.contains_key(&window.version) {
                    let moments = moments(batch.store, batch.pipeline, &window.version)?;
                    self.moments.insert(window.version.clone(), moments);
                }
            }
            for column in &features.table.columns {
                let moments = scored(batch).map(|(window, _)| {
                    self.moments.get(&window.version).and_then(|of| of.get(&column.name))
                });
                let z_score = |(row, moments): (&Option<usize>, Option<&(f64, f64)>)| {
                    let (mean, deviation) = moments.filter(|of| of.1 > 0.0)?;
                    Some((column.values.get((*row)?)? - mean) / deviation)
                };
                let values = Values::Numbers(found.iter().zip(moments).map(z_score).collect());
                columns.push(Column { name: column_name(&format!("{}_z", column.name)), values });
            }
        }
        // A feature may have the same name as the z-score of another one: the first one keeps the
        // name.
        let mut names = HashSet::new();
        columns.retain(|column| names.insert(column.name.clone()));
        Ok(columns)
    }
}

/// Reads the mean and standard deviation of each feature over a version's reference rows.
fn moments(store: &dyn ObjectStore, pipeline: &str, version: &str) -> Result<Moments, StepError> {
    let registry = Registry::new(store, pipeline);
    let files = registry.fetch_where(version, None, |_, record| record.file == Reference::FILE);
    let files = match files {
        Ok(files) => files,
        // A version that was removed, or a classifier, which has no such rows, has no z-scores.
        Err(error) if error.kind == ErrorKind::Refused => return Ok(Moments::new()),
        Err(error) => return Err(error),
    };
    let Some(bytes) = files.get(Reference::FILE) else { return Ok(Moments::new()) };
    let features = Reference::parse(bytes)?.features.into_iter();
    Ok(features.filter_map(|it| Some((it.name, it.sketch.moments()?))).collect())
}

impl Sink for Postgres {
    fn publish(&mut self, batch: &Batch<'_>) -> Result<usize, Failure> {
        let rows = self.rows(batch);
        let loaded =
            rows.and_then(|rows| self.loader(batch.pipeline).and_then(|loader| loader.load(&rows)));
        loaded.map(|loaded| usize::try_from(loaded.changed).unwrap_or(usize::MAX)).map_err(
            |error| {
                Failure {
                    // A row that violates a constraint would be rejected again, so this is final.
                    // Missing permissions can be granted.
                    is_final: error.kind == ErrorKind::Refused,
                    kind: "postgres".to_owned(),
                    error,
                }
            },
        )
    }

    fn wants_features(&self) -> bool {
        self.settings.features || self.settings.z_scores
    }
}

/// Returns each pair of a window and one of its entities, in the order of the rows.
fn scored<'a>(batch: &Batch<'a>) -> impl Iterator<Item = (&'a WindowScore, &'a EntityScore)> {
    let windows = batch.windows;
    windows.iter().flat_map(|window| window.entities.iter().map(move |it| (window, it)))
}

impl Postgres {
    /// Returns a row for each window and entity.
    fn rows(&mut self, batch: &Batch<'_>) -> Result<Rows, StepError> {
        let places = places(batch.features);
        let place_of = |time: Timestamp, entity: &str| places.get(&(time, entity)).copied();
        let label_of = |row: usize| {
            let labels = batch.features?.labels.as_ref()?;
            labels.label.get(row).filter(|label| !label.is_empty()).cloned()
        };
        let found: Vec<Option<usize>> =
            scored(batch).map(|(window, it)| place_of(window.time, &it.entity)).collect();
        let labels: Vec<Option<String>> = found.iter().map(|row| label_of((*row)?)).collect();
        let attack =
            scored(batch).zip(&labels).map(|((_, it), label)| attack(it, label.as_deref()));
        let text = |value: &str| Some(value.to_owned());
        let verdicts = scored(batch).map(|(_, it)| text(word(it.verdict)));
        let versions = scored(batch).map(|(window, _)| text(&window.version));
        let mut columns = vec![
            ("score", Values::Numbers(scored(batch).map(|(_, it)| score(it)).collect())),
            ("attack", Values::Flags(attack.collect())),
            ("verdict", Values::Texts(verdicts.collect())),
            ("version", Values::Texts(versions.collect())),
        ];
        if labels.iter().any(Option::is_some) {
            columns.push(("label", Values::Texts(labels)));
        }
        let own = columns.into_iter();
        let mut columns: Vec<Column> =
            own.map(|(name, values)| Column { name: name.to_owned(), values }).collect();
        columns.extend(self.values(batch, &found)?);
        Ok(Rows {
            times: scored(batch).map(|(window, _)| window.time).collect(),
            entities: scored(batch).map(|(_, it)| it.entity.clone()).collect(),
            columns,
        })
    }
}

/// Returns the number of each row of the features.
fn places(features: Option<&FeatureTable>) -> HashMap<(Timestamp, &str), usize> {
    let Some(features) = features else { return HashMap::new() };
    let table = &features.table;
    (0..table.rows()).map(|row| ((table.times[row], table.entity_of(row)), row)).collect()
}

/// Returns the highest score of the members: the share of reference rows that score lower.
fn score(entity: &EntityScore) -> Option<f64> {
    entity.members.iter().map(|member| member.calibrated).reduce(f64::max)
}

/// Returns whether a row is an attack: by its label if it has one.
fn attack(entity: &EntityScore, label: Option<&str>) -> Option<bool> {
    match (label, entity.verdict) {
        (Some(label), _) => Some(!["normal", "benign", "0"].contains(&label)),
        (None, Verdict::Anomalous) => Some(true),
        (None, Verdict::Normal) => Some(false),
        (None, Verdict::NoData) => None,
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Normal => "normal",
        Verdict::Anomalous => "anomalous",
        Verdict::NoData => "no_data",
    }
}
