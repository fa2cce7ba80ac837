//! Computes the features of a file of samples, block of time by block of time.
//!
//! A feature depends only on the samples of its lookback, so a block needs only the last rows of
//! the previous one: memory depends on the entities, the columns and the lookback, not on the
//! number of rows of the file. The blocks' bounds depend on the file alone, and no value depends on
//! them.

use std::path::Path;

use contract::{Span, StepError, Timestamp};
use document::features::FeatureRule;
use document::sections::Feature as Sections;
use frames::{FeatureTable, FeatureWriter, LabelInterval, Samples};

use crate::extents::{Scan, window_end};
use crate::grid::{Block, Tail};
use crate::table::{Counts, Maker};

/// Approximate number of rows of a block.
const BLOCK_ROWS: usize = 128 * 1024;

/// A block has at least this many times the rows of its lookback, so that the lookback costs
/// little.
const LOOKBACKS: usize = 4;

/// Summary of the written features.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) counts: Counts,
    pub(crate) rows: usize,
    pub(crate) entities: usize,
    pub(crate) warm_up_rows: usize,
    /// The columns, and whether any row has a value.
    pub(crate) columns: Vec<(String, bool)>,
}

impl Written {
    fn note(&mut self, table: &FeatureTable, counts: Counts) {
        self.counts += counts;
        self.rows += table.rows();
        self.entities = table.table.entities.len();
        self.warm_up_rows += table.warm_up.iter().filter(|warm_up| **warm_up).count();
        if self.columns.is_empty() {
            self.columns = table.table.columns.iter().map(|c| (c.name.clone(), false)).collect();
        }
        for ((_, has_value), column) in self.columns.iter_mut().zip(&table.table.columns) {
            *has_value |= column.values.iter().any(|value| !value.is_nan());
        }
    }
}

/// Makes the features of a file of samples and writes them.
///
/// One block is used for samples that are not in order of time, for samples with labels (which are
/// carried from row to row), and for rules over peers (whose lookback includes entities that have
/// ended).
pub(crate) fn write(
    document: &Sections,
    samples: &Path,
    intervals: Option<&[LabelInterval]>,
    features: &Path,
) -> Result<Written, StepError> {
    write_blocks(document, samples, intervals, features, BLOCK_ROWS)
}

fn write_blocks(
    document: &Sections,
    samples: &Path,
    intervals: Option<&[LabelInterval]>,
    features: &Path,
    block_rows: usize,
) -> Result<Written, StepError> {
    let mut scan = Scan::new(document.step);
    let empty = Samples::read_keys(samples, |rows| scan.add(rows))?;
    let extents = scan.finish()?;
    let maker = Maker::new(document, &empty, intervals)?;
    let labelled = intervals.is_some() || empty.labels.is_some();
    let of_peers = document.features.iter().any(|rule| matches!(rule, FeatureRule::Peers(_)));
    let own_labels = intervals.is_none() && empty.labels.is_some();
    let in_blocks = extents.sorted && !own_labels && !of_peers;
    let whole = maker.whole(&extents);
    let mut blocks = Blocks {
        maker: &maker,
        length: if in_blocks { length(whole, block_rows) } else { whole.until - whole.after },
        last: whole.until,
        current: whole,
        before: Tail::new(),
        writer: FeatureWriter::create(features, &maker.plan.contract, labelled)?,
        written: Written::default(),
    };
    blocks.current.until = whole.until.min(whole.after + blocks.length);
    let mut rest = Samples::read_parts(samples, |pending| {
        let read_to = pending.table.times.last().map(|time| window_end(*time, extents.step));
        while in_blocks && read_to.is_some_and(|read_to| read_to > blocks.current.until) {
            blocks.end(pending)?;
        }
        Ok(())
    })?;
    while blocks.current.after < blocks.last {
        blocks.end(&mut rest)?;
    }
    blocks.writer.publish()?;
    Ok(blocks.written)
}

/// Returns the length of a block of time with about this number of rows.
fn length(whole: Block<'_>, block_rows: usize) -> Span {
    let Block { extents, lookback, .. } = whole;
    let rows = block_rows / extents.entities.len().max(1);
    let steps = rows.max(LOOKBACKS * lookback.in_steps(extents.step)).max(1);
    Span::from_ms(i64::try_from(steps).unwrap_or(i64::MAX).saturating_mul(extents.step.ms()))
}

/// State of the conversion of blocks of samples to features.
struct Blocks<'a> {
    maker: &'a Maker<'a>,
    length: Span,
    /// End of the last block.
    last: Timestamp,
    current: Block<'a>,
    /// Remaining rows of the previous block, for the lookback.
    before: Tail,
    writer: FeatureWriter,
    written: Written,
}

impl Blocks<'_> {
    /// Makes the features of the current block, whose samples have all been read, and moves to the
    /// next one.
    fn end(&mut self, pending: &mut Samples) -> Result<(), StepError> {
        let Block { extents, until, .. } = self.current;
        let is_inside = |time: &Timestamp| window_end(*time, extents.step) <= until;
        let is_last = until >= self.last;
        // Unordered samples have a single block with all of them.
        let times = &pending.table.times;
        let rows = if is_last { times.len() } else { times.partition_point(is_inside) };
        let samples = pending.take_first(rows);
        let next =
            Block { after: until, until: self.last.min(until + self.length), ..self.current };
        let following = (!is_last).then_some(next);
        let (table, counts, tail) =
            self.maker.make(samples, self.current, &self.before, following)?;
        self.writer.write(&table)?;
        self.written.note(&table, counts);
        (self.before, self.current) = (tail, next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use contract::features::FeatureContract;
    use frames::samples::{SampleRows, SamplesWriter};
    use proptest::prelude::*;

    use super::*;

    /// Minutes from 1970 at which each entity has a sample.
    fn sampled() -> impl Strategy<Value = Vec<Vec<i64>>> {
        prop::collection::vec(prop::collection::vec(0..90_i64, 0..40), 1..5)
    }

    fn samples(path: &Path, sampled: &[Vec<i64>]) {
        let mut rows: Vec<(i64, usize)> = Vec::new();
        for (entity, minutes) in sampled.iter().enumerate() {
            rows.extend(minutes.iter().map(|minute| (*minute, entity)));
        }
        rows.sort_by_key(|(minute, _)| *minute);
        let value = |(minute, entity): &(i64, usize)| {
            let number = minute * 37 % 11 + i64::try_from(*entity).unwrap();
            (number % 5 != 0).then_some(number as f64)
        };
        let rows = SampleRows {
            times: rows.iter().map(|(minute, _)| Timestamp::from_ms(minute * 60_000)).collect(),
            entities: rows.iter().map(|(_, entity)| format!("node-{}", 9 - entity)).collect(),
            labels: Vec::new(),
            columns: vec![rows.iter().map(value).collect()],
        };
        let mut writer = SamplesWriter::create(path, &["load"], false).unwrap();
        writer.write(&rows).unwrap();
        writer.publish().unwrap();
    }

    fn bits(table: &FeatureTable) -> (Vec<String>, Vec<Vec<u64>>) {
        let table_rows = 0..table.rows();
        let keys = table_rows.map(|row| {
            let label = table.labels.as_ref().map(|labels| &labels.label[row]);
            let (time, entity) = (table.table.times[row], table.table.entity_of(row));
            format!("{time} {entity} {} {label:?}", table.warm_up[row])
        });
        let columns = table.table.columns.iter();
        let values = columns.map(|c| c.values.iter().map(|value| value.to_bits()).collect());
        (keys.collect(), values.collect())
    }

    proptest! {
        #[test]
        fn blocks_of_any_length_give_what_one_block_gives(
            sampled in sampled(),
            fill in prop_oneof![Just("none"), Just("{forward: {max_windows: 3}}"), Just("zero"), Just("drop_row")],
            block_rows in 1..60_usize,
        ) {
            let text = format!(
                "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {{main: {{table: {{path: t, time: t}}}}}}\n\
                 fill: {fill}\nfeatures: [{{raw: {{}}}}, {{rate: {{}}}}, \
                 {{rolling: {{window: 5m, statistics: [mean, std, max]}}}}]\n\
                 models: {{z_score: {{}}}}\nvote: {{combine: mean, threshold: {{quantile: {{share: 0.99}}}}}}\n"
            );
            let document = Sections::from(document::parse("blocks.yaml", &text).unwrap());
            let intervals = [LabelInterval {
                start: Timestamp::from_ms(20 * 60_000),
                end: Timestamp::from_ms(50 * 60_000),
                label: "cpu".to_owned(),
                target: "node-9".to_owned(),
                scenario: "cpu-1".to_owned(),
                guard: false,
            }];
            let temp = tempfile::tempdir().unwrap();
            let path = |name: &str| temp.path().join(name);
            samples(&path("samples.parquet"), &sampled);
            let made = |rows: usize, name: &str| {
                let (from, intervals) = (path("samples.parquet"), Some(&intervals[..]));
                let written = write_blocks(&document, &from, intervals, &path(name), rows).unwrap();
                (written, FeatureTable::read(&path(name)).unwrap())
            };
            let (whole_counts, whole) = made(1_000_000, "whole.parquet");
            let (counts, table) = made(block_rows, "blocks.parquet");
            prop_assert_eq!(bits(&table), bits(&whole));
            prop_assert_eq!(counts.counts, whole_counts.counts);
            prop_assert_eq!(counts.warm_up_rows, whole_counts.warm_up_rows);
            prop_assert_eq!(table.contract.lookback, Span::from_seconds(if fill.contains("forward") { 420 } else { 240 }));
            prop_assert_eq!(table.contract.format, FeatureContract::FORMAT);
        }
    }
}
