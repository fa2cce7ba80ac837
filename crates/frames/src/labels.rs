//! `labels.parquet`: intervals that are known to be anomalous, and intervals that count neither as
//! anomalous nor as normal.

use std::path::Path;

use contract::{StepError, Timestamp};

use crate::parquet::{self, Reader, Writer};

/// Returns whether a label means normal: it is one of `normal`, in any mix of upper and lower case
/// (public data sets write `BENIGN` as well as `Benign`).
pub fn is_normal(normal: &[String], label: &str) -> bool {
    normal.iter().any(|name| name.eq_ignore_ascii_case(label.trim()))
}

/// An interval with a label, which applies to windows that end in `(start, end]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelInterval {
    /// Windows that end after this time are inside.
    pub start: Timestamp,
    /// Windows that end at or before this time are inside.
    pub end: Timestamp,
    /// The label; for a guard band the label of its scenario.
    pub label: String,
    /// The affected entity; empty for the whole cluster. It applies to rows of the entity of this
    /// name, or to all rows if no entity has this name.
    pub target: String,
    /// Name of the scenario, unique in the log: a scenario and its two guard bands share it.
    pub scenario: String,
    /// Whether this is a guard band, whose rows are excluded from metrics.
    pub guard: bool,
}

/// Writes intervals.
pub fn write_labels(path: &Path, intervals: &[LabelInterval]) -> Result<(), StepError> {
    let fields = vec![
        parquet::time_field("start"),
        parquet::time_field("end"),
        parquet::text_field("label"),
        parquet::text_field("target"),
        parquet::text_field("scenario"),
        parquet::flag_field("guard"),
    ];
    let mut writer = Writer::create(path, fields, &[])?;
    let times = |pick: fn(&LabelInterval) -> Timestamp| {
        parquet::times(&intervals.iter().map(pick).collect::<Vec<_>>())
    };
    writer.write(vec![
        times(|interval| interval.start),
        times(|interval| interval.end),
        parquet::texts(intervals.iter().map(|interval| interval.label.as_str())),
        parquet::texts(intervals.iter().map(|interval| interval.target.as_str())),
        parquet::texts(intervals.iter().map(|interval| interval.scenario.as_str())),
        parquet::flags(&intervals.iter().map(|interval| interval.guard).collect::<Vec<_>>()),
    ])?;
    writer.publish()
}

/// Reads intervals.
pub fn read_labels(path: &Path) -> Result<Vec<LabelInterval>, StepError> {
    let mut intervals = Vec::new();
    Reader::open(path)?.for_each_batch(|batch| {
        let (mut starts, mut ends, mut guards) = (Vec::new(), Vec::new(), Vec::new());
        parquet::read_times(path, batch, "start", &mut starts)?;
        parquet::read_times(path, batch, "end", &mut ends)?;
        parquet::read_flags(path, batch, "guard", &mut guards)?;
        let texts = |name| {
            let mut texts = Vec::new();
            parquet::read_texts(path, batch, name, |text| texts.push(text.to_owned()))
                .map(|()| texts)
        };
        let (labels, targets, scenarios) = (texts("label")?, texts("target")?, texts("scenario")?);
        let rows = starts.into_iter().zip(ends).zip(guards).zip(labels).zip(targets).zip(scenarios);
        intervals.extend(rows.map(|(((((start, end), guard), label), target), scenario)| {
            LabelInterval { start, end, label, target, scenario, guard }
        }));
        Ok(())
    })?;
    Ok(intervals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normal_label_is_matched_in_any_case() {
        let normal = ["normal".to_owned(), "benign".to_owned(), "0".to_owned()];
        for label in ["BENIGN", "Benign", "benign", " Normal ", "0"] {
            assert!(is_normal(&normal, label), "{label}");
        }
        for label in ["", "DDoS", "benign2", "00"] {
            assert!(!is_normal(&normal, label), "{label}");
        }
        assert!(!is_normal(&[], "normal"));
    }
}
