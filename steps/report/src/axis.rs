//! Axes with round ticks: of values in a readable unit, and of time.

use std::ops::Range;

use contract::{Span, Timestamp};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

use crate::units::{Unit, number};
use crate::zone::Zone;

/// An axis of a chart with its labelled ticks.
#[derive(Debug, Clone)]
pub struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Usual distances between ticks of time.
const TIME_STEPS: [i64; 19] = [
    1000,
    5000,
    10_000,
    30_000,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    28 * DAY,
    364 * DAY,
];

impl Axis {
    /// Makes an axis from `low` to `high` with given ticks; an empty range is widened.
    pub fn new(low: f64, high: f64, ticks: Vec<(f64, String)>) -> Self {
        let (low, high) =
            if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        let high = if high > low { high } else { low + low.abs().max(1.0) * 1e-9 };
        Self { low, high, ticks }
    }

    /// Makes an axis for values from `low` to `high`, written in `unit`, with about `count` ticks.
    /// It begins at zero if that is not far from `low`.
    pub fn of_values(low: f64, high: f64, unit: &Unit, count: usize) -> Self {
        let (low, high) = (low / unit.size, high / unit.size);
        let flat = if high > low { 0.0 } else { (high.abs() * 0.1).max(f64::MIN_POSITIVE) };
        let flat = if low == 0.0 && high == 0.0 { 1.0 } else { flat };
        let room = (high - low) * 0.1 + flat;
        let bottom = if low >= 0.0 && low <= 0.6 * high.max(f64::MIN_POSITIVE) || low == 0.0 {
            0.0
        } else {
            low - room
        };
        let top = if high <= 0.0 && low < 0.0 { (high + room).min(0.0) } else { high + room };
        let ticks = round_ticks(bottom, top, count);
        let ticks = ticks.into_iter().map(|tick| (tick * unit.size, number(tick)));
        Self::new(bottom * unit.size, top * unit.size, ticks.collect())
    }

    /// Makes an axis of time with at most `count` ticks, which are round on the clocks of a zone.
    pub fn of_time(zone: &Zone, start: Timestamp, end: Timestamp, count: usize) -> Self {
        let range = end.ms().saturating_sub(start.ms()).max(1);
        let fits = |step: &&i64| range / **step <= i64::try_from(count).unwrap_or(i64::MAX);
        let step = TIME_STEPS.iter().find(fits).copied().unwrap_or(range);
        let mut ticks = Vec::new();
        let mut shown = (start + zone.offset(start)).floor(Span::from_ms(step));
        loop {
            // Daylight saving time may start or end within the range.
            let at = shown - zone.offset(shown - zone.offset(start));
            if at > end || ticks.len() > count {
                break;
            }
            if at >= start {
                ticks.push((at.ms() as f64, time_label(zone, at, step)));
            }
            shown = shown + Span::from_ms(step);
        }
        Self::new(start.ms() as f64, end.ms() as f64, ticks)
    }

    /// Returns where the axis begins.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// Returns where the axis ends.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// Returns the value at a share of the axis, 0 to 1.
    pub fn at(&self, share: f64) -> f64 {
        self.low + share * (self.high - self.low)
    }

    /// Returns the label of a tick.
    pub fn label(&self, value: f64) -> String {
        let found = self.ticks.iter().find(|(tick, _)| tick.total_cmp(&value).is_eq());
        found.map(|(_, text)| text.clone()).unwrap_or_default()
    }
}

/// Writes days as `21 Nov` and shorter steps as `08:36`, with seconds only if the step needs them.
fn time_label(zone: &Zone, time: Timestamp, step: i64) -> String {
    let clock = zone.clock(time);
    if step >= DAY || (step >= HOUR && clock.starts_with("00:00")) {
        return zone.day(time);
    }
    let length = if step < MINUTE { 8 } else { 5 };
    clock.get(..length).unwrap_or(&clock).to_owned()
}

/// Returns multiples of 1, 2 or 5 times a power of ten between two values, about `count` of them.
fn round_ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let rough = (high - low) / count.max(1) as f64;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step.into_iter().find(|step| *step >= rough * 0.7).unwrap_or(rough);
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    if !(0.0..=100.0).contains(&(last - first)) {
        return Vec::new();
    }
    // The loop counts integers, because adding one to a large float may not change it.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be 0 to 100"
    )]
    let steps = (last - first) as u32;
    (0..=steps).map(|index| (first + f64::from(index)) * step + 0.0).collect()
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        let length = f64::from(limit.1 - limit.0);
        // A value that is not finite is drawn at the beginning, because its cast is zero.
        #[expect(clippy::cast_possible_truncation, reason = "a share of whole pixels")]
        let pixels = (length * share).round() as i32;
        limit.0 + pixels
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(tick, _)| *tick).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_in_the_unit_people_read() {
        let mebibyte = 1024.0 * 1024.0;
        let axis = Axis::of_values(0.0, 350.0 * mebibyte, &Unit::of("bytes", 350.0 * mebibyte), 4);
        assert_eq!(texts(&axis), ["0", "100", "200", "300"]);
        assert_eq!(axis.ticks[1].0, 100.0 * mebibyte);
        let axis = Axis::of_values(0.101, 0.109, &Unit::of("seconds", 0.109), 4);
        assert_eq!(texts(&axis), ["102", "104", "106", "108"]);
    }

    #[test]
    fn time_is_written_as_clock_or_day() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let axis =
            Axis::of_time(&Zone::utc(), at("2026-11-21T08:36:00Z"), at("2026-11-21T09:22:00Z"), 6);
        assert_eq!(texts(&axis), ["08:40", "08:50", "09:00", "09:10", "09:20"]);
        let axis =
            Axis::of_time(&Zone::utc(), at("2026-11-01T08:00:00Z"), at("2026-11-30T09:00:00Z"), 6);
        assert_eq!(texts(&axis), ["5 Nov", "12 Nov", "19 Nov", "26 Nov"]);
        let axis =
            Axis::of_time(&Zone::utc(), at("2026-11-20T20:00:00Z"), at("2026-11-21T09:00:00Z"), 6);
        assert_eq!(texts(&axis), ["21:00", "21 Nov", "03:00", "06:00", "09:00"]);
    }

    proptest! {
        #[test]
        fn axis_covers_any_range(
            low in prop::num::f64::ANY,
            width in prop::num::f64::ANY,
            count in 0..10_usize,
        ) {
            let unit = Unit::of("bytes", low);
            let axis = Axis::of_values(low, low + width.abs(), &unit, count);
            prop_assert!(axis.low < axis.high);
            prop_assert!(axis.ticks.len() <= 101);
            for value in [low, low + width, f64::NAN, f64::INFINITY] {
                prop_assert!((10..=90).contains(&axis.map(&value, (10, 90))));
            }
        }

        #[test]
        fn axis_of_any_range_has_few_ticks(start in -1i64 << 52..1i64 << 52, length in 0..1i64 << 45) {
            let start = Timestamp::from_ms(start);
            let axis = Axis::of_time(&Zone::utc(), start, start + Span::from_ms(length), 6);
            prop_assert!(axis.ticks.len() <= 7);
        }
    }
}
