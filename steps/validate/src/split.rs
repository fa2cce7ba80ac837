//! The rows in order of time: train, validation, test, with a gap between.

use contract::{Span, StepError, Timestamp};
use document::Document;
use frames::FeatureTable;

use crate::report::PartSummary;

/// Fewest rows that a model is fitted on.
const MIN_TRAIN_ROWS: usize = 32;
/// Fewest rows that calibrate scores.
const MIN_VALIDATION_ROWS: usize = 16;

/// A part of the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Train,
    Validation,
    Test,
}

impl Part {
    /// The parts, in order of time.
    pub(crate) const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// The rows of each part, in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    rows: [Vec<usize>; 3],
    /// Rows in the gaps between the parts.
    pub(crate) gap_rows: usize,
    /// Rows of the train part that are known not to be normal, or not known to be.
    pub(crate) left_out_rows: usize,
}

/// Splits the rows of a table.
///
/// The document's shares are shares of the distinct times, so that all entities of a time are in
/// one part. The gap is taken from the beginning of the later part. Where there are labels, the
/// train part loses its anomalous and excluded rows; the other parts keep them.
pub(crate) fn split(table: &FeatureTable, document: &Document) -> Parts {
    let times = &table.table.times;
    let mut order: Vec<usize> = (0..table.rows()).collect();
    order.sort_by_key(|row| times[*row]);
    let mut distinct: Vec<Timestamp> = order.iter().map(|row| times[*row]).collect();
    distinct.dedup();
    let shares = &document.split;
    let train_end = place(distinct.len(), 1.0 - shares.validation - shares.test);
    let validation_end = place(distinct.len(), 1.0 - shares.test).max(train_end);
    let bounds = [0..train_end, train_end..validation_end, validation_end..distinct.len()];
    let mut parts = Parts { rows: [const { Vec::new() }; 3], gap_rows: 0, left_out_rows: 0 };
    let mut last: Option<Timestamp> = None;
    let mut rows = order.into_iter().peekable();
    for (part, bounds) in bounds.into_iter().enumerate() {
        let mut end = last;
        for time in &distinct[bounds] {
            let clear = last.is_none_or(|last| *time - last > shares.gap);
            while let Some(row) = rows.next_if(|row| times[*row] == *time) {
                if clear {
                    parts.rows[part].push(row);
                    end = Some(*time);
                } else {
                    parts.gap_rows += 1;
                }
            }
        }
        last = end;
    }
    parts.leave_out_of_train(table, &document.labels.normal);
    parts
}

/// Returns how many of `number` items a share is, to the nearest.
fn place(number: usize, share: f64) -> usize {
    let place = (share.clamp(0.0, 1.0) * number as f64).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of items"
    )]
    let place = place as usize;
    place.min(number)
}

impl Parts {
    /// Returns the rows of a part.
    pub(crate) fn rows(&self, part: Part) -> &[usize] {
        &self.rows[part as usize]
    }

    fn leave_out_of_train(&mut self, table: &FeatureTable, normal: &[String]) {
        let Some(labels) = &table.labels else { return };
        let train = &mut self.rows[Part::Train as usize];
        let before = train.len();
        train.retain(|row| !labels.excluded[*row] && normal.contains(&labels.label[*row]));
        self.left_out_rows = before - train.len();
    }

    /// Returns the extent of each part.
    pub(crate) fn summaries(&self, table: &FeatureTable) -> Vec<PartSummary> {
        let time = |row: Option<&usize>| row.map(|row| table.table.times[*row]);
        let summary = |part: Part| {
            let rows = self.rows(part);
            PartSummary {
                part: part.name().to_owned(),
                rows: rows.len(),
                first: time(rows.first()),
                last: time(rows.last()),
            }
        };
        Part::ALL.map(summary).to_vec()
    }

    /// Refuses parts that are too small to train or calibrate on.
    pub(crate) fn check(&self, table: &FeatureTable, document: &Document) -> Result<(), StepError> {
        let train = self.rows(Part::Train).len();
        let few = [
            (Part::Train, train, MIN_TRAIN_ROWS),
            (Part::Validation, self.rows(Part::Validation).len(), MIN_VALIDATION_ROWS),
        ];
        let Some((part, rows, least)) = few.into_iter().find(|(_, rows, least)| rows < least)
        else {
            return Ok(());
        };
        let part_name = part.name();
        if part == Part::Train && train + self.left_out_rows >= MIN_TRAIN_ROWS {
            return Err(StepError::refused(format!(
                "the train part has {train} normal rows, at least {least} are needed: {} are of scenarios or guard bands",
                self.left_out_rows
            ))
            .hint("collect a range that begins with more normal time"));
        }
        Err(StepError::refused(format!(
            "the {part_name} part has {rows} rows, at least {least} are needed"
        ))
        .hint(format!(
            "collect a range of at least `{}`, as the document's `split` stands",
            needed_range(table, document)
        )))
    }
}

/// Returns the range that gives each part enough rows, with as many entities as there are now.
fn needed_range(table: &FeatureTable, document: &Document) -> Span {
    let entities = table.table.entities.len().max(1);
    let (step, shares) = (document.step, &document.split);
    let steps = |rows: usize, share: f64, gap: Span| {
        let times = rows.div_ceil(entities) as f64 + gap.in_steps(step) as f64;
        (times / share.max(f64::EPSILON)).ceil()
    };
    let train = steps(MIN_TRAIN_ROWS, 1.0 - shares.validation - shares.test, Span::ZERO);
    let validation = steps(MIN_VALIDATION_ROWS, shares.validation, shares.gap);
    #[expect(clippy::cast_possible_truncation, reason = "a conversion that saturates")]
    let steps = train.max(validation) as i64 + 1;
    table.contract.lookback + Span::from_ms(steps.saturating_mul(step.ms()))
}
