//! The features over time, those with the largest changes first.

use std::collections::BTreeSet;

use contract::StepError;
use contract::score::entity_words;
use maud::{Markup, html};

use super::{Section, figure, key};
use crate::contents::Contents;
use crate::features::{MOST_LINES, Moved, Series};
use crate::figures::{self, Backdrop};
use crate::tables::{Cell, Table, breakable};
use crate::units::{self, Unit};

/// Number of figures that are shown; the rest is folded.
const OPEN: usize = 12;

pub(super) fn section(
    contents: &Contents,
    tables: &mut Vec<Table>,
) -> Result<Option<Section>, StepError> {
    let history = &contents.features;
    let Some(backdrop) = Backdrop::of_features(contents) else { return Ok(None) };
    let order = order(contents);
    let drawn: Vec<Markup> = order
        .iter()
        .map(|(series, moved)| one(series, *moved, contents, &backdrop))
        .collect::<Result<_, _>>()?;
    let (open, folded) = drawn.split_at(drawn.len().min(OPEN));
    let table = table(&order, contents);
    let mut entries = Vec::new();
    if backdrop.has_faults() {
        entries.push(("fault", "labelled fault, by its number"));
    }
    if history.entities.len() > MOST_LINES {
        entries.push(("band", "from the smallest to the largest of all"));
    } else if history.entities.len() > 1 {
        let classes = ["s0", "s1", "s2", "s3", "s4", "s5"];
        entries.extend(
            classes.into_iter().zip(history.entities.iter().map(|name| entity_words(name))),
        );
    }
    let body = html! {
        p {
            "Features farthest outside their usual range come first; features computed from "
            "others come after measured ones."
            @if !history.gaps.is_empty() {
                " " (units::counted(history.gaps.len() as u64, "gap"))
                " in time " @if history.gaps.len() == 1 { "is" } @else { "are" } " listed under Data."
            }
        }
        (key(&entries))
        div.multiples { @for markup in open { (markup) } }
        @if !folded.is_empty() {
            details {
                summary { (units::counted(folded.len() as u64, "more feature")) }
                div.multiples { @for markup in folded { (markup) } }
            }
        }
        details.long {
            summary { "All features as a table" }
            (table.html())
        }
    };
    tables.push(table);
    Ok(Some(Section { id: "features", title: "The features", body }))
}

type Ordered<'a> = Vec<(&'a Series, Option<Moved>)>;

/// Orders measured features before computed ones, and within each group those with the largest
/// changes first.
fn order(contents: &Contents) -> Ordered<'_> {
    let measured: BTreeSet<String> =
        contents.document.columns.iter().map(|column| column.name.clone()).collect();
    let computed = |series: &Series| {
        let name = series.column.name.as_str();
        !measured.contains(name) && series.column.formula != name
    };
    let mut order: Ordered<'_> =
        contents.features.series.iter().map(|series| (series, series.moved())).collect();
    let widths = |moved: Option<Moved>| moved.map_or(-1.0, |moved| moved.widths);
    order.sort_by(|(a, moved_a), (b, moved_b)| {
        computed(a)
            .cmp(&computed(b))
            .then(widths(*moved_b).total_cmp(&widths(*moved_a)))
            .then_with(|| a.column.name.cmp(&b.column.name))
    });
    order
}

fn one(
    series: &Series,
    moved: Option<Moved>,
    contents: &Contents,
    backdrop: &Backdrop<'_>,
) -> Result<Markup, StepError> {
    let (history, zone) = (&contents.features, &contents.zone);
    let bounds = series.lines.iter().filter_map(crate::envelope::Envelope::bounds);
    let all = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let Some((low, high)) = all else {
        let title = html! { code { (breakable(&series.column.name)) } };
        return Ok(figure(&title, "has no values.", &html! {}));
    };
    let unit = Unit::of(&series.column.unit, low.abs().max(high.abs()));
    let many = history.entities.len() > 1;
    let farthest = moved.filter(|moved| moved.widths > 0.5).map_or_else(String::new, |moved| {
        let name = history.entities.get(moved.entity as usize).map_or("", String::as_str);
        let of = if many { format!(" of {}", entity_words(name)) } else { String::new() };
        format!(
            " Farthest from usual{of} at {}: {}.",
            zone.time(moved.time),
            unit.write(moved.value)
        )
    });
    let usual = series.usual().map_or_else(String::new, |usual| {
        format!(" Usually {} to {}.", unit.write(usual.low), unit.write(usual.high))
    });
    let alternative = format!(
        "{} over time, from {} to {}.{usual}{farthest}",
        series.column.name,
        unit.write(low),
        unit.write(high)
    );
    let drawing = figures::feature(series, history.entities.len(), backdrop, &alternative)?;
    let suffix = unit.suffix.trim();
    let words = if suffix.is_empty() { String::new() } else { format!("in {suffix}") };
    Ok(figure(&html! { code { (breakable(&series.column.name)) } }, &words, &drawing))
}

fn table(order: &Ordered<'_>, contents: &Contents) -> Table {
    let (history, zone) = (&contents.features, &contents.zone);
    let mut table = Table::new(
        "features",
        "Features: the range of 98 % of the values of normal rows, and the largest distance from \
         it, in widths of the range",
        &[
            ("feature", "Feature"),
            ("unit", "Unit"),
            ("usual_low", "#Usual from"),
            ("median", "#Median"),
            ("usual_high", "#Usual to"),
            ("moved_widths", "#Left by"),
            ("moved_value", "#Farthest value"),
            ("moved_time", "At"),
            ("moved_entity", "Of"),
            ("gap_ratio", "#Gaps"),
            ("formula", "~Made of"),
        ],
    );
    for (series, moved) in order {
        let unit = series.column.unit.as_str();
        let quantity = |value: Option<f64>| {
            value.map_or_else(Cell::empty, |value| Cell::quantity(unit, value))
        };
        let usual = series.usual();
        let name = moved.and_then(|moved| history.entities.get(moved.entity as usize));
        let rows = (series.values + series.gaps).max(1) as f64;
        table.push(vec![
            Cell::code(&series.column.name),
            Cell::text(unit),
            quantity(usual.map(|usual| usual.low)),
            quantity(usual.map(|usual| usual.middle)),
            quantity(usual.map(|usual| usual.high)),
            Cell::number(moved.map(|moved| moved.widths)),
            quantity(moved.map(|moved| moved.value)),
            moved.map_or_else(Cell::empty, |moved| Cell::time(zone, moved.time)),
            name.map_or_else(Cell::empty, |name| Cell::of(entity_words(name), name.as_str())),
            Cell::share(Some(series.gaps as f64 / rows)),
            Cell::code(&series.column.formula),
        ]);
    }
    table
}
