//! Verdicts as rows of a table, for CSV and Parquet: one row for each window and entity.

use contract::Timestamp;
use contract::score::{Cause, EntityScore, Verdict, WindowScore};
use frames::{Rows, Values};
use serde_json::{Map, Value};

use crate::run::table;

/// Decimals of a number in a printed table.
const DECIMALS: usize = 4;

/// Most features in a row that contributed to its verdict.
const CAUSES: usize = 3;

/// Returns the name of a verdict.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Normal => "normal",
        Verdict::Anomalous => "anomalous",
        Verdict::NoData => "no_data",
    }
}

/// Returns the score that determines a verdict: the combined score, the score of a single model, or
/// the sum of the votes; `NaN` without data.
pub(crate) fn score(entity: &EntityScore) -> f64 {
    match (entity.verdict, entity.combined, entity.members.as_slice()) {
        (Verdict::NoData, ..) => f64::NAN,
        (_, Some(combined), _) => combined.score,
        (_, None, [only]) => only.decision,
        (_, None, _) => entity.votes.to_f64(),
    }
}

/// Returns the threshold of [`score`]; `alarm_at` is the threshold of votes.
pub(crate) fn threshold(entity: &EntityScore, alarm_at: Option<f64>) -> f64 {
    match (entity.verdict, entity.combined, entity.members.as_slice()) {
        (Verdict::NoData, ..) => f64::NAN,
        (_, Some(combined), _) => combined.threshold,
        (_, None, [only]) => only.threshold,
        (_, None, _) => alarm_at.unwrap_or(f64::NAN),
    }
}

/// Makes the rows of stored windows.
pub(crate) fn of_windows(windows: &[WindowScore]) -> Rows {
    let flat = windows.iter().flat_map(|window| window.entities.iter().map(move |it| (window, it)));
    let flat: Vec<(&WindowScore, &EntityScore)> = flat.collect();
    let scored: Vec<(Timestamp, &EntityScore)> =
        flat.iter().map(|(window, entity)| (window.time, *entity)).collect();
    let mut rows = of_scores(&scored, None);
    if scored.iter().any(|(_, entity)| entity.class.is_some()) {
        add_classes(&mut rows, &scored);
    }
    let versions = flat.iter().map(|(window, _)| window.version.clone()).collect();
    rows.push("model", Values::Texts(versions));
    rows
}

/// Makes the rows of scores, in the same order.
pub(crate) fn of_scores(scores: &[(Timestamp, &EntityScore)], alarm_at: Option<f64>) -> Rows {
    let texts = |of: &dyn Fn(&EntityScore) -> String| {
        Values::Texts(scores.iter().map(|(_, entity)| of(entity)).collect())
    };
    let numbers = |of: &dyn Fn(&EntityScore) -> f64| {
        Values::Numbers(scores.iter().map(|(_, entity)| of(entity)).collect())
    };
    let mut rows = Rows::default();
    rows.push("time", Values::Times(scores.iter().map(|(time, _)| *time).collect()));
    rows.push("entity", texts(&|it| it.entity.clone()));
    rows.push("verdict", texts(&|it| word(it.verdict).to_owned()));
    rows.push("score", numbers(&score));
    rows.push("threshold", numbers(&|it| threshold(it, alarm_at)));
    rows.push("completeness", numbers(&|it| it.completeness));
    rows.push("urgent", Values::Flags(scores.iter().map(|(_, it)| it.urgent).collect()));
    for kind in kinds(scores) {
        let of = |entity: &EntityScore| {
            let member = entity.members.iter().find(|member| member.kind == kind);
            member.map_or((f64::NAN, f64::NAN), |member| (member.decision, member.threshold))
        };
        rows.push(format!("score_{kind}"), numbers(&|it| of(it).0));
        rows.push(format!("threshold_{kind}"), numbers(&|it| of(it).1));
    }
    for place in 0..CAUSES {
        let cause = |entity: &EntityScore| entity.causes.get(place).cloned();
        let name = |it: &EntityScore| cause(it).map(|it| it.feature).unwrap_or_default();
        let number =
            |it: &EntityScore, of: fn(&Cause) -> f64| cause(it).map_or(f64::NAN, |it| of(&it));
        let of = place + 1;
        rows.push(format!("cause_{of}"), texts(&name));
        rows.push(format!("cause_{of}_share"), numbers(&|it| number(it, |cause| cause.share)));
        let value = |cause: &Cause| cause.value.unwrap_or(f64::NAN);
        rows.push(format!("cause_{of}_value"), numbers(&|it| number(it, value)));
    }
    rows.push("missing", texts(&|it| it.missing.join(" ")));
    rows.push("reason", texts(&|it| it.reason.clone().unwrap_or_default()));
    rows
}

fn add_classes(rows: &mut Rows, scores: &[(Timestamp, &EntityScore)]) {
    let class = |entity: &EntityScore| entity.class.clone();
    let texts = |of: &dyn Fn(&EntityScore) -> String| {
        Values::Texts(scores.iter().map(|(_, entity)| of(entity)).collect())
    };
    rows.push("class", texts(&|it| class(it).map_or(String::new(), |it| it.name().to_owned())));
    let probability = |entity: &EntityScore| class(entity).map_or(f64::NAN, |it| it.probability);
    let probabilities = scores.iter().map(|(_, entity)| probability(entity)).collect();
    rows.push("probability", Values::Numbers(probabilities));
    let declared = |entity: &EntityScore| class(entity).and_then(|it| it.declared);
    rows.push("declared", texts(&|it| declared(it).unwrap_or_default()));
}

/// Returns the models that have scores, in the order in which they first appear.
fn kinds(scores: &[(Timestamp, &EntityScore)]) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for member in scores.iter().flat_map(|(_, entity)| &entity.members) {
        if !kinds.contains(&member.kind) {
            kinds.push(member.kind.clone());
        }
    }
    kinds
}

/// Returns rows as a text table; columns without values are left out.
pub(crate) fn table_of(rows: &Rows) -> String {
    let cell = |values: &Values, row: usize| match values {
        Values::Times(times) => times.get(row).map(ToString::to_string),
        Values::Texts(texts) => texts.get(row).cloned(),
        Values::Numbers(numbers) => {
            numbers.get(row).filter(|it| !it.is_nan()).map(|it| format!("{it:.DECIMALS$}"))
        }
        Values::Flags(flags) => {
            flags.get(row).map(|flag| if *flag { "yes" } else { "" }.to_owned())
        }
    };
    let columns: Vec<(&str, Vec<String>)> = rows
        .columns()
        .iter()
        .map(|(name, values)| {
            let cells = (0..rows.rows()).map(|row| cell(values, row).unwrap_or_default());
            (name.as_str(), cells.collect::<Vec<String>>())
        })
        .filter(|(_, cells)| cells.iter().any(|cell| !cell.is_empty()))
        .collect();
    let mut lines = vec![columns.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>()];
    let line = |row: usize| {
        columns.iter().filter_map(|(_, cells)| cells.get(row).cloned()).collect::<Vec<_>>()
    };
    lines.extend((0..rows.rows()).map(line));
    table(&lines)
}

/// Returns rows as JSON objects; a number that is missing is null.
pub(crate) fn json_of(rows: &Rows) -> Vec<Map<String, Value>> {
    let value = |values: &Values, row: usize| -> Value {
        match values {
            Values::Times(times) => times.get(row).map(ToString::to_string).into(),
            Values::Texts(texts) => texts.get(row).cloned().into(),
            Values::Numbers(numbers) => numbers.get(row).copied().filter(|it| !it.is_nan()).into(),
            Values::Flags(flags) => flags.get(row).copied().into(),
        }
    };
    let record = |row: usize| {
        rows.columns().iter().map(|(name, values)| (name.clone(), value(values, row))).collect()
    };
    (0..rows.rows()).map(record).collect()
}
