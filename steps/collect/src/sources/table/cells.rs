//! What the text of a cell means.

use contract::Timestamp;
use document::sources::TimeFormat;

/// Times outside of this many milliseconds around 1970 are not times (years -5953 to 9892).
const FARTHEST_MS: f64 = 2.5e14;
/// Seconds above this would be after the year 5138: such numbers are milliseconds.
const FARTHEST_SECONDS: f64 = 1e11;

/// Parses a number; an empty cell and `null` are gaps, `NaN` is a value.
pub(super) fn number(text: &str) -> Result<Option<f64>, String> {
    let text = text.trim();
    if text.is_empty() || text.eq_ignore_ascii_case("null") {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("`{}` is no number", shown(text)))
}

/// Parses a time.
pub(super) fn time(text: &str, format: TimeFormat) -> Result<Timestamp, String> {
    let text = text.trim();
    let number = |unit: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .ok_or_else(|| format!("`{}` is no time in {unit} since 1970", shown(text)))
    };
    match format {
        TimeFormat::Rfc3339 => text.parse().map_err(|_| {
            format!(
                "`{}` is no time such as 2026-11-21T08:36:07Z; for numbers set time_format to seconds or milliseconds",
                shown(text)
            )
        }),
        TimeFormat::Seconds => from_seconds(number("seconds")?),
        TimeFormat::Milliseconds => from_ms(number("milliseconds")?),
    }
}

/// Makes a time of seconds since 1970.
pub(super) fn from_seconds(seconds: f64) -> Result<Timestamp, String> {
    if seconds.abs() > FARTHEST_SECONDS {
        return Err(format!("`{seconds:?}` is no time in seconds since 1970; is it milliseconds?"));
    }
    from_ms(seconds * 1000.0)
}

/// Makes a time of milliseconds since 1970, rounded to whole ones.
pub(super) fn from_ms(ms: f64) -> Result<Timestamp, String> {
    // NaN is not inside either.
    if !(-FARTHEST_MS..=FARTHEST_MS).contains(&ms) {
        return Err(format!("`{ms:?}` is no time in milliseconds since 1970"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be far inside i64")]
    Ok(Timestamp::from_ms(ms.round() as i64))
}

/// Shows a cell in one short line.
pub(super) fn shown(text: &str) -> String {
    crate::sources::prometheus::reply::one_line(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbers_gaps_or_neither() {
        for gap in ["", "  ", "null", "NULL"] {
            assert_eq!(number(gap), Ok(None), "{gap}");
        }
        for (text, value) in [("1", 1.0), (" -2.5e3 ", -2500.0), ("inf", f64::INFINITY)] {
            assert_eq!(number(text), Ok(Some(value)));
        }
        assert!(number("nan").unwrap().unwrap().is_nan());
        for text in ["1,5", "0x1f", "1_000", "yes", "--", "1 2"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_in_the_format_that_was_named() {
        use TimeFormat::{Milliseconds, Rfc3339, Seconds};
        for (text, format, ms) in [
            ("1970-01-01T00:00:01Z", Rfc3339, 1000),
            ("1970-01-01T01:00:01+01:00", Rfc3339, 1000),
            ("1768907356.321367", Seconds, 1_768_907_356_321),
            (" 12 ", Seconds, 12_000),
            ("1645791570013", Milliseconds, 1_645_791_570_013),
        ] {
            assert_eq!(time(text, format).unwrap().ms(), ms, "{text}");
        }
        for (text, format) in [
            ("1645791570013", Seconds),
            ("NaN", Seconds),
            ("inf", Milliseconds),
            ("1e300", Milliseconds),
            ("12", Rfc3339),
            ("2026-11-21", Rfc3339),
            ("2026-13-41T00:00:00Z", Rfc3339),
            ("", Seconds),
        ] {
            assert!(time(text, format).is_err(), "{text}");
        }
    }
}
