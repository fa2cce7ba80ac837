//! The written samples, and the parts that a training leaves out afterwards: columns without data
//! in the source, and the time before its data begins.

use std::path::{Path, PathBuf};

use contract::{Outcome, Span, StepError, Timestamp};
use document::sections::Collect as Sections;
use document::sources::{SampleColumn, column_names};
use frames::SamplesWriter;
use frames::external::{ExternalRows, ExternalTable};
use frames::samples::SampleRows;
use fs_err as fs;

use crate::join::Joined;
use crate::range::Due;
use crate::tally::Tally;
use crate::targets::Target;

/// Share of the range that may be missing at its beginning without a warning.
const QUIET_RATIO: f64 = 0.02;

/// The samples as they are written.
pub(crate) struct Output {
    writer: SamplesWriter,
    names: Vec<String>,
    is_labelled: bool,
    /// Time of the first value of each column.
    firsts: Vec<Option<Timestamp>>,
    first_row: Option<Timestamp>,
    pub(crate) tally: Tally,
    /// Temporary file of the rows, until it is decided which ones are left out.
    draft: Draft,
}

/// A file that is removed when it is dropped.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // The file does not exist if it was published or never created.
        drop(fs::remove_file(&self.0));
    }
}

impl Output {
    /// Creates the file next to the one that will be published; `has_labels` is true if the rows
    /// have the labels of the sources.
    pub(crate) fn create(
        samples: &Path,
        sources: &[Joined<'_>],
        has_labels: bool,
    ) -> Result<Self, StepError> {
        let own: Vec<(&str, Vec<String>)> =
            sources.iter().map(|it| (it.name.as_str(), it.source.columns())).collect();
        let own: Vec<(&str, Vec<&str>)> = own
            .iter()
            .map(|(name, columns)| (*name, columns.iter().map(String::as_str).collect()))
            .collect();
        let names = column_names(&own).concat();
        let is_labelled = has_labels && sources.iter().any(|it| it.source.is_labelled());
        let name = samples.file_name().unwrap_or_default().to_string_lossy();
        let draft = Draft(samples.with_file_name(format!(".{name}.draft")));
        Ok(Self {
            writer: writer(&draft.0, &names, is_labelled)?,
            firsts: vec![None; names.len()],
            first_row: None,
            names,
            is_labelled,
            tally: Tally::default(),
            draft,
        })
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, rows: &SampleRows) -> Result<(), StepError> {
        if rows.times.is_empty() {
            return Ok(());
        }
        self.tally.add(rows);
        self.first_row = self.first_row.or(rows.times.first().copied());
        for (first, column) in self.firsts.iter_mut().zip(&rows.columns) {
            if first.is_none() {
                *first = column.iter().position(Option::is_some).map(|row| rows.times[row]);
            }
        }
        self.writer.write(rows)
    }

    /// Adds the counts to the outcome.
    pub(crate) fn report(&self, outcome: &mut Outcome) {
        self.tally.report(self.names.len(), outcome);
    }

    /// Publishes the file unchanged.
    pub(crate) fn publish(self, samples: &Path) -> Result<(), StepError> {
        self.writer.publish()?;
        fs::rename(&self.draft.0, samples).map_err(|error| StepError::writing(samples, &error))
    }

    /// Publishes the file of a training: without the columns of optional queries without data, and
    /// from the time at which the data begins. Returns the names of those columns.
    ///
    /// Errors: refused for a required query without data, and for less data than a training needs.
    pub(crate) fn settle(
        self,
        document: &Sections,
        target: &Target,
        others: usize,
        outcome: &mut Outcome,
    ) -> Result<Vec<String>, StepError> {
        let (columns, due, prefix) = (&document.columns, target.due, target.prefix(others));
        if let Some(shard) = target.shard.filter(|_| self.first_row.is_none()) {
            return Err(StepError::refused(format!(
                "shard {shard} has no entity in the data, but each shard needs entities for its \
                 training"
            ))
            .hint("lower `shards.count`: a good size is about 250 entities per shard"));
        }
        let absent = self.absent(columns)?;
        for name in &absent {
            outcome.warn(format!(
                "{prefix}query `{name}` gave no series: the model does without it (`required: true` refuses such a training)"
            ));
        }
        let begin = self.begin(columns).filter(|begin| {
            let quiet = QUIET_RATIO * (due.end - due.after).seconds();
            (*begin - due.after).seconds() > quiet.max(document.step.seconds())
        });
        if let Some(begin) = begin {
            let covered = due.end - begin + document.step;
            let least = document.least.range(self.tally.entities());
            young(Young { begin, covered, least }, due, &prefix, outcome)?;
        }
        if absent.is_empty() && begin.is_none_or(|begin| self.first_row >= Some(begin)) {
            self.publish(&target.samples)?;
        } else {
            self.rewrite(&target.samples, &absent, begin)?;
        }
        Ok(absent)
    }

    /// Returns the optional queries without data.
    fn absent(&self, columns: &[SampleColumn]) -> Result<Vec<String>, StepError> {
        let of_query =
            |name: &String| columns.iter().find(|column| column.is_asked && column.name == *name);
        let mut absent = Vec::new();
        for (name, first) in self.names.iter().zip(&self.firsts) {
            let Some(column) = of_query(name).filter(|_| first.is_none()) else { continue };
            if column.is_required {
                return Err(StepError::refused(format!(
                    "query `{name}` is required and gave no series in the range"
                ))
                .hint(
                    "check the metric names of this source. `or` adds other names; without \
                     `required: true` the query is left out of the model",
                ));
            }
            absent.push(name.clone());
        }
        Ok(absent)
    }

    /// Returns the beginning of the data: the time by which half of the required queries, or of all
    /// queries if none is required, have had a value. A single query is not enough: `or vector(0)`
    /// has values at any time, and a metric may be newer than the others.
    fn begin(&self, columns: &[SampleColumn]) -> Option<Timestamp> {
        let is_asked = |name: &String| {
            // Texts come from the series of queries.
            let mut columns = columns.iter();
            columns.any(|column| (column.is_asked || column.is_text()) && column.name == *name)
        };
        if !self.names.iter().all(is_asked) {
            return None;
        }
        let is_required =
            |name: &String| columns.iter().any(|column| column.is_required && column.name == *name);
        let any_required = self.names.iter().any(is_required);
        let counted = self.names.iter().zip(&self.firsts);
        let mut firsts: Vec<Timestamp> = counted
            .filter(|(name, _)| !any_required || is_required(name))
            .filter_map(|(_, first)| *first)
            .collect();
        firsts.sort_unstable();
        firsts.get(firsts.len() / 2).copied()
    }

    fn rewrite(
        self,
        samples: &Path,
        absent: &[String],
        begin: Option<Timestamp>,
    ) -> Result<(), StepError> {
        let Self { writer: draft, names, is_labelled, draft: path, .. } = self;
        draft.publish()?;
        let keys = if is_labelled { 3 } else { 2 };
        let kept: Vec<usize> =
            (0..names.len()).filter(|index| !absent.contains(&names[*index])).collect();
        let kept_names: Vec<String> = kept.iter().map(|index| names[*index].clone()).collect();
        let mut writer = writer(samples, &kept_names, is_labelled)?;
        let kept: Vec<usize> = kept.into_iter().map(|index| index + keys).collect();
        ExternalTable::open(&path.0)?
            .for_each_batch(|rows| writer.write(&selected(rows, is_labelled, &kept, begin)?))?;
        writer.publish()
    }
}

fn writer(path: &Path, names: &[String], is_labelled: bool) -> Result<SamplesWriter, StepError> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    SamplesWriter::create(path, &names, is_labelled)
}

/// Returns the rows from `begin` on, with these columns.
fn selected(
    rows: &ExternalRows<'_>,
    is_labelled: bool,
    columns: &[usize],
    begin: Option<Timestamp>,
) -> Result<SampleRows, StepError> {
    let times: Vec<Timestamp> = rows.times(0)?.into_iter().flatten().collect();
    // Rows are in order of time.
    let from = times.partition_point(|time| begin.is_some_and(|begin| *time < begin));
    let texts = |index: usize| -> Result<Vec<String>, StepError> {
        Ok(rows.texts(index)?.into_iter().skip(from).map(Option::unwrap_or_default).collect())
    };
    let numbers = |index: &usize| -> Result<Vec<Option<f64>>, StepError> {
        Ok(rows.numbers(*index)?.split_off(from))
    };
    Ok(SampleRows {
        entities: texts(1)?,
        labels: if is_labelled { texts(2)? } else { Vec::new() },
        columns: columns.iter().map(numbers).collect::<Result<_, _>>()?,
        times: times[from..].to_vec(),
    })
}

/// Data that begins later than the range.
struct Young {
    begin: Timestamp,
    /// From `begin` to the end of the range.
    covered: Span,
    /// Shortest time that a training needs.
    least: Span,
}

/// Warns about data that begins later than the range.
fn young(
    Young { begin, covered, least }: Young,
    due: Due,
    prefix: &str,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let whole = due.end - due.after;
    outcome.detail("begin", &begin)?;
    let full = begin + whole;
    if covered < least {
        return Err(StepError::refused(format!(
            "{prefix}the data begins at `{begin}`: {covered} of {whole}, and a training needs at least {least}"
        ))
        .hint(format!(
            "run again at `{}` or later; a shorter `split.gap`, lookback or `row_count` needs less",
            begin + least
        )));
    }
    outcome.warn(format!(
        "{prefix}the data begins at `{begin}`: {covered} of {whole}; this model is provisional, train again at `{full}`"
    ));
    Ok(())
}
