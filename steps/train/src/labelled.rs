//! Reads the labelled rows of a data set, including anomalous ones.

use std::collections::BTreeSet;
use std::path::Path;

use contract::StepError;
use detectors::class_trees::Classes;
use detectors::fit::labelled::Labelled;
use frames::{Dataset, FeatureTable};
use models::matrix;
use ndarray::Axis;

/// Blocks of consecutive rows of a class, which are used if runs cannot be distinguished.
const BLOCKS: usize = 5;

/// Reads the labelled rows of a data set; a data set without labelled rows is refused.
pub(crate) fn read(
    dataset: &Path,
    normal: &[String],
) -> Result<(FeatureTable, Labelled), StepError> {
    let path = dataset.join(Dataset::LABELLED_FILE);
    let missing = |why: &str| {
        StepError::refused(format!("`{}` {why}", path.display())).hint(
            "set `labels.scenarios`, or `label` of the table, and use a `range` with scenarios",
        )
    };
    if !path.exists() {
        return Err(missing("is not there: the features have no labels"));
    }
    let table = FeatureTable::read(&path)?;
    let labelled = of(&table, normal).ok_or_else(|| missing("has no labels"))?;
    Ok((table, labelled))
}

/// Takes the rows of a table that count: those outside of guard bands. Returns `None` without
/// labels.
///
/// A run is a scenario; outside of scenarios it is an entity if there are several, otherwise
/// one of five blocks of consecutive rows of a class.
fn of(table: &FeatureTable, normal: &[String]) -> Option<Labelled> {
    let labels = table.labels.as_ref()?;
    let rows: Vec<usize> = (0..table.rows()).filter(|row| !labels.excluded[*row]).collect();
    let names: BTreeSet<&String> = rows.iter().map(|row| &labels.label[*row]).collect();
    let names: Vec<String> = names.into_iter().cloned().collect();
    let index = |row: &usize| names.binary_search(&labels.label[*row]).unwrap_or(0);
    let class: Vec<usize> = rows.iter().map(index).collect();
    let mut totals = vec![0; names.len()];
    class.iter().for_each(|class| totals[*class] += 1);
    let mut seen = vec![0; names.len()];
    let entities: BTreeSet<u32> = rows.iter().map(|row| table.table.entity[*row]).collect();
    let runs = rows.iter().zip(&class).map(|(row, class)| {
        seen[*class] += 1;
        match (labels.scenario[*row].as_str(), entities.len()) {
            ("", 0 | 1) => {
                let block = (seen[*class] - 1) * BLOCKS / totals[*class];
                format!("{} block {}", names[*class], block + 1)
            }
            ("", _) => table.table.entity_of(*row).to_owned(),
            (scenario, _) => scenario.to_owned(),
        }
    });
    let runs = runs.collect();
    let normal = names.iter().map(|name| frames::is_normal(normal, name)).collect();
    let values = matrix(table).select(Axis(0), &rows);
    Some(Labelled { values, classes: Classes { names, normal }, class, runs })
}
