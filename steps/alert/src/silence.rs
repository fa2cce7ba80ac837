//! Alerts that are not sent.

use contract::Timestamp;
use document::alerts::{AlertKind, Silence};

/// Returns whether one of the silences covers an alert in a window that ends at `time`.
pub(crate) fn is_silent(
    silences: &[Silence],
    entity: &str,
    kind: AlertKind,
    time: Timestamp,
) -> bool {
    silences.iter().any(|silence| {
        silence.entity.as_ref().is_none_or(|pattern| matches(pattern, entity))
            && (silence.kinds.is_empty() || silence.kinds.contains(&kind))
            && silence.from.is_none_or(|from| time >= from)
            && silence.until.is_none_or(|until| time < until)
    })
}

/// Returns whether a text matches a pattern in which `*` matches any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    // Matching each part at its first occurrence leaves the most text for the next parts.
    for part in parts {
        let Some(place) = text.find(part) else { return false };
        text = &text[place + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_text() {
        for (pattern, text, fits) in [
            ("node-1", "node-1", true),
            ("node-1", "node-10", false),
            ("node-*", "node-", true),
            ("*", "", true),
            ("*-a-*", "x-a-y", true),
            ("*-a-*", "x-b-y", false),
            ("a*a", "a", false),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_silence_begins_at_from_and_is_over_at_until() {
        let silence = Silence {
            entity: Some("node-*".into()),
            kinds: vec![AlertKind::Anomaly],
            from: Some(Timestamp::from_ms(10)),
            until: Some(Timestamp::from_ms(20)),
            why: String::new(),
        };
        let silent = |entity, kind, ms| {
            is_silent(std::slice::from_ref(&silence), entity, kind, Timestamp::from_ms(ms))
        };
        for (ms, expected) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(silent("node-1", AlertKind::Anomaly, ms), expected);
        }
        assert!(!silent("pod-1", AlertKind::Anomaly, 15));
        assert!(!silent("node-1", AlertKind::NoData, 15));
    }
}
