//! Numbers for people: the report, the command line and messages write them in the same way.

use crate::Span;

/// A unit for the numbers of a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// One of these in the column's own unit.
    pub size: f64,
    /// Text after the number, including a leading space if needed; may be empty.
    pub suffix: String,
}

const KIBI: f64 = 1024.0;

impl Unit {
    /// Returns the unit that suits numbers up to `largest` of a column whose unit is `name`.
    pub fn of(name: &str, largest: f64) -> Self {
        let largest = largest.abs();
        let pick = |steps: &[(f64, &str)]| {
            // Zero is written in the column's own unit.
            let least = if largest > 0.0 { largest } else { 1.0 };
            let fits = |size: f64| least >= size;
            let found = steps.iter().rev().find(|(size, _)| fits(*size)).or(steps.first());
            let (size, suffix) = found.copied().unwrap_or((1.0, ""));
            Self { size, suffix: suffix.to_owned() }
        };
        let bytes = [
            (1.0, " B"),
            (KIBI, " KiB"),
            (KIBI * KIBI, " MiB"),
            (KIBI * KIBI * KIBI, " GiB"),
            (KIBI * KIBI * KIBI * KIBI, " TiB"),
        ];
        match name {
            "bytes" => pick(&bytes),
            "bytes_per_second" => {
                let unit = pick(&bytes);
                Self { suffix: format!("{}/s", unit.suffix), ..unit }
            }
            "seconds" => {
                pick(&[(1e-6, " µs"), (1e-3, " ms"), (1.0, " s"), (120.0, " min"), (7200.0, " h")])
                    .minutes_and_hours()
            }
            "ratio" => Self { size: 0.01, suffix: " %".to_owned() },
            "seconds_per_second" => Self { size: 0.001, suffix: " ms/s".to_owned() },
            "" => pick(&[(1.0, ""), (1e4, " k"), (1e6, " M"), (1e9, " G")]).thousands(""),
            "per_second" => {
                pick(&[(1.0, "/s"), (1e4, " k/s"), (1e6, " M/s"), (1e9, " G/s")]).thousands("")
            }
            other => {
                let words = other.replace("_per_", "/").replace('_', " ");
                pick(&[(1.0, " "), (1e4, " k "), (1e6, " M "), (1e9, " G ")]).thousands(&words)
            }
        }
    }

    /// For these units the next larger unit is used only from a number above one, which is easier
    /// to read.
    fn minutes_and_hours(self) -> Self {
        let size = match self.suffix.as_str() {
            " min" => 60.0,
            " h" => 3600.0,
            _ => self.size,
        };
        Self { size, ..self }
    }

    fn thousands(self, words: &str) -> Self {
        let size = if self.suffix.starts_with(" k") { 1e3 } else { self.size };
        Self { size, suffix: format!("{}{words}", self.suffix) }
    }

    /// Writes a number of the column's own unit in this unit.
    pub fn write(&self, value: f64) -> String {
        format!("{}{}", number(value / self.size), self.suffix)
    }
}

/// Writes a number of a column's own unit in the unit that suits it.
pub fn quantity(unit: &str, value: f64) -> String {
    match unit {
        "seconds" => seconds(value),
        unit => Unit::of(unit, value).write(value),
    }
}

/// Writes a number with three significant digits, without zeros at its end.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { "–".to_owned() };
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..7.0).contains(&magnitude) {
        return format!("{value:.1e}");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0 to 7"
    )]
    let digits = (2.0 - magnitude).clamp(0.0, 7.0) as usize;
    let mut text = format!("{value:.digits$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    text.replace('-', "−")
}

/// Writes a share of one as per cent with one decimal.
pub fn percent(share: f64) -> String {
    match share {
        s if !s.is_finite() => "–".to_owned(),
        s if s > 0.0 && s < 0.0005 => "< 0.1 %".to_owned(),
        s if s < 1.0 && s > 0.9995 => "> 99.9 %".to_owned(),
        s => format!("{:.1} %", s * 100.0).replace(".0 %", " %"),
    }
}

/// Writes a count with narrow spaces between groups of three digits.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Writes a number of things: `1 alarm`, `2 alarms`, `2 entities`.
pub fn counted(value: u64, thing: &str) -> String {
    let things = match (value, thing.strip_suffix("ity")) {
        (1, _) => thing.to_owned(),
        (_, Some(start)) => format!("{start}ities"),
        (_, None) => format!("{thing}s"),
    };
    format!("{} {things}", count(value))
}

/// Writes bytes: `12 KiB`, `3.4 MiB`.
pub fn bytes(value: u64) -> String {
    quantity("bytes", value as f64)
}

/// Writes seconds with three digits, or as two units: `4.2 ms`, `1.24 s`, `3 min 5 s`, `2 h 5 min`,
/// `3 d 4 h`.
pub fn seconds(value: f64) -> String {
    if !value.is_finite() {
        return number(value);
    }
    // Rounded before the units are chosen, so that nothing reads `1000 ms` or `1 min 60 s`.
    let rounded = format!("{value:.2e}").parse().unwrap_or(value);
    let sign = if value < 0.0 { "\u{2212}" } else { "" };
    let size = value.abs();
    match (size.round(), (size / 60.0).round(), (size / 3600.0).round()) {
        (s, ..) if s < 60.0 => Unit::of("seconds", rounded).write(rounded),
        (s, ..) if s < 3600.0 => format!("{sign}{}", two(s, 60.0, "min", "s")),
        (_, min, _) if min < 1440.0 => format!("{sign}{}", two(min, 60.0, "h", "min")),
        (.., h) => format!("{sign}{}", two(h, 24.0, "d", "h")),
    }
}

/// Writes a whole number of small units as two units, such as 185 seconds as `3 min 5 s`.
fn two(number: f64, small_per_large: f64, large: &str, small: &str) -> String {
    let (of_large, of_small) = ((number / small_per_large).floor(), number % small_per_large);
    match of_small {
        0.0 => format!("{of_large:.0} {large}"),
        of_small => format!("{of_large:.0} {large} {of_small:.0} {small}"),
    }
}

/// Writes a length of time.
pub fn span(span: Span) -> String {
    seconds(span.seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_unit_that_people_read() {
        for (unit, value, text) in [
            ("bytes", 3_565_158.0, "3.4 MiB"),
            ("bytes_per_second", 2048.0, "2 KiB/s"),
            ("seconds", 0.0042, "4.2 ms"),
            ("seconds", 320.4, "5 min 20 s"),
            ("seconds", 3.0e-6, "3 µs"),
            ("seconds", f64::NAN, "–"),
            ("seconds", 600.0, "10 min"),
            ("ratio", 0.034, "3.4 %"),
            ("per_second", 12.34, "12.3/s"),
            ("per_second", 12_340.0, "12.3 k/s"),
            ("cores", 1.5, "1.5 cores"),
            ("pods", 0.0, "0 pods"),
            ("", -1_500_000.0, "−1.5 M"),
            ("seconds", 0.0, "0 s"),
        ] {
            assert_eq!(quantity(unit, value), text, "{unit} {value}");
        }
    }

    #[test]
    fn lengths_of_time_have_two_parts_at_most() {
        let written = [0.0042, 1.24, 185.0, 3600.0, 90_060.0, -90.0].map(seconds);
        assert_eq!(written, ["4.2 ms", "1.24 s", "3 min 5 s", "1 h", "1 d 1 h", "−1 min 30 s"]);
        let rounded = [0.9996, 59.96, 119.7, 3599.6, 7800.0, 86_399.0, 730_081.0].map(seconds);
        assert_eq!(rounded, ["1 s", "1 min", "2 min", "1 h", "2 h 10 min", "1 d", "8 d 11 h"]);
    }

    #[test]
    fn shares_and_counts_are_never_rounded_to_all_or_nothing() {
        assert_eq!(
            [0.0, 0.0001, 0.25, 0.123, 0.99999, 1.0].map(percent),
            ["0 %", "< 0.1 %", "25 %", "12.3 %", "> 99.9 %", "100 %"]
        );
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!([1, 2].map(|n| counted(n, "alarm")), ["1 alarm", "2 alarms"]);
        assert_eq!([1, 0].map(|n| counted(n, "entity")), ["1 entity", "0 entities"]);
    }
}
