//! Times in the time zone of the operators.

use contract::time::time_zone;
use contract::{Span, Timestamp};
use jiff::tz::TimeZone;

/// A time zone with its name.
#[derive(Debug, Clone)]
pub struct Zone {
    zone: TimeZone,
    name: String,
}

impl Zone {
    /// Returns UTC.
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC, name: "UTC".to_owned() }
    }

    /// Returns the zone of an IANA name, such as `Europe/Brussels`; UTC if there is no zone of that
    /// name.
    pub fn named(name: &str) -> Self {
        match time_zone(name) {
            Ok(zone) => Self { zone, name: name.to_owned() },
            Err(_) => Self::utc(),
        }
    }

    /// Returns its name, for readers.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn local(&self, time: Timestamp) -> jiff::Zoned {
        let time = jiff::Timestamp::from_millisecond(time.ms());
        time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone())
    }

    /// Writes a time: `2026-11-21 08:36:07`.
    pub fn time(&self, time: Timestamp) -> String {
        format!("{} {}", self.date(time), self.clock(time))
    }

    /// Writes a time without its day: `08:36:07`.
    pub fn clock(&self, time: Timestamp) -> String {
        let local = self.local(time);
        match local.millisecond() {
            0 => local.strftime("%H:%M:%S").to_string(),
            _ => local.strftime("%H:%M:%S%.3f").to_string(),
        }
    }

    /// Writes the day: `2026-11-21`.
    pub fn date(&self, time: Timestamp) -> String {
        self.local(time).date().to_string()
    }

    /// Writes the day for people: `21 Nov`.
    pub fn day(&self, time: Timestamp) -> String {
        self.local(time).strftime("%-d %b").to_string()
    }

    /// Writes the end of a range after its start: without the day if that is the same.
    pub fn until(&self, start: Timestamp, end: Timestamp) -> String {
        if self.date(start) == self.date(end) { self.clock(end) } else { self.time(end) }
    }

    /// Returns the offset of the zone from UTC at a time.
    pub fn offset(&self, time: Timestamp) -> Span {
        Span::from_seconds(self.local(time).offset().seconds().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_on_the_same_day_is_a_clock_time() {
        let start: Timestamp = "2026-11-21T08:36:07Z".parse().unwrap();
        let (minute, day) = (start + Span::from_seconds(60), start + Span::from_seconds(86_400));
        let utc = Zone::utc();
        assert_eq!(utc.time(start), "2026-11-21 08:36:07");
        assert_eq!(utc.until(start, minute), "08:37:07");
        assert_eq!(utc.until(start, day), "2026-11-22 08:36:07");
        assert_eq!(utc.clock(start + Span::from_ms(250)), "08:36:07.250");
    }

    #[test]
    fn times_are_those_of_the_clocks_there_summer_and_winter() {
        let zone = Zone::named("Europe/Brussels");
        let written = ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-11-21T23:30:00Z"];
        let written = written.map(|text| zone.time(text.parse().unwrap()));
        assert_eq!(written, ["2026-03-29 01:59:59", "2026-03-29 03:00:00", "2026-11-22 00:30:00"]);
        assert_eq!(Zone::named("Nowhere/Land").name(), "UTC");
    }
}
