//! Formats tables, durations and sizes for people.

/// Formats seconds for people: `4 ms`, `1.2 s`, `3 min 5 s`, `2 h 10 min`, `8 d 10 h`.
pub fn human_seconds(seconds: f64) -> String {
    // Rounded before it is split, so that nothing reads `1000 ms` or `1 min 60 s`.
    match seconds {
        s if (s * 1000.0).round() < 1000.0 => format!("{:.0} ms", s * 1000.0),
        s if (s * 10.0).round() < 600.0 => format!("{s:.1} s"),
        s if s.round() < 3600.0 => two(s.round(), (60.0, "min"), (1.0, "s")),
        s if (s / 60.0).round() < 1440.0 => two((s / 60.0).round(), (60.0, "h"), (1.0, "min")),
        s => two((s / 3600.0).round(), (24.0, "d"), (1.0, "h")),
    }
}

/// Writes a whole number of small units as two units, such as 185 seconds as `3 min 5 s`.
fn two(number: f64, (large, large_name): (f64, &str), (small, small_name): (f64, &str)) -> String {
    let (of_large, of_small) = ((number / large).floor(), number % large / small);
    format!("{of_large:.0} {large_name} {of_small:.0} {small_name}")
}

/// Formats bytes for people: `12 KiB`, `3.4 MiB`.
pub fn human_bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b < 1024.0 => format!("{b:.0} B"),
        b if b < 1_048_576.0 => format!("{:.0} KiB", b / 1024.0),
        b if b < 1_073_741_824.0 => format!("{:.1} MiB", b / 1_048_576.0),
        b => format!("{:.1} GiB", b / 1_073_741_824.0),
    }
}

/// Returns rows as a table with aligned columns, the first row as its head.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_unit_that_people_read() {
        let read = [0.0042, 1.24, 185.0, 0.9996, 119.7].map(human_seconds);
        assert_eq!(read, ["4 ms", "1.2 s", "3 min 5 s", "1.0 s", "2 min 0 s"]);
        let read = [3599.6, 7800.0, 86_399.0, 730_081.0].map(human_seconds);
        assert_eq!(read, ["1 h 0 min", "2 h 10 min", "1 d 0 h", "8 d 11 h"]);
        assert_eq!([12, 2048, 3_565_158].map(human_bytes), ["12 B", "2 KiB", "3.4 MiB"]);
    }
}
