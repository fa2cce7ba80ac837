//! From samples to the feature table.

use contract::{StepError, Timestamp};
use document::features::{Fill, Statistic};
use document::sections::Feature as Sections;
use frames::{Column, FeatureTable, LabelInterval, Samples, Table};
use rayon::prelude::*;

use crate::extents::{Extents, Scan};
use crate::grid::{Block, Grid, GridCounts, Tail};
use crate::plan::{Plan, Task, plan};
use crate::rolling::{Window, maximum, minimum, moments, quantiles};
use crate::{fill, labels, peers, pointwise};

/// Result for the samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows of the samples file.
    pub samples: usize,
    /// Samples replaced by a later row of the same entity and time.
    pub duplicates: usize,
    /// Samples whose time is not a multiple of the step.
    pub off_grid: usize,
    /// Samples replaced by a later one in the same window.
    pub superseded: usize,
    /// Infinite values that became gaps.
    pub non_finite: usize,
    /// Rows without a sample.
    pub missing_rows: usize,
    /// Values missing in the sample columns, before any fill.
    pub gaps: usize,
    /// Number of gaps that were filled.
    pub filled: usize,
    /// Rows left out because of a gap.
    pub dropped_rows: usize,
}

impl Counts {
    /// Returns the counts with their names.
    /// Returns how many samples share their time and entity with another one.
    pub(crate) fn duplicates(&self) -> usize {
        self.duplicates
    }

    pub(crate) fn named(&self) -> [(&'static str, usize); 9] {
        [
            ("samples", self.samples),
            ("duplicates", self.duplicates),
            ("off_grid", self.off_grid),
            ("superseded", self.superseded),
            ("non_finite", self.non_finite),
            ("missing_rows", self.missing_rows),
            ("gaps", self.gaps),
            ("filled", self.filled),
            ("dropped_rows", self.dropped_rows),
        ]
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.duplicates += other.duplicates;
        self.off_grid += other.off_grid;
        self.superseded += other.superseded;
        self.non_finite += other.non_finite;
        self.missing_rows += other.missing_rows;
        self.gaps += other.gaps;
        self.filled += other.filled;
        self.dropped_rows += other.dropped_rows;
    }
}

/// Makes the feature table of samples, sorted by time and then by entity name.
///
/// `intervals` are the labels of a scenario log; without them the samples' own labels are used, if
/// there are any. The work is split over rayon's current threads; the result does not depend on how
/// many there are. Errors: a rule that does not fit the samples (usage), samples whose times do not
/// fit a grid (refused).
pub fn features(
    document: &Sections,
    samples: Samples,
    intervals: Option<&[LabelInterval]>,
) -> Result<(FeatureTable, Counts), StepError> {
    let mut scan = Scan::new(document.step);
    scan.add(&samples.table)?;
    let extents = scan.finish()?;
    let maker = Maker::new(document, &samples, intervals)?;
    let block = maker.whole(&extents);
    let (table, counts, _) = maker.make(samples, block, &Tail::new(), None)?;
    Ok((table, counts))
}

/// Makes features of blocks of samples.
pub(crate) struct Maker<'a> {
    document: &'a Sections,
    pub(crate) plan: Plan,
    intervals: Option<&'a [LabelInterval]>,
}

impl<'a> Maker<'a> {
    /// Plans the document's rules over the columns of samples.
    pub(crate) fn new(
        document: &'a Sections,
        samples: &Samples,
        intervals: Option<&'a [LabelInterval]>,
    ) -> Result<Self, StepError> {
        let names: Vec<&str> = samples.table.columns.iter().map(|c| c.name.as_str()).collect();
        Ok(Self { document, plan: plan(document, &names)?, intervals })
    }

    /// Returns the block of all windows.
    pub(crate) fn whole<'e>(&self, extents: &'e Extents) -> Block<'e> {
        let epoch = Timestamp::from_ms(0);
        let (first, last) = extents.bounds().unwrap_or((epoch, epoch));
        let lookback = self.plan.contract.lookback;
        Block { extents, after: first - extents.step, until: last, lookback }
    }

    /// Computes the features of a block's samples; `before` is the remainder of the previous block,
    /// and the remainder for the next block is returned.
    pub(crate) fn make(
        &self,
        mut samples: Samples,
        block: Block<'_>,
        before: &Tail,
        next: Option<Block<'_>>,
    ) -> Result<(FeatureTable, Counts, Tail), StepError> {
        let Plan { contract, tasks, sample_columns, texts } = &self.plan;
        let names: Vec<&str> = sample_columns.iter().map(String::as_str).collect();
        let own_labels = samples.labels.take();
        let mut counts = Counts { samples: samples.table.rows(), ..Counts::default() };
        let (mut grid, on_grid) = Grid::new(samples, &names, block, before)?;
        let GridCounts { duplicates, off_grid, superseded, non_finite, missing_rows } = on_grid;
        counts = Counts { duplicates, off_grid, superseded, non_finite, missing_rows, ..counts };
        let tail = next.map(|next| grid.tail(block, next)).unwrap_or_default();
        counts.gaps = fill::gaps(&grid, texts);
        counts.filled = fill::fill(&mut grid, &self.document.fill, texts);
        let kept = (self.document.fill == Fill::DropRow).then(|| fill::complete_rows(&grid, texts));
        let (rows, mut table) = output_rows(&grid, kept.as_deref());
        counts.dropped_rows = grid.own_rows() - rows.len();
        table.columns = columns(&grid, tasks, &rows, &table.times, &contract.names());
        let warm_up = warm_up(&grid, &table, contract.lookback);
        let normal = &self.document.labels.normal;
        let labels = match (self.intervals, own_labels) {
            (Some(intervals), _) => Some(labels::from_intervals(&table, intervals, normal)),
            (None, Some(own)) => Some(labels::from_samples(&grid, &own, &rows, &table, normal)),
            (None, None) => None,
        };
        Ok((FeatureTable { contract: contract.clone(), table, warm_up, labels }, counts, tail))
    }
}

/// Returns the grid rows that are kept, sorted by time and then by entity, and a table of their
/// times and entities without columns.
fn output_rows(grid: &Grid, kept: Option<&[bool]>) -> (Vec<u32>, Table) {
    let step = grid.step.ms();
    let mut order: Vec<(i64, u32, u32)> = Vec::with_capacity(grid.own_rows());
    for (index, entity) in (0..).zip(&grid.entities) {
        let mut time = entity.start.ms();
        for (offset, row) in entity.range().enumerate() {
            if offset >= entity.carried && kept.is_none_or(|kept| kept[row]) {
                order.push((time, index, u32::try_from(row).unwrap_or(u32::MAX)));
            }
            time = time.saturating_add(step);
        }
    }
    // Stable sorting merges the rows of the entities, which are already sorted.
    order.sort_by_key(|(time, entity, _)| (*time, *entity));
    let table = Table {
        times: order.iter().map(|(time, ..)| Timestamp::from_ms(*time)).collect(),
        entity: order.iter().map(|(_, entity, _)| *entity).collect(),
        entities: grid.entities.iter().map(|entity| entity.name.clone()).collect(),
        columns: Vec::new(),
    };
    (order.into_iter().map(|(_, _, row)| row).collect(), table)
}

/// Returns for each row whether it is warm-up: the entity's samples do not cover its lookback.
fn warm_up(grid: &Grid, table: &Table, lookback: contract::Span) -> Vec<bool> {
    let start = |entity: &u32| grid.entities[*entity as usize].first;
    let rows = table.times.iter().zip(&table.entity);
    rows.map(|(time, entity)| *time - start(entity) < lookback).collect()
}

/// Computes every task's columns, in the order of `names`.
fn columns(
    grid: &Grid,
    tasks: &[Task],
    rows: &[u32],
    times: &[Timestamp],
    names: &[&str],
) -> Vec<Column> {
    let computed: Vec<Vec<Vec<f64>>> = tasks
        .par_iter()
        .map(|task| match task {
            Task::Calendar(cycle) => calendar(*cycle, times),
            task => compute(grid, task).iter().map(|values| gather(values, rows)).collect(),
        })
        .collect();
    let columns = computed.into_iter().flatten().zip(names);
    columns.map(|(values, name)| Column { name: (*name).to_owned(), values }).collect()
}

fn gather(values: &[f64], rows: &[u32]) -> Vec<f64> {
    rows.iter().map(|row| values[*row as usize]).collect()
}

fn calendar(cycle: pointwise::Cycle, times: &[Timestamp]) -> Vec<Vec<f64>> {
    // All entities of a time are in consecutive rows and have the same angle.
    let (mut sines, mut cosines) = (Vec::new(), Vec::new());
    let mut last: Option<(Timestamp, f64, f64)> = None;
    for time in times {
        let (_, sine, cosine) = last.filter(|(known, ..)| known == time).unwrap_or_else(|| {
            let (sine, cosine) = cycle.angle(*time).sin_cos();
            (*time, sine, cosine)
        });
        last = Some((*time, sine, cosine));
        sines.push(sine);
        cosines.push(cosine);
    }
    vec![sines, cosines]
}

/// Computes a task's columns, one value per grid row.
fn compute(grid: &Grid, task: &Task) -> Vec<Vec<f64>> {
    let each = |name: &str, apply: &dyn Fn(&[f64], &mut [f64])| {
        let values = grid.values(name);
        let mut into = vec![f64::NAN; grid.rows()];
        for entity in &grid.entities {
            apply(&values[entity.range()], &mut into[entity.range()]);
        }
        vec![into]
    };
    match task {
        Task::Raw(column) => each(column, &|values, into| into.copy_from_slice(values)),
        Task::Difference { column, lag } => {
            each(column, &|values, into| pointwise::difference(values, *lag, into))
        }
        Task::Rate(column) => {
            each(column, &|values, into| pointwise::rate(values, grid.step, into))
        }
        Task::Ratio { numerator, denominator } => {
            let mut into = vec![f64::NAN; grid.rows()];
            pointwise::ratio(grid.values(numerator), grid.values(denominator), &mut into);
            vec![into]
        }
        Task::Rolling { column, window, statistics } => {
            rolling(grid, grid.values(column), *window, statistics)
        }
        Task::Peers { column, rule, rows } => {
            let by = rule.group_by.as_deref().map(|name| grid.values(name));
            vec![peers::deviations(grid, grid.values(column), by, rule, *rows)]
        }
        Task::Calendar(_) => Vec::new(),
    }
}

/// Computes one column for each statistic; common parts are computed once.
fn rolling(grid: &Grid, values: &[f64], window: Window, statistics: &[Statistic]) -> Vec<Vec<f64>> {
    let mut columns = vec![vec![f64::NAN; grid.rows()]; statistics.len()];
    let asked: Vec<f64> = statistics.iter().filter_map(as_quantile).collect();
    let needs_moments = statistics.iter().any(|s| matches!(s, Statistic::Mean | Statistic::Std));
    for entity in &grid.entities {
        let series = &values[entity.range()];
        let moments = needs_moments.then(|| moments(series, window));
        let mut of_quantiles = Vec::new();
        for (statistic, column) in statistics.iter().zip(&mut columns) {
            let into = &mut column[entity.range()];
            match (statistic, &moments) {
                (Statistic::Mean, Some(moments)) => into.copy_from_slice(&moments.means),
                (Statistic::Std, Some(moments)) => into.copy_from_slice(&moments.deviations),
                (Statistic::Min, _) => minimum(series, window, into),
                (Statistic::Max, _) => maximum(series, window, into),
                (Statistic::Quantile(_), _) => of_quantiles.push(into),
                (Statistic::Mean | Statistic::Std, None) => {}
            }
        }
        if !asked.is_empty() {
            quantiles(series, window, &asked, &mut of_quantiles);
        }
    }
    columns
}

fn as_quantile(statistic: &Statistic) -> Option<f64> {
    let Statistic::Quantile(quantile) = statistic else { return None };
    Some(*quantile)
}
