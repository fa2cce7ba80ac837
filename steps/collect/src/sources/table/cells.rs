//! Parses the text of cells.

use contract::time::time_zone;
use contract::{StepError, Timestamp};
use document::sources::table::{DecimalMark, TableSource, TimeFormat};
use jiff::civil;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::sources::prometheus::reply::one_line;

/// Numbers further than this many milliseconds from 1970 are not times (years -5953 to 9892).
const FARTHEST_MS: f64 = 2.5e14;
/// Seconds above this would be after the year 5138: such numbers are milliseconds.
const FARTHEST_SECONDS: f64 = 1e11;

/// How the cells of a table are written.
#[derive(Debug)]
pub(super) struct Cells {
    gaps: Vec<String>,
    decimal: DecimalMark,
    format: TimeFormat,
    zone: Option<TimeZone>,
}

impl Cells {
    /// Takes the settings of a table.
    pub(super) fn new(source: &TableSource) -> Result<Self, StepError> {
        let zone = source.time_zone.as_deref().map(time_zone).transpose();
        Ok(Self {
            gaps: source.gaps.iter().map(|gap| gap.trim().to_owned()).collect(),
            decimal: source.decimal,
            format: source.time_format.clone(),
            zone: zone.map_err(|error| {
                StepError::usage(format!("`time_zone`: {error}")).hint(
                    "use a name of the IANA time zone database, such as Europe/Brussels or \
                           UTC",
                )
            })?,
        })
    }

    /// Parses a number; an empty cell and a gap marker are gaps, `NaN` is a value.
    pub(super) fn number(&self, text: &str) -> Result<Option<f64>, String> {
        let text = text.trim();
        let parsed = match self.decimal {
            DecimalMark::Point => text.parse().ok(),
            DecimalMark::Comma if text.contains('.') => None,
            DecimalMark::Comma => text.replacen(',', ".", 1).parse().ok(),
        };
        if parsed.is_some() {
            return Ok(parsed);
        }
        if text.is_empty() || self.gaps.iter().any(|gap| gap.eq_ignore_ascii_case(text)) {
            return Ok(None);
        }
        Err(format!("`{}` is not a number", shown(text)))
    }

    /// Parses a time.
    pub(super) fn time(&self, text: &str) -> Result<Timestamp, String> {
        let text = text.trim();
        let number = |unit: &str| {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            number.ok_or_else(|| format!("`{}` is not a time in {unit} since 1970", shown(text)))
        };
        match &self.format {
            TimeFormat::Auto => match text.parse::<f64>() {
                Ok(number) => self.number_time(number),
                Err(_) => self.written(text),
            },
            TimeFormat::Rfc3339 => self.written(text),
            TimeFormat::Seconds => self.number_time(number("seconds")?),
            TimeFormat::Milliseconds => self.number_time(number("milliseconds")?),
            TimeFormat::Microseconds => self.number_time(number("microseconds")?),
            TimeFormat::Nanoseconds => self.number_time(number("nanoseconds")?),
            TimeFormat::Pattern(pattern) => self.by_pattern(pattern, text),
        }
    }

    /// Makes a time of a number since 1970, in the unit of the format.
    pub(super) fn number_time(&self, number: f64) -> Result<Timestamp, String> {
        match self.format {
            TimeFormat::Seconds if number.abs() > FARTHEST_SECONDS => Err(format!(
                "`{number:?}` is not a time in seconds since 1970; is it milliseconds?"
            )),
            TimeFormat::Seconds => from_ms(number * 1e3),
            TimeFormat::Milliseconds => from_ms(number),
            TimeFormat::Microseconds => from_ms(number / 1e3),
            TimeFormat::Nanoseconds => from_ms(number / 1e6),
            // Each unit of a time of this age has its own size.
            TimeFormat::Auto | TimeFormat::Rfc3339 | TimeFormat::Pattern(_) => match number.abs() {
                seconds if seconds <= FARTHEST_SECONDS => from_ms(number * 1e3),
                ms if ms <= FARTHEST_SECONDS * 1e3 => from_ms(number),
                us if us <= FARTHEST_SECONDS * 1e6 => from_ms(number / 1e3),
                _ => from_ms(number / 1e6),
            },
        }
    }

    /// Returns whether times may be numbers.
    pub(super) fn has_number_times(&self) -> bool {
        !matches!(self.format, TimeFormat::Rfc3339 | TimeFormat::Pattern(_))
    }

    fn written(&self, text: &str) -> Result<Timestamp, String> {
        if let Ok(time) = text.parse() {
            return Ok(time);
        }
        let civil = text.parse::<civil::DateTime>().map_err(|_| {
            format!(
                "`{}` is not a time such as 2026-11-21T08:36:07Z; `time_format` takes seconds, milliseconds or a pattern such as \"%d/%m/%Y %H:%M\"",
                shown(text)
            )
        })?;
        self.in_zone(text, civil)
    }

    /// Parses a time that is written in a pattern of strftime.
    pub(super) fn by_pattern(&self, pattern: &str, text: &str) -> Result<Timestamp, String> {
        let parsed = strtime::parse(pattern, text)
            .map_err(|error| format!("`{}` is not a time: {error}", shown(text)))?;
        if let Ok(time) = parsed.to_timestamp() {
            return Ok(Timestamp::from_ms(time.as_millisecond()));
        }
        let date = parsed.to_date().map_err(|error| format!("`{}`: {error}", shown(text)))?;
        // A pattern without a time of day means the beginning of the day.
        let civil = date.to_datetime(parsed.to_time().unwrap_or(civil::Time::midnight()));
        self.in_zone(text, civil)
    }

    fn in_zone(&self, text: &str, civil: civil::DateTime) -> Result<Timestamp, String> {
        let Some(zone) = &self.zone else {
            return Err(format!(
                "`{}` has no time zone: set `table.time_zone`, such as UTC",
                shown(text)
            ));
        };
        let time = zone.to_timestamp(civil);
        let time = time.map_err(|error| format!("`{}`: {error}", shown(text)))?;
        Ok(Timestamp::from_ms(time.as_millisecond()))
    }
}

/// Makes a time of milliseconds since 1970, rounded to whole ones.
fn from_ms(ms: f64) -> Result<Timestamp, String> {
    // NaN is not inside either.
    if !(-FARTHEST_MS..=FARTHEST_MS).contains(&ms) {
        return Err(format!("`{ms:?}` is not a time in milliseconds since 1970"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be far inside i64")]
    Ok(Timestamp::from_ms(ms.round() as i64))
}

/// Shows a cell in one short line.
pub(super) fn shown(text: &str) -> String {
    one_line(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(settings: &str) -> Cells {
        let text = format!(
            "{{format: 1, name: x, step: 1m, range: 1d, sources: {{t: {{table: {{path: t.csv, time: t, {settings}}}}}}}, \
             features: [raw], models: {{z_score: {{}}}}, vote: {{combine: votes, threshold: {{quantile: {{share: 0.9}}}}}}}}"
        );
        let document = document::parse("test", &text).unwrap();
        Cells::new(document.sources["t"].table.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn cells_are_numbers_gaps_or_neither() {
        let plain = cells("");
        for gap in ["", "  ", "null", "NULL", "NA", "n/a", "-", "undefined", "None"] {
            assert_eq!(plain.number(gap), Ok(None), "{gap}");
        }
        for (text, value) in [("1", 1.0), (" -2.5e3 ", -2500.0), ("inf", f64::INFINITY)] {
            assert_eq!(plain.number(text), Ok(Some(value)));
        }
        assert!(plain.number("nan").unwrap().unwrap().is_nan());
        for text in ["1,5", "0x1f", "1_000", "yes", "--", "1 2"] {
            assert!(plain.number(text).is_err(), "{text}");
        }
        let own = cells("gaps: ['?'], decimal: ','");
        assert_eq!((own.number("?"), own.number("1,5")), (Ok(None), Ok(Some(1.5))));
        for text in ["NA", "1.5", "1.000,5", "1,2,3"] {
            assert!(own.number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_in_the_format_that_was_named() {
        for (text, settings, ms) in [
            ("1970-01-01T00:00:01Z", "time_format: rfc3339", 1000),
            ("1970-01-01T01:00:01+01:00", "", 1000),
            ("1970-01-01 01:00:01", "time_zone: Europe/Brussels", 1000),
            ("1970-01-01T00:00:01.5", "time_zone: UTC", 1500),
            ("1970-01-02", "time_zone: UTC", 86_400_000),
            ("28/11/2026 0:00", "time_format: '%d/%m/%Y %H:%M', time_zone: UTC", 1_795_824_000_000),
            ("28.11.2026", "time_format: '%d.%m.%Y', time_zone: UTC", 1_795_824_000_000),
            ("28/11/2026 0:00 +0100", "time_format: '%d/%m/%Y %H:%M %z'", 1_795_820_400_000),
            ("1768907356.321367", "time_format: seconds", 1_768_907_356_321),
            (" 12 ", "time_format: seconds", 12_000),
            ("1645791570013", "time_format: milliseconds", 1_645_791_570_013),
            ("1645791570013999", "time_format: microseconds", 1_645_791_570_014),
            ("1645791570", "", 1_645_791_570_000),
            ("1645791570013", "", 1_645_791_570_013),
            ("1645791570013000", "", 1_645_791_570_013),
            ("1645791570013000000", "", 1_645_791_570_013),
        ] {
            assert_eq!(cells(settings).time(text).map(Timestamp::ms), Ok(ms), "{text} {settings}");
        }
        for (text, settings) in [
            ("1645791570013", "time_format: seconds"),
            ("NaN", "time_format: seconds"),
            ("NaN", ""),
            ("inf", "time_format: milliseconds"),
            ("1e300", "time_format: milliseconds"),
            ("12", "time_format: rfc3339"),
            ("2026-11-21", ""),
            ("2026-11-21 00:00:00", ""),
            ("2026-13-41T00:00:00Z", "time_zone: UTC"),
            ("28/11/2026", "time_zone: UTC"),
            ("2026-11-28", "time_format: '%d/%m/%Y', time_zone: UTC"),
            ("", "time_format: seconds"),
            ("", ""),
        ] {
            assert!(cells(settings).time(text).is_err(), "{text} {settings}");
        }
    }

    #[test]
    fn the_hour_that_comes_twice_is_the_first_and_the_one_left_out_the_later() {
        let brussels = cells("time_zone: Europe/Brussels");
        let at = |text: &str| brussels.time(text).unwrap().to_string();
        assert_eq!(at("2026-10-25 02:30:00"), "2026-10-25T00:30:00Z");
        assert_eq!(at("2026-03-29 02:30:00"), "2026-03-29T01:30:00Z");
    }
}
