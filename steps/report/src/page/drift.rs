//! Drift between the scored data and the training data, which is not an alarm by itself.

use maud::{Markup, html};

use crate::scores::ScoreHistory;
use crate::tables::{Cell, Table};
use crate::zone::Zone;

/// Features with drift, by the models that follow drift.
pub(super) fn table(history: &ScoreHistory, zone: &Zone) -> Table {
    let mut table = Table::new(
        "drift",
        "Features whose usual level is far from the training data; this alone raises no alarm",
        &[("feature", "Feature"), ("verdicts", "#Verdicts"), ("first", "First"), ("last", "Last")],
    );
    for (feature, (verdicts, first, last)) in &history.drifting {
        let name = Cell::code(feature);
        table.push(vec![
            name,
            Cell::count(*verdicts),
            Cell::time(zone, *first),
            Cell::time(zone, *last),
        ]);
    }
    table
}

/// Makes the table of the last day that scoring compared with the training data.
pub(super) fn day(history: &ScoreHistory) -> Table {
    let mut table = Table::new(
        "day_drift",
        "The last day compared with the training data, feature by feature; a stability index above \
         0.1 means that a feature has moved, above 0.25 that it has moved far",
        &[
            ("feature", "Feature"),
            ("stability_index", "#Stability index"),
            ("missing_ratio", "#Missing"),
            ("usual_missing_ratio", "#Usually missing"),
            ("drifted", "Drifted"),
        ],
    );
    let Some((_, drift)) = &history.day else { return table };
    let mut features: Vec<_> = drift.features.iter().collect();
    features.sort_by_key(|feature| !feature.drifted);
    for feature in features {
        table.push(vec![
            Cell::code(&feature.feature),
            Cell::number(feature.stability_index),
            Cell::share(Some(feature.missing_ratio)),
            Cell::share(Some(feature.usual_missing_ratio)),
            Cell::of(if feature.drifted { "yes" } else { "no" }, feature.drifted),
        ]);
    }
    table
}

/// Shows both tables, or a sentence that nothing drifts.
pub(super) fn html(history: &ScoreHistory, table: &Table, day: &Table, zone: &Zone) -> Markup {
    html! {
        h3 { "Drift" }
        @if table.is_empty() && day.is_empty() {
            p { "No feature has drifted far from the training data." }
        }
        @if !table.is_empty() { (table.html()) }
        @if let Some((time, drift)) = &history.day {
            p { "On the day up to " (zone.time(*time)) ", " @match drift.drifted().count() {
                0 => { "no feature drifted." },
                1 => { "one feature drifted." },
                more => { (more) " features drifted." },
            } }
            details { summary { "All features" } (day.html()) }
        }
    }
}
