//! Texts for features that compare an entity with its peers at the same time, not with its own
//! past.

use contract::score::Cause;
use document::features::Peers;

/// Returns whether such features have a larger share of an alarm's score than all others.
pub(super) fn are_reason(causes: &[Cause]) -> bool {
    let share = |peers: bool| -> f64 {
        let of = |cause: &&Cause| cause.feature.ends_with(Peers::SUFFIX) == peers;
        causes.iter().filter(of).map(|cause| cause.share).sum()
    };
    share(true) > share(false)
}

/// Returns the name of the column behind a feature, and the reference of its value.
pub(super) fn named(feature: &str) -> (&str, &'static str) {
    match feature.strip_suffix(Peers::SUFFIX) {
        Some(column) => (column, " from its peers"),
        None => (feature, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(feature: &str, share: f64) -> Cause {
        Cause {
            feature: feature.to_owned(),
            share,
            value: Some(-9.5),
            unit: "spreads".to_owned(),
            usual_low: -2.0,
            usual_high: 2.0,
        }
    }

    #[test]
    fn an_alarm_is_about_peers_where_they_have_the_larger_part() {
        let (peers, own) = ("load_1m_peer_deviation", "load_1m");
        assert!(are_reason(&[cause(peers, 0.6), cause(own, 0.4)]));
        assert!(!are_reason(&[cause(peers, 0.3), cause(own, 0.4)]));
        assert!(!are_reason(&[]));
    }

    #[test]
    fn a_cause_says_that_its_value_counts_from_the_peers() {
        let words = super::super::words(&cause("load_1m_peer_deviation", 1.0));
        let expected = "load_1m −9.5 spreads from its peers, usually −2 spreads to 2 spreads";
        assert!(words.starts_with(expected), "{words}");
    }
}
