//! The judgement of a row.

use std::collections::BTreeMap;

use contract::Decimal;
use contract::score::Verdict;
use detectors::sequence::NewLevel;

/// The verdict on a row, and the scores behind it.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// Share of the features that have a value, 0 to 1.
    pub(crate) completeness: f64,
    /// Combined score, on which rows can be ranked; `NaN` for `no_data`.
    pub(crate) combined: f64,
    /// Threshold of the combined score; `NaN` for `no_data`.
    pub(crate) combined_threshold: f64,
    /// Sum of the weights of the members that voted.
    pub(crate) votes: Decimal,
    pub(crate) urgent: bool,
    /// Decisions of the members, in the bundle's order; empty for `no_data`.
    pub(crate) members: Vec<MemberDecision>,
    /// Boxed, because most rows have none.
    pub(crate) details: Option<Box<Details>>,
}

/// Decision of one member on a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberDecision {
    /// Decision score; `NaN` until the member has scored the row.
    pub(crate) decision: f64,
    /// Threshold at the time of the row, as a decision score.
    pub(crate) threshold: f64,
    pub(crate) voted: bool,
    /// Whether the member allows an alarm: a score that is high only because of earlier rows is
    /// none.
    pub(super) open: bool,
}

/// What only alarms and rows with notices have; columns are numbers of the bundle's columns, in
/// order.
#[derive(Debug, Default)]
pub(crate) struct Details {
    /// Columns of a drift notice.
    pub(crate) drifting: Vec<usize>,
    /// Columns that have had no value for a while.
    pub(crate) missing: Vec<usize>,
    /// Columns with a new level after the last alarm.
    pub(crate) new_level: Option<NewLevel>,
    /// Attributions of an alarm, by the number of the member: of models that score rows in the
    /// order of time.
    pub(crate) attributions: BTreeMap<usize, Vec<f64>>,
}

impl Judgement {
    /// Returns the judgement of a row with too few values or in the warm-up.
    pub(super) fn no_data(completeness: f64) -> Self {
        Self {
            verdict: Verdict::NoData,
            completeness,
            combined: f64::NAN,
            combined_threshold: f64::NAN,
            votes: Decimal::ZERO,
            urgent: false,
            members: Vec::new(),
            details: None,
        }
    }

    /// Returns the judgement of a row on which no member has decided yet.
    pub(super) fn undecided(completeness: f64, members: usize) -> Self {
        let undecided =
            MemberDecision { decision: f64::NAN, threshold: f64::NAN, voted: false, open: true };
        Self {
            verdict: Verdict::Normal,
            members: vec![undecided; members],
            ..Self::no_data(completeness)
        }
    }

    /// Returns whether every member allows an alarm.
    pub(super) fn is_open(&self) -> bool {
        self.members.iter().all(|member| member.open)
    }

    /// Adds the columns of notices.
    pub(super) fn add_notices(&mut self, drifting: &[usize], missing: &[usize]) {
        if drifting.is_empty() && missing.is_empty() {
            return;
        }
        let details = self.details.get_or_insert_default();
        add_columns(&mut details.drifting, drifting);
        add_columns(&mut details.missing, missing);
    }
}

fn add_columns(all: &mut Vec<usize>, columns: &[usize]) {
    all.extend(columns);
    all.sort_unstable();
    all.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_of_two_members_are_joined_in_order_and_a_row_without_any_has_no_details() {
        let mut judgement = Judgement::undecided(1.0, 2);
        assert!(judgement.is_open());
        judgement.add_notices(&[], &[]);
        assert!(judgement.details.is_none());
        judgement.add_notices(&[3, 5], &[]);
        judgement.add_notices(&[1, 3], &[2]);
        let details = judgement.details.unwrap();
        assert_eq!((details.drifting, details.missing), (vec![1, 3, 5], vec![2]));
    }
}
