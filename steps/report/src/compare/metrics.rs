//! Metrics of several runs, and the significance of their differences.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::later::{FIGURES, Judged};
use super::{AGAINST_FIRST, CHANGES, COLUMNS, head};
use crate::alarms::Found;
use crate::curves::Figure;
use crate::runs::Run;
use crate::tables::{Cell, Table};
use crate::units;
use crate::zone::Zone;

/// Significance of a difference between a later run and the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Same,
    Better,
    Worse,
    Chance,
    Unknown,
}

impl Meaning {
    fn word(self) -> &'static str {
        match self {
            Self::Same => "the same",
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Chance => "may be chance",
            Self::Unknown => "cannot be said",
        }
    }

    /// Returns the significance of a difference with its interval.
    fn of(difference: Option<Figure>, more_is_better: bool) -> Self {
        let Some(Figure { value, interval }) = difference else { return Self::Unknown };
        if value.abs() < f64::EPSILON {
            return Self::Same;
        }
        let Some((low, high)) = interval else { return Self::Unknown };
        match (low > 0.0, high < 0.0) {
            (true, _) => [Self::Worse, Self::Better][usize::from(more_is_better)],
            (_, true) => [Self::Better, Self::Worse][usize::from(more_is_better)],
            _ => Self::Chance,
        }
    }
}

/// Writes a metric with its interval.
pub(crate) fn cell(name: &str, figure: Option<Figure>) -> Cell {
    let Some(Figure { value, interval }) = figure else { return Cell::empty() };
    let write = |value: f64| match name {
        name if name.ends_with("_ratio") => units::percent(value),
        name if name.contains("_seconds") => units::seconds(value),
        "rows" | "events" => format!("{value:.0}"),
        _ => units::number(value),
    };
    match interval {
        None => Cell::of(write(value), value),
        Some((low, high)) => Cell::of(
            format!("{} [{}, {}]", write(value), write(low), write(high)),
            json!({"value": value, "low": low, "high": high}),
        ),
    }
}

fn difference(figure: Option<Figure>) -> Cell {
    let signed =
        |value: f64| format!("{}{}", if value > 0.0 { "+" } else { "" }, units::number(value));
    match figure {
        None => Cell::empty(),
        Some(Figure { value, interval: None }) => Cell::of(signed(value), value),
        Some(Figure { value, interval: Some((low, high)) }) => Cell::of(
            format!("{} [{}, {}]", signed(value), signed(low), signed(high)),
            json!({"value": value, "low": low, "high": high}),
        ),
    }
}

fn with_difference(
    first: (&'static str, &'static str),
    runs: usize,
) -> Vec<(&'static str, &'static str)> {
    let mut columns = head(first, runs);
    columns.extend(AGAINST_FIRST.into_iter().take(runs.saturating_sub(1)).flatten());
    columns
}

/// Makes the table of the metrics of the runs' models on rows that are in none of their data sets.
pub(super) fn later(judged: &[Option<Judged>]) -> Table {
    let rows = judged.iter().flatten().map(Judged::rows).max().unwrap_or(0);
    let caption = format!(
        "Metrics of the models on the same {}, which none of them was trained on; in brackets 95 % \
         bootstrap intervals over blocks of rows, for differences over the same blocks",
        units::counted(rows as u64, "row")
    );
    let mut table =
        Table::new("later", caption, &with_difference(("figure", "Figure"), judged.len()));
    if judged.iter().flatten().count() < 2 {
        return table;
    }
    let Some((first, others)) = judged.split_first() else { return table };
    for (name, more_is_better) in FIGURES {
        let figures: Vec<Option<Figure>> =
            judged.iter().map(|judged| judged.as_ref()?.figure(name)).collect();
        if figures.iter().all(Option::is_none) {
            continue;
        }
        let mut row = vec![Cell::of(units::words(name), name)];
        row.extend(figures.into_iter().map(|figure| cell(name, figure)));
        for other in others {
            let less = other.as_ref().zip(first.as_ref());
            let less = less.and_then(|(other, first)| other.difference(first, name));
            row.push(difference(less));
            row.push(Cell::text(Meaning::of(less, more_is_better).word()));
        }
        table.push(row);
    }
    table
}

/// Makes the table of the labelled faults that each run's models find, and the delay after their
/// start.
pub(super) fn faults(judged: &[Option<Judged>], zone: &Zone) -> Table {
    let mut columns = head(("start", "Start"), judged.len());
    columns.insert(1, ("label", "Fault"));
    columns.insert(2, ("target", "~Target"));
    columns.extend(CHANGES.into_iter().take(judged.len().saturating_sub(1)));
    let mut table = Table::new(
        "faults",
        "Labelled faults after the runs' data: time from the start of each to the first anomalous \
         window",
        &columns,
    );
    if judged.iter().flatten().count() < 2 {
        return table;
    }
    let Some(all) = judged.iter().flatten().next() else { return table };
    for (index, found) in all.scenarios.iter().enumerate() {
        let of = |judged: &'_ Option<Judged>| judged.as_ref()?.scenarios.get(index).cloned();
        let each: Vec<Option<Found>> = judged.iter().map(of).collect();
        if each.iter().flatten().all(|found| found.rows == 0) {
            continue;
        }
        let scenario = &found.scenario;
        let mut row = vec![
            Cell::time(zone, scenario.start),
            Cell::of(units::words(&scenario.label), scenario.label.as_str()),
            Cell::text(&scenario.target),
        ];
        row.extend(each.iter().map(|found| match found {
            None => Cell::empty(),
            Some(found) => match found.delay() {
                Some(delay) => Cell::of(units::span(delay), delay.seconds()),
                None => Cell::of("not found", Value::Null),
            },
        }));
        row.extend(each.iter().skip(1).map(|other| Cell::text(change(each.first(), Some(other)))));
        table.push(row);
    }
    table
}

fn change(first: Option<&Option<Found>>, last: Option<&Option<Found>>) -> String {
    let (Some(Some(first)), Some(Some(last))) = (first, last) else { return "–".to_owned() };
    match (first.delay(), last.delay()) {
        (None, None) => "not found by either".to_owned(),
        (None, Some(_)) => "gained".to_owned(),
        (Some(_), None) => "lost".to_owned(),
        (Some(a), Some(b)) if a == b => "the same".to_owned(),
        (Some(a), Some(b)) if a > b => {
            format!("{} sooner", units::seconds(a.seconds() - b.seconds()))
        }
        (Some(a), Some(b)) => format!("{} later", units::seconds(b.seconds() - a.seconds())),
    }
}

/// Makes the table of the metrics on each run's own data set.
pub(super) fn own(runs: &[Run]) -> Table {
    let mut table = Table::new(
        "figures",
        "Metrics of each run on its own data set",
        &with_difference(("figure", "Figure"), runs.len()),
    );
    let same_rows = of_data_sets(runs) == Some(true);
    let measured: Vec<_> = runs.iter().map(Run::figures).collect();
    let names: BTreeSet<(&String, &String)> = measured
        .iter()
        .flatten()
        .flat_map(|(part, figures)| figures.keys().map(move |name| (part, name)))
        .collect();
    // Validation before test, in the order of the data.
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|(part, _)| part.as_str() != "validation");
    for (part, name) in names {
        let each: Vec<Option<Figure>> =
            measured.iter().map(|run| run.get(part)?.get(name).copied()).collect();
        let first = each.first().copied().flatten();
        let against_first = |other: &Option<Figure>| {
            let ends = first.zip(*other);
            let less = ends.map(|(first, other)| other.value - first.value);
            let meaning = match ends {
                _ if name == "rows" => None,
                Some(_) if !same_rows => Some("of other rows"),
                Some((first, other)) => Some(apart(name, first, other).word()),
                None => None,
            };
            [
                difference(less.map(|value| Figure { value, interval: None })),
                meaning.map_or_else(Cell::empty, Cell::text),
            ]
        };
        let mut row =
            vec![Cell::of(units::words(&format!("{part} {name}")), format!("{part}.{name}"))];
        row.extend(each.iter().map(|figure| cell(name, *figure)));
        row.extend(each.iter().skip(1).flat_map(against_first));
        table.push(row);
    }
    table
}

/// Compares two metrics on the same rows by their intervals: they differ significantly if the
/// intervals do not overlap.
fn apart(name: &str, first: Figure, last: Figure) -> Meaning {
    let less_is_better = name.starts_with("false_") || name.contains("delay");
    let value = last.value - first.value;
    let interval = first.interval.zip(last.interval);
    let interval = interval.map(|(first, last)| (last.0 - first.1, last.1 - first.0));
    Meaning::of(Some(Figure { value, interval }), !less_is_better)
}

/// Returns whether all runs have the same data set; `None` if one has none.
fn of_data_sets(runs: &[Run]) -> Option<bool> {
    let hashes: Option<Vec<&str>> = runs
        .iter()
        .map(|run| Some(run.bundle.as_ref()?.provenance.dataset_sha256.as_str()))
        .collect();
    Some(hashes?.windows(2).all(|pair| pair[0] == pair[1]))
}

pub(super) fn of_documents(fields: usize, table: &Table) -> String {
    match fields {
        0 => "The documents are the same.".to_owned(),
        1 => {
            let name = table.text().get(1).and_then(|row| row.first().cloned());
            format!("The documents differ in one field: {}.", name.unwrap_or_default())
        }
        more => format!("The documents differ in {more} fields."),
    }
}

pub(super) fn of_data(runs: &[Run]) -> String {
    let said = match of_data_sets(runs) {
        Some(true) => "All were trained on the same data set.",
        Some(false) => "They were trained on different data sets.",
        None => "Not every run produced a bundle.",
    };
    said.to_owned()
}

pub(super) fn of_later(judged: &[Option<Judged>]) -> String {
    let there: Vec<(&str, &Judged)> = COLUMNS
        .iter()
        .zip(judged)
        .filter_map(|((_, letter), judged)| Some((*letter, judged.as_ref()?)))
        .collect();
    let [(first_letter, first), others @ ..] = there.as_slice() else {
        return "There are no later rows to compare their models on.".to_owned();
    };
    if others.is_empty() {
        return "There are no later rows to compare their models on.".to_owned();
    }
    let faults = first.scenarios.iter().filter(|found| found.rows > 0).count();
    let rows = units::counted(first.rows() as u64, "row");
    if faults == 0 {
        return format!("On {rows} after their data there was no labelled fault.");
    }
    let name = "average_precision";
    let count = |(number, (letter, judged)): (usize, &(&str, &Judged))| {
        let found = judged.scenarios.iter().filter(|found| found.delay().is_some()).count();
        if number == 0 { format!("{letter} finds {found}") } else { format!("{letter} {found}") }
    };
    let found = listed(&there.iter().enumerate().map(count).collect::<Vec<_>>());
    let value = |(_, judged): &(&str, &Judged)| {
        judged.figure(name).map_or_else(|| "–".to_owned(), |figure| units::number(figure.value))
    };
    let values = listed(&there.iter().map(value).collect::<Vec<_>>());
    let said = |(letter, judged): &(&str, &Judged)| match Meaning::of(
        judged.difference(first, name),
        true,
    ) {
        Meaning::Same => format!("{letter} is no different"),
        Meaning::Better => format!("{letter} is significantly better"),
        Meaning::Worse => format!("{letter} is significantly worse"),
        Meaning::Chance => format!("the difference of {letter} is not significant"),
        Meaning::Unknown => format!("the significance of the difference of {letter} is unknown"),
    };
    let said = others.iter().map(said).collect::<Vec<_>>().join("; ");
    format!(
        "On {rows} after their data, {found} of {faults} labelled faults, with an average precision \
         of {values}. Against {first_letter}, {said}."
    )
}

/// Joins words: `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

pub(super) fn of_cost(runs: &[Run]) -> String {
    let time: Vec<String> = runs.iter().map(|run| units::seconds(run.record.seconds)).collect();
    format!("They took {}.", listed(&time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_means_something_only_when_its_interval_excludes_none() {
        for (value, interval, more_is_better, expected) in [
            (0.0, Some((0.0, 0.0)), true, Meaning::Same),
            (0.1, Some((0.05, 0.2)), true, Meaning::Better),
            (0.1, Some((0.05, 0.2)), false, Meaning::Worse),
            (-0.1, Some((-0.2, -0.05)), true, Meaning::Worse),
            (-0.1, Some((-0.2, -0.05)), false, Meaning::Better),
            (0.1, Some((-0.05, 0.2)), true, Meaning::Chance),
            (0.1, None, true, Meaning::Unknown),
        ] {
            let less = Some(Figure { value, interval });
            assert_eq!(Meaning::of(less, more_is_better), expected, "{less:?} {more_is_better}");
        }
        assert_eq!(Meaning::of(None, true), Meaning::Unknown);
    }

    #[test]
    fn figures_of_the_same_rows_differ_when_their_intervals_lie_apart() {
        let of = |value: f64, low: f64, high: f64| Figure { value, interval: Some((low, high)) };
        assert_eq!(apart("f1", of(0.5, 0.4, 0.6), of(0.8, 0.7, 0.9)), Meaning::Better);
        assert_eq!(apart("f1", of(0.5, 0.4, 0.6), of(0.6, 0.55, 0.9)), Meaning::Chance);
        let name = "false_alarms_per_day";
        assert_eq!(apart(name, of(1.0, 0.5, 2.0), of(9.0, 5.0, 20.0)), Meaning::Worse);
    }
}
