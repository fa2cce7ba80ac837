//! Samples on the step grid: one row per entity and step from its first to its last sample.

use contract::{Span, StepError, Timestamp};
use frames::{Column, Samples};
use polars::prelude::{Column as Keys, DataFrame, PolarsError, SortMultipleOptions};
use rayon::prelude::*;

use crate::extents::{Extent, Extents, window_end};

/// Value in [`Grid::source`] of a row without a sample.
pub(crate) const NO_SAMPLE: u32 = u32::MAX;

/// The consecutive rows of one entity; none if it has no window in the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entity {
    pub(crate) name: String,
    /// End of the window of its first sample in the whole file.
    pub(crate) first: Timestamp,
    /// End of the window of the first row.
    pub(crate) start: Timestamp,
    /// Index of the first row.
    pub(crate) first_row: usize,
    /// Number of rows.
    pub(crate) rows: usize,
    /// Number of the first rows, which belong to the previous block.
    pub(crate) carried: usize,
}

impl Entity {
    /// Returns the indices of the rows.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.first_row..self.first_row + self.rows
    }

    /// Returns the indices of the rows that are the block's own.
    pub(crate) fn own(&self) -> std::ops::Range<usize> {
        self.first_row + self.carried..self.first_row + self.rows
    }
}

/// The windows that end in `(after, until]`, of all entities.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) extents: &'a Extents,
    pub(crate) after: Timestamp,
    pub(crate) until: Timestamp,
    /// How far before `after` a feature of the block may reach.
    pub(crate) lookback: Span,
}

/// Samples on the step grid, entity after entity in the order of their names; a missing sample
/// is `NaN`.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) step: Span,
    pub(crate) entities: Vec<Entity>,
    /// Row of the samples behind each grid row, or [`NO_SAMPLE`].
    pub(crate) source: Vec<u32>,
    /// The requested sample columns.
    pub(crate) columns: Vec<Column>,
}

/// Counts of samples that were moved, merged or dropped for the grid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct GridCounts {
    /// Samples replaced by a later one of the same entity and time.
    pub(crate) duplicates: usize,
    /// Samples whose time is not a multiple of the step.
    pub(crate) off_grid: usize,
    /// Samples replaced by one with a later time in the same window.
    pub(crate) superseded: usize,
    /// Infinite values that became gaps.
    pub(crate) non_finite: usize,
    /// Rows without a sample.
    pub(crate) missing_rows: usize,
}

/// The last rows of every entity, which are in the lookback of the next block: by column, entity
/// after entity.
pub(crate) type Tail = Vec<Vec<f64>>;

impl Grid {
    /// Puts the named columns of a block's samples on the grid, after the rows that remain from the
    /// previous block.
    ///
    /// A sample at time t belongs to the window that ends at the next multiple of the step at or
    /// after t; the last sample of a window is used, and of two samples at the same time the later
    /// row.
    pub(crate) fn new(
        samples: Samples,
        names: &[&str],
        block: Block<'_>,
        before: &Tail,
    ) -> Result<(Self, GridCounts), StepError> {
        let mut counts = GridCounts::default();
        let cells = cells(&samples, block.extents, &mut counts)?;
        let (entities, source) = lay_out(&cells, block);
        let own = entities.iter().flat_map(|entity| &source[entity.own()]);
        counts.missing_rows = own.filter(|row| **row == NO_SAMPLE).count();
        let mut columns = samples.table.columns;
        columns.retain(|column| names.contains(&column.name.as_str()));
        let on_grid: Vec<(Column, usize)> =
            columns.into_par_iter().map(|column| on_grid(column, &source)).collect();
        counts.non_finite = on_grid.iter().map(|(_, infinite)| infinite).sum();
        let mut columns: Vec<Column> = on_grid.into_iter().map(|(column, _)| column).collect();
        for (column, before) in columns.iter_mut().zip(before) {
            let mut rest = before.as_slice();
            for entity in &entities {
                let (values, after) = rest.split_at(entity.carried);
                let rows = entity.first_row..entity.first_row + entity.carried;
                column.values[rows].copy_from_slice(values);
                rest = after;
            }
        }
        Ok((Self { step: block.extents.step, entities, source, columns }, counts))
    }

    /// Returns the rows in the lookback of the next block, before any fill.
    pub(crate) fn tail(&self, block: Block<'_>, next: Block<'_>) -> Tail {
        let rows = self.entities.iter().zip(&block.extents.entities).map(|(entity, extent)| {
            let end = entity.range().end;
            end - carried_rows(extent, next).min(entity.rows)..end
        });
        let rows: Vec<_> = rows.collect();
        let of = |column: &Column| {
            rows.iter().flat_map(|rows| &column.values[rows.clone()]).copied().collect()
        };
        self.columns.iter().map(of).collect()
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.source.len()
    }

    /// Returns the number of rows that are the block's own.
    pub(crate) fn own_rows(&self) -> usize {
        self.entities.iter().map(|entity| entity.own().len()).sum()
    }

    /// Returns the values of a requested column.
    pub(crate) fn values(&self, name: &str) -> &[f64] {
        let column = self.columns.iter().find(|column| column.name == name);
        &column.expect("a plan names columns of the grid only").values
    }
}

/// Returns the number of rows of an entity before the block within the lookback; 0 if the entity
/// has no row in the block.
fn carried_rows(extent: &Extent, block: Block<'_>) -> usize {
    if extent.last <= block.after || extent.first > block.after {
        return 0;
    }
    let step = block.extents.step;
    ((block.after - extent.first).in_steps(step) + 1).min(block.lookback.in_steps(step))
}

/// Samples that are on the grid, sorted by entity and window: one item per cell.
struct Cells {
    entity: Vec<u32>,
    window_ms: Vec<i64>,
    row: Vec<u32>,
}

/// Sorts the samples and keeps the last one of each entity and window; an item's entity is an index
/// of the extents.
fn cells(
    samples: &Samples,
    extents: &Extents,
    counts: &mut GridCounts,
) -> Result<Cells, StepError> {
    let (table, step) = (&samples.table, extents.step);
    let rows = u32::try_from(table.rows()).ok().filter(|rows| *rows < NO_SAMPLE);
    let rows = rows.ok_or_else(|| {
        StepError::refused("more samples than 4 billion")
            .hint("use a shorter `range` or a longer `step`")
    })?;
    let times: Vec<i64> = table.times.iter().map(|time| time.ms()).collect();
    counts.off_grid = times.iter().filter(|ms| **ms % step.ms() != 0).count();
    let rank = |name: &String| u32::try_from(extents.index(name)).unwrap_or(NO_SAMPLE);
    let ranks: Vec<u32> = table.entities.iter().map(rank).collect();
    let entity: Vec<u32> = table.entity.iter().map(|entity| ranks[*entity as usize]).collect();
    let windows: Vec<i64> = table.times.iter().map(|time| window_end(*time, step).ms()).collect();
    // Most sources return sorted rows; in every tick of scoring the rows are sorted.
    if let Some(cells) = cells_in_order(&entity, &windows, extents.entities.len()) {
        return Ok(cells);
    }
    let keys = DataFrame::new(
        times.len(),
        vec![
            Keys::new("entity".into(), entity),
            Keys::new("window".into(), windows),
            Keys::new("time".into(), times),
            Keys::new("row".into(), (0..rows).collect::<Vec<u32>>()),
        ],
    );
    keys.and_then(|keys| sorted_cells(&keys, counts)).map_err(|e| bug(&e))
}

/// Returns the cells of samples whose windows increase from row to row of each entity, so that each
/// row is a separate cell; `None` if they do not.
fn cells_in_order(entity: &[u32], windows: &[i64], entities: usize) -> Option<Cells> {
    let mut last = vec![i64::MIN; entities];
    for (entity, window) in entity.iter().zip(windows) {
        let last = &mut last[*entity as usize];
        if window <= last {
            return None;
        }
        *last = *window;
    }
    let mut row: Vec<u32> = (0..u32::try_from(entity.len()).ok()?).collect();
    row.sort_by_key(|row| entity[*row as usize]);
    Some(Cells {
        entity: row.iter().map(|row| entity[*row as usize]).collect(),
        window_ms: row.iter().map(|row| windows[*row as usize]).collect(),
        row,
    })
}

/// Sorts samples in any order and keeps the last one of each entity and window.
fn sorted_cells(keys: &DataFrame, counts: &mut GridCounts) -> Result<Cells, PolarsError> {
    let by = ["entity", "window", "time", "row"];
    let sorted = keys.sort(by, SortMultipleOptions::default())?;
    let mut cells = Cells { entity: Vec::new(), window_ms: Vec::new(), row: Vec::new() };
    let mut last_time = None;
    let entities = sorted.column("entity")?.u32()?.into_no_null_iter();
    let windows = sorted.column("window")?.i64()?.into_no_null_iter();
    let times = sorted.column("time")?.i64()?.into_no_null_iter();
    let rows = sorted.column("row")?.u32()?.into_no_null_iter();
    for (((entity, window), time), row) in entities.zip(windows).zip(times).zip(rows) {
        let same_cell =
            cells.entity.last() == Some(&entity) && cells.window_ms.last() == Some(&window);
        if let Some(last) = cells.row.last_mut().filter(|_| same_cell) {
            *last = row;
            let same_time = last_time == Some(time);
            counts.duplicates += usize::from(same_time);
            counts.superseded += usize::from(!same_time);
        } else {
            cells.entity.push(entity);
            cells.window_ms.push(window);
            cells.row.push(row);
        }
        last_time = Some(time);
    }
    Ok(cells)
}

/// Lays the cells out with a row for every step of the block between an entity's first and last
/// sample, preceded by the rows of the lookback.
fn lay_out(cells: &Cells, block: Block<'_>) -> (Vec<Entity>, Vec<u32>) {
    let step = block.extents.step;
    let mut entities: Vec<Entity> = Vec::with_capacity(block.extents.entities.len());
    for extent in &block.extents.entities {
        let first_row = entities.last().map_or(0, |before| before.range().end);
        let carried = carried_rows(extent, block);
        let own_start = extent.first.max(block.after + step);
        let own_end = extent.last.min(block.until);
        let own = if own_end < own_start { 0 } else { (own_end - own_start).in_steps(step) + 1 };
        let back = i64::try_from(carried).unwrap_or(i64::MAX).saturating_mul(step.ms());
        entities.push(Entity {
            name: extent.name.clone(),
            first: extent.first,
            start: own_start - Span::from_ms(back),
            first_row,
            rows: carried + own,
            carried,
        });
    }
    let mut source = vec![NO_SAMPLE; entities.last().map_or(0, |last| last.range().end)];
    for ((entity, window), row) in cells.entity.iter().zip(&cells.window_ms).zip(&cells.row) {
        let entity = &entities[*entity as usize];
        let since = Span::from_ms(window - entity.start.ms());
        source[entity.first_row + since.in_steps(step)] = *row;
    }
    (entities, source)
}

/// Returns the column with one value per grid row, and how many of its values were infinite.
fn on_grid(column: Column, source: &[u32]) -> (Column, usize) {
    let mut infinite = 0;
    let take = |row: &u32| {
        let value = column.values.get(*row as usize).copied().unwrap_or(f64::NAN);
        infinite += usize::from(value.is_infinite());
        // Adding zero turns -0 into 0, so that the result does not depend on the order of equal
        // values.
        if value.is_finite() { value + 0.0 } else { f64::NAN }
    };
    let values = source.iter().map(take).collect();
    (Column { name: column.name, values }, infinite)
}

fn bug(error: &PolarsError) -> StepError {
    StepError::bug(format!("cannot put the samples on the grid: {error}"))
}
