//! Timestamps and durations: whole milliseconds, UTC.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use jiff::tz::TimeZone;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// Returns the time zone of an IANA name, such as `Europe/Brussels`.
///
/// `UTC` needs no time zone database: jiff reads the whole folder of the system's database before it looks up the first
/// name, which takes longer than reading a document.
pub fn time_zone(name: &str) -> Result<TimeZone, jiff::Error> {
    if name == "UTC" { Ok(TimeZone::UTC) } else { TimeZone::get(name) }
}

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, written as RFC 3339 in UTC.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use contract::{Span, Timestamp};
///
/// let time: Timestamp = "2026-11-21T08:36:07Z".parse()?;
/// assert_eq!(time.floor(Span::from_seconds(60)).to_string(), "2026-11-21T08:36:00Z");
/// assert_eq!(time.compact(), "20261121T083607Z");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes a timestamp from milliseconds since the epoch.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Returns milliseconds since the epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Returns the last multiple of `step` at or before this time.
    #[must_use]
    pub fn floor(self, step: Span) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(step.ms().max(1))))
    }

    /// Returns the calendar day in UTC as `YYYY-MM-DD`.
    pub fn date(self) -> String {
        let text = self.to_string();
        text.split('T').next().unwrap_or_default().to_owned()
    }

    /// Returns a form without colons for names of files and objects: `20261121T083607Z`, with
    /// `_250` before the `Z` if there are milliseconds. Texts sort like times, because `_` sorts
    /// after `Z`; a dot would sort before it.
    pub fn compact(self) -> String {
        self.to_string().replace(['-', ':'], "").replace('.', "_")
    }

    fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.rem_euclid(1000) == 0 {
            write!(f, "{:.0}", self.to_jiff())
        } else {
            write!(f, "{:.3}", self.to_jiff())
        }
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond())).map_err(|_| {
            format!("`{text}` is not a time; write RFC 3339 such as 2026-11-21T08:36:07Z")
        })
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Sub for Timestamp {
    type Output = Span;

    fn sub(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A duration in whole milliseconds, written as `10d`, `5m`, `1h30m`, `250ms`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use contract::Span;
///
/// let rate_window: Span = "1h30m".parse()?;
/// assert_eq!(rate_window.seconds(), 5400.0);
/// assert_eq!(rate_window.in_steps("5m".parse()?), 18);
/// assert!("5 minutes".parse::<Span>().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(i64);

/// The times in `(after, until]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// Every time of the range is later.
    pub after: Timestamp,
    /// Last time of the range.
    pub until: Timestamp,
}

const UNITS: [(&str, i64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

impl Span {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// Makes a duration from milliseconds.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Makes a duration from seconds.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds * 1000)
    }

    /// Returns the duration in milliseconds.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Returns the duration in seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Returns the number of whole `step`s in it, at least 0.
    pub fn in_steps(self, step: Self) -> usize {
        usize::try_from(self.0 / step.0.max(1)).unwrap_or(0)
    }

    /// Returns it as a standard library duration; negative durations become zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.unsigned_abs();
        // Weeks are read but not written: `10d` is clearer than `1w3d`.
        for (unit, ms) in &UNITS[1..] {
            let ms = ms.unsigned_abs();
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "`{text}` is not a duration; write a number and a unit such as 10d, 5m, 30s or 250ms (units: w, d, h, m, s, ms)"
            )
        };
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        let mut total: i64 = 0;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: i64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters =
                rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let unit = &rest[..letters];
            rest = &rest[letters..];
            let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            total =
                number.checked_mul(*ms).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
        }
        Ok(Self(total))
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "a duration: a number and a unit (w, d, h, m, s, ms), such as `10d`, \
                            `5m`, `1h30m`",
            "pattern": "^(0|([0-9]+(w|d|h|ms|m|s))+)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn time_zone_utc_or_of_the_database_is_found_and_another_is_not() {
        assert_eq!(time_zone("UTC").unwrap(), TimeZone::UTC);
        assert_eq!(time_zone("Europe/Brussels").unwrap().iana_name(), Some("Europe/Brussels"));
        assert!(time_zone("Europe/Nowhere").is_err());
    }

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, ms) in [
            ("10d", 864_000_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("2w", 1_209_600_000),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().ms(), ms, "{text}");
        }
    }

    #[test]
    fn a_duration_without_or_with_a_wrong_unit_is_refused() {
        for text in ["", "10", "5 m", "m", "-5m", "1.5h", "5min", "99999999999999999d", "5m3"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_floored_to_its_step_before_the_epoch_too() {
        let minute = Span::from_seconds(60);
        assert_eq!(Timestamp::from_ms(61_000).floor(minute).ms(), 60_000);
        assert_eq!(Timestamp::from_ms(-1).floor(minute).ms(), -60_000);
    }

    #[test]
    fn names_made_of_times_sort_as_the_times_do() {
        let time: Timestamp = "2026-11-21T08:36:07.250Z".parse().unwrap();
        assert_eq!(time.compact(), "20261121T083607_250Z");
        let whole = Timestamp::from_ms(time.ms() - 250);
        assert!(whole.compact() < time.compact());
        assert_eq!(time.date(), "2026-11-21");
    }

    proptest! {
        #[test]
        fn a_duration_comes_back_from_its_text(ms in 0..1_000_000_000_000_i64) {
            prop_assert_eq!(Span::from_ms(ms).to_string().parse::<Span>().unwrap().ms(), ms);
        }

        #[test]
        fn a_time_comes_back_from_its_text(ms in -1_000_000_000_000_i64..4_000_000_000_000) {
            prop_assert_eq!(Timestamp::from_ms(ms).to_string().parse::<Timestamp>().unwrap().ms(), ms);
        }
    }
}
