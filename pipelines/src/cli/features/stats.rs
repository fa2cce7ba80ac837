//! `lynceus features stats`: statistics of the features of a group, without reading their rows.

use contract::StepError;
use contract::catalog::{ColumnStatistics, GroupVersion, PartStatistics, QUANTILE_LEVELS};
use serde::Serialize;
use store::Catalog;

use super::super::{Global, OutputFormat, print, print_json};
use super::GroupArgs;
use crate::run::table;

/// Flags of `lynceus features stats`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    group: GroupArgs,
    /// First day, as YYYY-MM-DD
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Last day, as YYYY-MM-DD
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
}

/// The statistics of a version over some days.
#[derive(Debug, Serialize)]
struct Shown {
    group: String,
    version: u32,
    days: Vec<String>,
    rows: u64,
    columns: Vec<ColumnStatistics>,
}

pub(super) fn execute(
    global: &Global,
    catalog: Catalog<'_>,
    args: &StatsArgs,
) -> Result<(), StepError> {
    let version = args.group.find(catalog)?;
    let (days, parts) = read(catalog, &version, [args.from.as_deref(), args.to.as_deref()])?;
    let shown = Shown {
        group: version.group,
        version: version.version,
        days,
        rows: parts.iter().map(|part| part.rows).sum(),
        columns: merged(&parts),
    };
    if global.output() == OutputFormat::Json {
        return print_json(&shown);
    }
    let head = ["feature", "values", "gaps", "min", "p5", "median", "p95", "max", "mean"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(shown.columns.iter().map(|column| {
        let at = |level| number(quantile(column, level));
        vec![
            column.name.clone(),
            column.count.to_string(),
            column.nulls.to_string(),
            number(column.min),
            at(0.05),
            at(0.5),
            at(0.95),
            number(column.max),
            number(column.mean),
        ]
    }));
    let days = match (shown.days.first(), shown.days.last()) {
        (Some(first), Some(last)) if first == last => first.clone(),
        (Some(first), Some(last)) => format!("{} days from {first} to {last}", shown.days.len()),
        _ => "no days".to_owned(),
    };
    let Shown { group, version, rows: count, .. } = &shown;
    print(&format!("{group} version {version}: {count} rows of {days}\n\n{}", table(&rows)))
}

/// Reads the statistics of a version's days.
pub(super) fn read(
    catalog: Catalog<'_>,
    version: &GroupVersion,
    [from, to]: [Option<&str>; 2],
) -> Result<(Vec<String>, Vec<PartStatistics>), StepError> {
    let parts = catalog.parts(&version.group, version.version)?;
    let dates = parts.into_iter().map(|part| part.date).filter(|date| {
        from.is_none_or(|from| from <= date.as_str()) && to.is_none_or(|to| date.as_str() <= to)
    });
    let dates: Vec<String> = dates.collect();
    let statistics = catalog.statistics(&version.group, version.version, &dates)?;
    Ok((dates, statistics))
}

/// Merges the statistics of days: counts, extremes and means exactly, quantiles estimated from
/// those of the days.
pub(super) fn merged(parts: &[PartStatistics]) -> Vec<ColumnStatistics> {
    let Some(first) = parts.first() else { return Vec::new() };
    let names = first.columns.iter().map(|column| &column.name);
    let of = |name: &String| {
        let days: Vec<&ColumnStatistics> = parts
            .iter()
            .filter_map(|part| part.columns.iter().find(|column| column.name == *name))
            .collect();
        merge(name, &days)
    };
    names.map(of).collect()
}

fn merge(name: &str, days: &[&ColumnStatistics]) -> ColumnStatistics {
    let count: u64 = days.iter().map(|day| day.count).sum();
    let sum = |day: &&&ColumnStatistics| day.mean.map(|mean| mean * day.count as f64);
    let sum: f64 = days.iter().filter_map(|day| sum(&day)).sum();
    // The quantiles of a day become points, each weighted by its share of the day's rows.
    let mut points: Vec<(f64, f64)> = Vec::new();
    for day in days {
        let values = day.min.iter().chain(&day.quantiles).chain(day.max.iter());
        let levels: Vec<f64> =
            std::iter::once(0.0).chain(QUANTILE_LEVELS).chain(std::iter::once(1.0)).collect();
        for (index, value) in values.enumerate() {
            let level = |index: usize| levels.get(index).copied().unwrap_or(1.0);
            let share = (level(index + 1) - level(index.saturating_sub(1))) / 2.0;
            points.push((*value, share * day.count as f64));
        }
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let extreme = |value: fn(&ColumnStatistics) -> Option<f64>, take: fn(f64, f64) -> f64| {
        days.iter().filter_map(|day| value(day)).reduce(take)
    };
    let quantiles = match days {
        [day] => day.quantiles.clone(),
        _ if points.is_empty() => Vec::new(),
        _ => QUANTILE_LEVELS.iter().map(|level| weighted(&points, *level)).collect(),
    };
    ColumnStatistics {
        name: name.to_owned(),
        count,
        nulls: days.iter().map(|day| day.nulls).sum(),
        min: extreme(|day| day.min, f64::min),
        max: extreme(|day| day.max, f64::max),
        mean: (count > 0).then(|| sum / count as f64),
        quantiles,
    }
}

/// Returns the value below which sorted points have this share of the weight.
fn weighted(points: &[(f64, f64)], level: f64) -> f64 {
    let whole: f64 = points.iter().map(|(_, weight)| weight).sum();
    let mut below = 0.0;
    for (value, weight) in points {
        below += weight;
        if below >= level * whole {
            return *value;
        }
    }
    points.last().map_or(0.0, |(value, _)| *value)
}

/// Returns the quantile at one of the levels.
pub(super) fn quantile(column: &ColumnStatistics, level: f64) -> Option<f64> {
    let index = QUANTILE_LEVELS.iter().position(|known| (known - level).abs() < 1e-9)?;
    column.quantiles.get(index).copied()
}

/// Writes a number with four significant digits; empty for `None`.
pub(super) fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return String::new() };
    match value.abs() {
        0.0 => "0".to_owned(),
        1e-3..1e6 => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(values: [f64; 2], count: u64) -> ColumnStatistics {
        let [low, high] = values;
        let at = |level: &f64| low + (high - low) * level;
        ColumnStatistics {
            name: "x".to_owned(),
            count,
            nulls: 1,
            min: Some(low),
            max: Some(high),
            mean: Some(f64::midpoint(low, high)),
            quantiles: QUANTILE_LEVELS.iter().map(at).collect(),
        }
    }

    #[test]
    fn statistics_of_days_add_up_to_those_of_all_rows() {
        let days = [day([0.0, 10.0], 300), day([10.0, 20.0], 100)];
        let all = merge("x", &days.iter().collect::<Vec<_>>());
        assert_eq!((all.count, all.nulls), (400, 2));
        assert_eq!((all.min, all.max, all.mean), (Some(0.0), Some(20.0), Some(7.5)));
        // Two thirds of the first day's rows are half of all rows.
        let median = quantile(&all, 0.5).unwrap();
        assert!((median - 20.0 / 3.0).abs() < 2.6, "{median}");
        assert!(all.quantiles.is_sorted());
        let none = ColumnStatistics {
            count: 0,
            min: None,
            max: None,
            mean: None,
            quantiles: Vec::new(),
            ..day([0.0, 0.0], 0)
        };
        let all = merge("x", &[&none, &none]);
        assert_eq!((all.count, all.mean, all.quantiles.len()), (0, None, 0));
    }

    #[test]
    fn number_has_four_decimals_or_an_exponent() {
        let read = [0.0, 12.0, 0.12345, 1.5e9, -2e-7].map(|value| number(Some(value)));
        assert_eq!(read, ["0", "12", "0.1235", "1.500e9", "-2.000e-7"]);
    }
}
