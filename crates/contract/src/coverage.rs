//! `coverage.json`: the samples of a scoring's range that `collect` could not get, and why.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Coverage of the samples that `collect` writes for `score`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Version of this format.
    pub format: u32,
    /// End of the last window that can be scored now; the windows after it wait for the next tick.
    pub until: Timestamp,
    /// What is missing at or before `until`, in order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Why the windows after `until` wait; absent if no window waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

impl Coverage {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Returns the reason why an entity's window has no score, if it is one of the gaps.
    pub fn reason(&self, time: Timestamp, entity: &str) -> Option<String> {
        let mut here = self.gaps.iter().filter(|gap| gap.covers(time, entity));
        let first = here.next()?;
        let others = here.filter(|gap| gap.query != first.query).count();
        let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
        Some(format!("{}: query `{}`: {}{more}", first.kind.word(), first.query, first.reason))
    }

    /// Returns whether the answer for this window was incomplete; then its values must not be
    /// scored.
    pub fn is_incomplete(&self, time: Timestamp) -> bool {
        self.gaps.iter().any(|gap| gap.kind == GapKind::Incomplete && gap.covers(time, ""))
    }
}

/// Values of one query that are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// End of the first window without a value.
    pub first: Timestamp,
    /// End of the last window without a value.
    pub last: Timestamp,
    /// Name of the query.
    pub query: String,
    /// The entity whose value is missing; absent where all entities are affected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// What kind of answer it was.
    pub kind: GapKind,
    /// The server's message, or the error in its answer.
    pub reason: String,
}

impl Gap {
    fn covers(&self, time: Timestamp, entity: &str) -> bool {
        self.first <= time
            && time <= self.last
            && self.entity.as_ref().is_none_or(|named| named == entity)
    }
}

/// Why a value is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// The server says that its answer lacks data. No value of such a window is used.
    Incomplete,
    /// Several series had values for one entity at one time.
    Ambiguous,
    /// The server refused to evaluate the query at that time.
    Refused,
    /// The server failed for that time, and answered for others.
    Unavailable,
}

impl GapKind {
    /// Returns the word that people read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Ambiguous => "ambiguous",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(first: i64, last: i64, query: &str, entity: Option<&str>, kind: GapKind) -> Gap {
        let (first, last) = (Timestamp::from_ms(first), Timestamp::from_ms(last));
        let (query, entity) = (query.to_owned(), entity.map(str::to_owned));
        Gap { first, last, query, entity, kind, reason: "store is down".to_owned() }
    }

    #[test]
    fn reason_names_the_first_gap_of_the_window_and_entity() {
        let gaps = vec![
            gap(10, 20, "a", None, GapKind::Incomplete),
            gap(20, 30, "b", Some("n1"), GapKind::Ambiguous),
        ];
        let until = Timestamp::from_ms(40);
        let coverage = Coverage { format: Coverage::FORMAT, until, gaps, waiting: None };
        let reason = |time, entity| coverage.reason(Timestamp::from_ms(time), entity);
        assert_eq!(reason(10, "n1").unwrap(), "incomplete: query `a`: store is down");
        assert_eq!(reason(20, "n1").unwrap(), "incomplete: query `a`: store is down (and 1 more)");
        assert_eq!(reason(30, "n1").unwrap(), "ambiguous: query `b`: store is down");
        assert_eq!((reason(30, "n2"), reason(9, "n1"), reason(31, "n1")), (None, None, None));
        assert!(coverage.is_incomplete(Timestamp::from_ms(20)));
        assert!(!coverage.is_incomplete(Timestamp::from_ms(30)));
    }
}
