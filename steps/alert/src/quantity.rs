//! Readable numbers, and sanitised text from outside.

use contract::Span;

/// Returns a number with its unit, to three significant digits.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "ratio" => format!("{} %", digits(value * 100.0)),
        "bytes" => bytes(value),
        "bytes_per_second" => format!("{}/s", bytes(value)),
        "per_second" => format!("{}/s", digits(value)),
        "seconds" => seconds(value),
        "" => digits(value),
        unit => format!("{} {}", digits(value), clean(unit)),
    }
}

fn bytes(value: f64) -> String {
    let (mut value, mut unit) = (value, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value.abs() < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    format!("{} {unit}", digits(value))
}

fn seconds(value: f64) -> String {
    match value.abs() {
        size if (120.0..1e12).contains(&size) => {
            // Whole seconds within 12 digits fit.
            #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
            let whole = value.round() as i64;
            Span::from_seconds(whole).to_string()
        }
        size if size >= 1.0 || size == 0.0 => format!("{} s", digits(value)),
        size if size >= 1e-3 => format!("{} ms", digits(value * 1e3)),
        _ => format!("{} \u{b5}s", digits(value * 1e6)),
    }
}

/// Returns a number to three significant digits, or as an integer if it is large.
pub(crate) fn digits(value: f64) -> String {
    let size = value.abs();
    if size >= 1e9 || (size < 1e-4 && size > 0.0) {
        return format!("{value:.2e}");
    }
    let places = match size {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        size if size >= 0.01 => 4,
        _ => 6,
    };
    let text = format!("{value:.places$}");
    let text = if places > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Removes terminal control characters from text that came from outside.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        for (value, unit, text) in [
            (0.9812, "ratio", "98.1 %"),
            (0.0, "ratio", "0 %"),
            (8_482_560_000.0, "bytes", "7.9 GiB"),
            (512.0, "bytes", "512 B"),
            (1536.0, "bytes_per_second", "1.5 KiB/s"),
            (12.345, "per_second", "12.3/s"),
            (0.0042, "seconds", "4.2 ms"),
            (3.0e-6, "seconds", "3 \u{b5}s"),
            (320.4, "seconds", "5m20s"),
            (-0.000_001, "", "-1.00e-6"),
            (123_456.7, "", "123457"),
            (1.5e12, "", "1.50e12"),
            (2.5, "cores", "2.5 cores"),
            (f64::INFINITY, "", "inf"),
            (f64::NAN, "seconds", "NaN \u{b5}s"),
        ] {
            assert_eq!(quantity(value, unit), text);
        }
    }

    #[test]
    fn a_name_cannot_write_elsewhere_on_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
