//! Each model separately: the rarity of its scores, and their ranking metrics.

use contract::{StepError, Timestamp};
use maud::{Markup, html};

use super::{Section, figure, key};
use crate::contents::Contents;
use crate::curves::{Curves, Figure};
use crate::figures::{self, Backdrop};
use crate::scores::{MemberHistory, ScoreHistory};
use crate::tables::{Cell, Table};
use crate::units;

pub(super) fn section(
    contents: &Contents,
    tables: &mut Vec<Table>,
) -> Result<Option<Section>, StepError> {
    let scored = contents.scored.as_ref().map(|scored| (&scored.history, Some(scored.range)));
    let scored = scored.filter(|(history, _)| !history.members.is_empty());
    let rescored = contents.rescored.as_ref().map(|rescored| (&rescored.history, None));
    let Some((history, range)) = scored.or(rescored) else { return Ok(None) };
    let Some(range) = range.or(history.range.map(|(first, last)| (first - history.step(), last)))
    else {
        return Ok(None);
    };
    let curves = curves(history);
    let quality = quality(&curves);
    let confusion = confusion(history);
    let body = html! {
        @if scored.is_none() { (own_data(contents)) }
        p {
            "The height shows how rare a score is: at “1 in 100”, one of a hundred rows of the "
            "training data's validation part scored as high; at “never” none did. Above the dashed "
            "line the model votes for an alarm."
        }
        @for member in &history.members { (timeline(member, history, range, contents)?) }
        (marks(history, scored.is_none()))
        (ranking(history, &curves)?)
        @if !quality.is_empty() { (quality.html()) }
        @if !confusion.is_empty() { (confusion.html()) }
    };
    tables.extend((!confusion.is_empty()).then_some(confusion));
    if !quality.is_empty() {
        tables.push(quality);
    }
    Ok(Some(Section { id: "detectors", title: "Each detector", body }))
}

/// Explains that a run's own data set was scored again.
fn own_data(contents: &Contents) -> Markup {
    let zone = &contents.zone;
    let after = contents.rescored.as_ref().and_then(|rescored| rescored.after);
    html! {
        p {
            "This is the run's own data set, scored again with its bundle. The models were "
            "trained on the first part only."
            @if let Some(after) = after {
                " The data set is large; only windows after " (zone.time(after)) " are shown."
            }
        }
    }
}

/// Explains the marks that occur.
fn marks(history: &ScoreHistory, own_data: bool) -> Markup {
    let mut entries = vec![("s0", "score"), ("threshold", "threshold")];
    if history.entities.iter().any(|entity| !entity.alarms.is_empty()) {
        entries.push(("alarm", "alarm of the vote"));
    }
    if !history.scenarios.is_empty() {
        entries.push(("fault", "labelled fault"));
    }
    if own_data && history.parts.len() > 1 {
        entries.push(("switch", "start of the next part: training, validation, test"));
    }
    key(&entries)
}

fn timeline(
    member: &MemberHistory,
    history: &ScoreHistory,
    range: (Timestamp, Timestamp),
    contents: &Contents,
) -> Result<Markup, StepError> {
    let backdrop = Backdrop::of(contents, history, range);
    let name = units::words(&member.kind);
    let words = format!("voted for an alarm {}.", times(member.votes));
    let alternative = format!("How rare the scores of the {name} were over time. It {words}");
    let drawing = figures::member(member, &backdrop, &alternative)?;
    Ok(figure(&html! { (name) }, &words, &drawing))
}

fn times(count: u64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        more => format!("{} times", units::count(more)),
    }
}

/// Returns the curves of each model and of the combined score, if there are labels.
fn curves(history: &ScoreHistory) -> Vec<Curves> {
    // Rows of a labelled fault are correlated, so whole minutes are resampled, not single rows.
    let block = (60_000 / history.step().ms().max(1)).clamp(5, 60);
    let block = usize::try_from(block).unwrap_or(5) * history.entities.len().max(1);
    let combined = ("combined score", &history.verdict.ranked);
    let members = history.members.iter().map(|member| (member.kind.as_str(), &member.ranked));
    let all = members.chain(std::iter::once(combined));
    all.filter_map(|(name, ranked)| Curves::of(name, ranked, block)).collect()
}

fn ranking(history: &ScoreHistory, curves: &[Curves]) -> Result<Markup, StepError> {
    let Some(first) = curves.first() else {
        let why = match (history.too_many, history.scenarios.is_empty()) {
            (true, _) => "There are too many labelled rows to draw curves from.",
            (_, true) => {
                "This range has no labelled fault, so the share of faults that the detectors find \
                 is unknown."
            }
            _ => "The range does not have both normal and faulty rows, so there are no curves.",
        };
        return Ok(html! { p { (why) } });
    };
    let said = curves.iter().map(in_words).collect::<Vec<_>>().join("; ");
    let roc = figures::curves(curves, true, &format!("ROC curves. {said}."))?;
    let precision = figures::curves(curves, false, &format!("Precision over recall. {said}."))?;
    let classes = ["s0", "s1", "s2", "s3", "s4", "s5"];
    Ok(html! {
        h3 { "Ranking of the scores" }
        p {
            "Made of " (units::count(first.rows as u64)) " labelled rows, "
            (units::count(first.anomalous as u64)) " of them within faults; rows in guard bands do \
                 not count."
            @if !first.roc.band.is_empty() { " The bands are 95 % bootstrap intervals over blocks \
                 of rows." }
        }
        div.pair {
            (figure(&html! { "ROC:" }, "share of faulty rows found over share of normal rows called anomalous.", &roc))
            (figure(&html! { "Precision and recall:" }, "precision over recall: share of correct \
                 alarms over share of faulty rows found.", &precision))
        }
        ul.key {
            @for (index, curve) in curves.iter().enumerate() {
                li { i class=(classes[index % classes.len()]) aria-hidden="true" {} (in_words(curve)) }
            }
        }
    })
}

/// Returns the name of a curve with its metrics and their intervals.
fn in_words(curve: &Curves) -> String {
    let one = |name: &str, figure: &Figure| match figure.interval {
        Some((low, high)) => format!("{name} {:.2} ({low:.2} to {high:.2})", figure.value),
        None => format!("{name} {:.2}", figure.value),
    };
    let area = one("area under the ROC curve", &curve.roc_auc);
    let precision = one("average precision", &curve.average_precision);
    format!("{}: {area}, {precision}", units::words(&curve.name))
}

/// Verdicts and labels.
fn confusion(history: &ScoreHistory) -> Table {
    let mut table = Table::new(
        "confusion",
        "Confusion matrix in rows, without rows in guard bands",
        &[
            ("known", "What was known"),
            ("anomalous", "#Called anomalous"),
            ("normal", "#Called normal"),
            ("share_right", "#Right"),
        ],
    );
    let counts = history.counts;
    let rows = [
        ("a labelled fault", counts.found, counts.missed, counts.found),
        ("nothing wrong", counts.false_alarms, counts.quiet, counts.quiet),
    ];
    if history.scenarios.is_empty() {
        return table;
    }
    for (known, anomalous, normal, right) in rows {
        let all = anomalous + normal;
        let share = (all > 0).then(|| right as f64 / all as f64);
        let counts = [Cell::count(anomalous), Cell::count(normal)];
        table.push([vec![Cell::text(known)], counts.to_vec(), vec![Cell::share(share)]].concat());
    }
    table
}

fn quality(curves: &[Curves]) -> Table {
    let mut table = Table::new(
        "quality",
        "Ranking quality of each score; in brackets 95 % bootstrap intervals over blocks of rows",
        &[
            ("score", "Score"),
            ("roc_auc", "#ROC AUC"),
            ("roc_auc_interval", "#Interval"),
            ("average_precision", "#Average precision"),
            ("average_precision_interval", "#Interval"),
        ],
    );
    let interval = |figure: &Figure| match figure.interval {
        Some((low, high)) => Cell::text(format!("[{low:.3}, {high:.3}]")),
        None => Cell::empty(),
    };
    let value = |figure: &Figure| Cell::of(format!("{:.3}", figure.value), figure.value);
    for curve in curves {
        table.push(vec![
            Cell::of(units::words(&curve.name), curve.name.as_str()),
            value(&curve.roc_auc),
            interval(&curve.roc_auc),
            value(&curve.average_precision),
            interval(&curve.average_precision),
        ]);
    }
    table
}
