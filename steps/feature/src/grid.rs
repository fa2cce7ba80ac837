//! Samples on the step grid: one row per entity and step from its first to its last sample.

use contract::{Span, StepError, Timestamp};
use frames::{Column, Samples};
use polars::prelude::{Column as Keys, DataFrame, PolarsError, SortMultipleOptions};
use rayon::prelude::*;

/// Stands in [`Grid::source`] for a row without a sample.
pub(crate) const NO_SAMPLE: u32 = u32::MAX;

/// Latest and earliest time that is taken for a time: the years 0 to 9999.
const TIME_LIMITS_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;
/// A grid this much longer than its samples are many is a wrong time or a wrong step, unless it
/// is small anyway.
const ROWS_PER_SAMPLE: u64 = 100;
const ALWAYS_ALLOWED_ROWS: u64 = 1_000_000;

/// The consecutive rows of one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entity {
    pub(crate) name: String,
    /// End of the window of the first row.
    pub(crate) start: Timestamp,
    /// Index of the first row.
    pub(crate) first_row: usize,
    /// Number of rows; at least 1.
    pub(crate) rows: usize,
}

impl Entity {
    /// Returns the indices of the rows.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.first_row..self.first_row + self.rows
    }
}

/// Samples on the step grid, entity after entity in the order of their names; a missing sample
/// is `NaN`.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) step: Span,
    pub(crate) entities: Vec<Entity>,
    /// Row of the samples behind each grid row, or [`NO_SAMPLE`].
    pub(crate) source: Vec<u32>,
    /// The sample columns that were asked for.
    pub(crate) columns: Vec<Column>,
}

/// What became of samples on their way to the grid.
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
}

impl Grid {
    /// Puts the named sample columns on the grid.
    ///
    /// A sample at time t belongs to the window that ends at the next multiple of the step at or
    /// after t; the last one in a window wins, and of two at one time the later row.
    pub(crate) fn new(
        samples: Samples,
        names: &[&str],
        step: Span,
    ) -> Result<(Self, GridCounts), StepError> {
        let mut counts = GridCounts::default();
        let (cells, entity_names) = cells(&samples, step, &mut counts)?;
        let (entities, source) = lay_out(&cells, entity_names, step)?;
        let mut columns = samples.table.columns;
        columns.retain(|column| names.contains(&column.name.as_str()));
        let on_grid: Vec<(Column, usize)> =
            columns.into_par_iter().map(|column| on_grid(column, &source)).collect();
        counts.non_finite = on_grid.iter().map(|(_, infinite)| infinite).sum();
        let columns = on_grid.into_iter().map(|(column, _)| column).collect();
        Ok((Self { step, entities, source, columns }, counts))
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.source.len()
    }

    /// Returns the index of a column that was asked for.
    pub(crate) fn values(&self, name: &str) -> &[f64] {
        let column = self.columns.iter().find(|column| column.name == name);
        &column.expect("a plan names columns of the grid only").values
    }
}

/// Samples that made it to the grid, sorted by entity and window: one item a cell.
struct Cells {
    entity: Vec<u32>,
    window_ms: Vec<i64>,
    row: Vec<u32>,
}

/// Sorts the samples and keeps the last one of each entity and window.
///
/// Returns with them the names of the entities in order; an item's entity is an index of them.
fn cells(
    samples: &Samples,
    step: Span,
    counts: &mut GridCounts,
) -> Result<(Cells, Vec<String>), StepError> {
    let table = &samples.table;
    let rows = u32::try_from(table.rows()).ok().filter(|rows| *rows < NO_SAMPLE);
    let rows = rows.ok_or_else(|| StepError::refused("more samples than 4 billion"))?;
    if let Some(row) = table.times.iter().position(|t| !TIME_LIMITS_MS.contains(&t.ms())) {
        let ms = table.times[row].ms();
        return Err(StepError::refused(format!("time of sample {} is {ms} ms", row + 1))
            .hint("times count from 1970; check the time column and its format"));
    }
    let times: Vec<i64> = table.times.iter().map(|time| time.ms()).collect();
    counts.off_grid = times.iter().filter(|ms| **ms % step.ms() != 0).count();
    let (entity, names) = ranked_entities(samples);
    let windows: Vec<i64> = times.iter().map(|ms| window_end(*ms, step)).collect();
    // Sources mostly give what is in order already; that is every tick of the scorer.
    if let Some(cells) = cells_in_order(&entity, &windows, names.len()) {
        return Ok((cells, names));
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
    let cells = keys.and_then(|keys| sorted_cells(&keys, counts)).map_err(|e| bug(&e))?;
    Ok((cells, names))
}

/// Returns the cells of samples whose windows grow from row to row of each entity, each row being
/// a cell of its own; nothing if they do not.
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

/// Returns each row's entity as an index of the sorted names, and those names.
fn ranked_entities(samples: &Samples) -> (Vec<u32>, Vec<String>) {
    let table = &samples.table;
    let mut used = vec![false; table.entities.len()];
    table.entity.iter().for_each(|entity| used[*entity as usize] = true);
    let mut names: Vec<String> =
        table.entities.iter().zip(used).filter(|(_, used)| *used).map(|(n, _)| n.clone()).collect();
    names.sort();
    names.dedup();
    let rank = |name: &String| names.partition_point(|other| other < name);
    let ranks: Vec<u32> =
        table.entities.iter().map(|n| u32::try_from(rank(n)).unwrap_or(NO_SAMPLE)).collect();
    (table.entity.iter().map(|entity| ranks[*entity as usize]).collect(), names)
}

/// Returns the end of the window a time belongs to.
fn window_end(ms: i64, step: Span) -> i64 {
    let floor = Timestamp::from_ms(ms).floor(step).ms();
    if floor == ms { ms } else { floor.saturating_add(step.ms()) }
}

/// Lays the cells out with a row for every step between an entity's first and last.
fn lay_out(
    cells: &Cells,
    names: Vec<String>,
    step: Span,
) -> Result<(Vec<Entity>, Vec<u32>), StepError> {
    let mut bounds = vec![(i64::MAX, i64::MIN); names.len()];
    for (entity, window) in cells.entity.iter().zip(&cells.window_ms) {
        let (first, last) = &mut bounds[*entity as usize];
        (*first, *last) = ((*first).min(*window), (*last).max(*window));
    }
    let rows_of = |(first, last): (i64, i64)| ((last - first) / step.ms()).unsigned_abs() + 1;
    let rows: u64 = bounds.iter().map(|bounds| rows_of(*bounds)).sum();
    let allowed = ALWAYS_ALLOWED_ROWS.max(ROWS_PER_SAMPLE * cells.row.len() as u64);
    if rows > allowed {
        return Err(StepError::refused(format!(
            "{} samples would need {rows} windows of {step}",
            cells.row.len()
        ))
        .hint("check the time column for wrong times, and `step` in the document"));
    }
    let mut entities: Vec<Entity> = Vec::with_capacity(names.len());
    for (name, bounds) in names.into_iter().zip(bounds) {
        let first_row = entities.last().map_or(0, |before| before.first_row + before.rows);
        let rows = usize::try_from(rows_of(bounds)).unwrap_or(usize::MAX);
        entities.push(Entity { name, start: Timestamp::from_ms(bounds.0), first_row, rows });
    }
    let mut source = vec![NO_SAMPLE; entities.last().map_or(0, |last| last.range().end)];
    for ((entity, window), row) in cells.entity.iter().zip(&cells.window_ms).zip(&cells.row) {
        let entity = &entities[*entity as usize];
        let since = Span::from_ms(window - entity.start.ms());
        source[entity.first_row + since.in_steps(step)] = *row;
    }
    Ok((entities, source))
}

/// Returns the column with one value per grid row, and how many of its values were infinite.
fn on_grid(column: Column, source: &[u32]) -> (Column, usize) {
    let mut infinite = 0;
    let take = |row: &u32| {
        let value = column.values.get(*row as usize).copied().unwrap_or(f64::NAN);
        infinite += usize::from(value.is_infinite());
        // Adding zero makes one zero of the two, so that no order of equal values shows.
        if value.is_finite() { value + 0.0 } else { f64::NAN }
    };
    let values = source.iter().map(take).collect();
    (Column { name: column.name, values }, infinite)
}

fn bug(error: &PolarsError) -> StepError {
    StepError::bug(format!("cannot put the samples on the grid: {error}"))
}
