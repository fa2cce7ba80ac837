//! The sink `postgres`: a table with a row for each entity and window.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ::postgres::{Column, Loader, Rows, Target, Values, column_name};
use contract::score::{EntityScore, Verdict};
use contract::{ErrorKind, Timestamp};
use document::sinks::postgres::PostgresSink;
use frames::FeatureTable;

use super::{Batch, Failure, Sink};

/// Columns of each row beside time, entity and features.
const OWN: [&str; 7] = ["time", "entity", "score", "attack", "verdict", "label", "version"];

/// A table.
#[derive(Debug)]
pub(super) struct Postgres {
    settings: PostgresSink,
    field: String,
    folder: PathBuf,
    /// Is made with the first rows: a server that is away must not fail what comes before.
    loader: Option<Loader>,
}

impl Postgres {
    /// Names the table; nothing is sent yet. `name` is the sink's in the document.
    pub(super) fn new(settings: &PostgresSink, name: &str, folder: &Path) -> Self {
        let (settings, folder) = (settings.clone(), folder.to_owned());
        Self { settings, field: format!("exports.{name}.postgres"), folder, loader: None }
    }

    fn loader(&mut self, pipeline: &str) -> Result<&mut Loader, contract::StepError> {
        if let Some(loader) = self.loader.take() {
            return Ok(self.loader.insert(loader));
        }
        let table = self.settings.table.clone();
        let target = Target {
            schema: self.settings.schema.clone(),
            table: table.unwrap_or_else(|| pipeline.replace('-', "_")),
            views: self.settings.views,
            retention: self.settings.retention,
        };
        let loader = Loader::connect(&self.field, &self.settings.server, &self.folder, target)?;
        Ok(self.loader.insert(loader))
    }
}

impl Sink for Postgres {
    fn publish(&mut self, batch: &Batch<'_>) -> Result<usize, Failure> {
        let rows = rows(batch);
        let loaded = self.loader(batch.pipeline).and_then(|loader| loader.load(&rows));
        loaded.map(|loaded| usize::try_from(loaded.changed).unwrap_or(usize::MAX)).map_err(
            |error| {
                Failure {
                    // What a constraint refuses it refuses the next time too; rights can be granted.
                    is_final: error.kind == ErrorKind::Refused,
                    kind: "postgres".to_owned(),
                    error,
                }
            },
        )
    }

    fn wants_features(&self) -> bool {
        self.settings.features
    }
}

/// Returns a row for each window and entity.
fn rows(batch: &Batch<'_>) -> Rows {
    let scored = || {
        batch.windows.iter().flat_map(|window| window.entities.iter().map(move |it| (window, it)))
    };
    let places = places(batch.features);
    let place_of = |time: Timestamp, entity: &str| places.get(&(time, entity)).copied();
    let label_of = |row: usize| {
        let labels = batch.features?.labels.as_ref()?;
        labels.label.get(row).filter(|label| !label.is_empty()).cloned()
    };
    let found: Vec<Option<usize>> =
        scored().map(|(window, it)| place_of(window.time, &it.entity)).collect();
    let labels: Vec<Option<String>> = found.iter().map(|row| label_of((*row)?)).collect();
    let attack = scored().zip(&labels).map(|((_, it), label)| attack(it, label.as_deref()));
    let text = |value: &str| Some(value.to_owned());
    let mut columns = vec![
        ("score", Values::Numbers(scored().map(|(_, it)| score(it)).collect())),
        ("attack", Values::Flags(attack.collect())),
        ("verdict", Values::Texts(scored().map(|(_, it)| text(word(it.verdict))).collect())),
        ("version", Values::Texts(scored().map(|(window, _)| text(&window.version)).collect())),
    ];
    if labels.iter().any(Option::is_some) {
        columns.push(("label", Values::Texts(labels)));
    }
    let own = columns.into_iter().map(|(name, values)| Column { name: name.to_owned(), values });
    let features = batch.features.into_iter().flat_map(|features| &features.table.columns);
    let features = features.map(|column| Column {
        name: feature_name(&column.name),
        values: Values::Numbers(
            found.iter().map(|row| column.values.get((*row)?).copied()).collect(),
        ),
    });
    Rows {
        times: scored().map(|(window, _)| window.time).collect(),
        entities: scored().map(|(_, it)| it.entity.clone()).collect(),
        columns: own.chain(features).collect(),
    }
}

/// Returns the number of each row of the features.
fn places(features: Option<&FeatureTable>) -> HashMap<(Timestamp, &str), usize> {
    let Some(features) = features else { return HashMap::new() };
    let table = &features.table;
    (0..table.rows()).map(|row| ((table.times[row], table.entity_of(row)), row)).collect()
}

fn feature_name(name: &str) -> String {
    let is_taken = OWN.contains(&name);
    column_name(&if is_taken { format!("{name}_feature") } else { name.to_owned() })
}

/// Returns the highest share of reference rows that a member says score lower.
fn score(entity: &EntityScore) -> Option<f64> {
    entity.members.iter().map(|member| member.calibrated).reduce(f64::max)
}

/// Says whether a row is an attack: by the label where there is one.
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
