//! Records and statistics of the rows of a day.

use std::collections::BTreeSet;

use contract::catalog::{ColumnStatistics, Origin, Part, PartStatistics, QUANTILE_LEVELS};
use contract::{StepError, Timestamp, artifact};
use frames::FeatureTable;

use super::publish::DAY;

/// Returns the day of rows that all have the same day.
pub(super) fn day(rows: &FeatureTable) -> Timestamp {
    rows.table.times.first().map_or(Timestamp::from_ms(0), |time| time.floor(DAY))
}

/// Returns the record of a day's rows; `bytes` is their file.
pub(super) fn part(
    rows: &FeatureTable,
    date: &str,
    bytes: &[u8],
    is_whole: bool,
    origin: Option<Origin>,
) -> Result<Part, StepError> {
    let times = &rows.table.times;
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return Err(StepError::refused(format!("the part of {date} has no rows"))
            .hint("publish a run that covers this day"));
    };
    let entities: BTreeSet<u32> = rows.table.entity.iter().copied().collect();
    Ok(Part {
        format: Part::FORMAT,
        date: date.to_owned(),
        sha256: artifact::sha256(bytes),
        size_bytes: bytes.len() as u64,
        rows: rows.rows() as u64,
        entities: entities.len() as u64,
        first: *first,
        last: *last,
        is_whole,
        origin,
    })
}

/// Returns statistics of the values of each feature.
pub(super) fn statistics(rows: &FeatureTable) -> PartStatistics {
    let columns = rows.table.columns.iter().map(|column| {
        let mut sorted: Vec<f64> =
            column.values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mean = sorted.iter().sum::<f64>() / sorted.len().max(1) as f64;
        let levels = QUANTILE_LEVELS.iter().filter(|_| !sorted.is_empty());
        ColumnStatistics {
            name: column.name.clone(),
            count: sorted.len() as u64,
            nulls: (column.values.len() - sorted.len()) as u64,
            min: sorted.first().copied(),
            max: sorted.last().copied(),
            mean: (!sorted.is_empty() && mean.is_finite()).then_some(mean),
            quantiles: levels.map(|level| models::reference::quantile(&sorted, *level)).collect(),
        }
    });
    PartStatistics {
        format: PartStatistics::FORMAT,
        rows: rows.rows() as u64,
        columns: columns.collect(),
    }
}
