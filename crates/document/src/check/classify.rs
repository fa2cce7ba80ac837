//! Checks of `task: classify`.

use detectors::ranges::OutOfRange;
use detectors::settings::Models;

use super::{Problem, Problems, problem, require, share};
use crate::Document;
use crate::classify::{Classify, is_identifier};
use crate::document::Split;
use crate::features::FeatureRule;

/// Refuses the section of another task.
pub(super) fn check_absent(document: &Document) -> Result<(), Problem> {
    require(document.classify.is_none(), "classify", || {
        "works only with `task: classify`; this document has `task: anomaly`".to_owned()
    })
    .map_err(|problem| problem.hint("set `task: classify`, or take the section out"))
}

pub(super) fn check(document: &Document, problems: &mut Problems) {
    let others = [
        ("models", document.models == Models::default()),
        ("vote", document.vote == contract::rules::Vote::default()),
        ("split", document.split == Split::default()),
        ("labels.scenarios", document.labels.scenarios.is_none()),
    ];
    for (section, absent) in others {
        let checked =
            require(absent, section, || format!("`{section}` works only with `task: anomaly`"));
        problems.add(
            checked
                .map_err(|problem| problem.hint("settings of `task: classify` are in `classify`")),
        );
    }
    let classify = document.classify.as_ref().ok_or_else(|| {
        problem("task", "`task: classify` needs the section `classify`")
            .hint("add `classify: {models: {random_forest: {}}}`")
    });
    match classify {
        Ok(classify) => {
            problems.add(check_classes(classify));
            problems.add(check_settings(classify));
            problems.add(check_models(classify));
        }
        Err(missing) => problems.add(Err(missing)),
    }
    problems.add(check_columns(document));
}

fn check_classes(classify: &Classify) -> Result<(), Problem> {
    require(classify.classes.len() != 1, "classify.classes", || {
        "has one class; a classifier needs at least two".to_owned()
    })?;
    for (class, patterns) in &classify.classes {
        let path = format!("classify.classes.{class}");
        require(class != contract::classify::UNKNOWN && !class.trim().is_empty(), &path, || {
            "`unknown` is reserved for entities that fit no class: rename this class".to_owned()
        })?;
        require(patterns.iter().all(|pattern| !pattern.trim().is_empty()), &path, || {
            "has an empty pattern".to_owned()
        })?;
    }
    Ok(())
}

fn check_settings(classify: &Classify) -> Result<(), Problem> {
    let Classify { split, evidence, unknown, gate, .. } = classify;
    let within = |holds: bool, path: &str, expected: &str, value: String| {
        require(holds, &format!("classify.{path}"), || {
            format!("expected {expected}, found `{value}`")
        })
    };
    let ratio = split.ratio;
    within((0.1..=0.95).contains(&ratio), "split.ratio", "0.1 to 0.95", ratio.to_string())?;
    let times = split.iterations;
    within((2..=200).contains(&times), "split.iterations", "2 to 200", times.to_string())?;
    let points = split.learning_curve;
    within(points <= 20, "split.learning_curve", "0 to 20", points.to_string())?;
    let rows = split.max_rows_per_entity;
    within(rows >= 1, "split.max_rows_per_entity", "1 or more", rows.to_string())?;
    let least = evidence.min_windows;
    within((1..=1000).contains(&least), "evidence.min_windows", "1 to 1000", least.to_string())?;
    let half_life = evidence.half_life;
    let positive = half_life > contract::Span::ZERO;
    within(positive, "evidence.half_life", "more than 0s", half_life.to_string())?;
    let wrong = unknown.max_wrong_ratio;
    let open = wrong > 0.0 && wrong < 1.0;
    within(open, "unknown.max_wrong_ratio", "above 0 and below 1", wrong.to_string())?;
    let unlike = unknown.unlike_ratio;
    within((0.0..=0.5).contains(&unlike), "unknown.unlike_ratio", "0 to 0.5", unlike.to_string())?;
    share(gate.min_balanced_accuracy, "classify.gate.min_balanced_accuracy")?;
    share(gate.max_regression, "classify.gate.max_regression")
}

fn check_models(classify: &Classify) -> Result<(), Problem> {
    require(!classify.models.kinds().is_empty(), "classify.models", || {
        "at least one model is needed: decision_tree, gradient_boosting or random_forest".to_owned()
    })?;
    classify.models.check_ranges().map_err(|(kind, OutOfRange { field, value, expected })| {
        problem(
            &format!("classify.models.{kind}.{field}"),
            format!("expected {expected}, found `{value}`"),
        )
    })
}

/// Refuses columns that identify an entity: a model that uses them learns names, not behaviour.
fn check_columns(document: &Document) -> Result<(), Problem> {
    let refuse = |path: &str, column: &str| {
        problem(path, format!("`{column}` identifies an entity and must not become a feature"))
            .hint("take it out of the features (`!column`), or rename it if it measures something")
    };
    for (name, source) in &document.sources {
        let mut queries = source.queries.iter().enumerate();
        if let Some((index, query)) = queries.find(|(_, query)| is_identifier(&query.name)) {
            return Err(refuse(&format!("sources.{name}.queries.{index}.name"), &query.name));
        }
    }
    if let Some(column) = document.columns().iter().find(|column| is_identifier(&column.name)) {
        return Err(refuse("sources", &column.name));
    }
    for (index, rule) in document.features.iter().enumerate() {
        let columns = match rule {
            FeatureRule::Raw(rule) | FeatureRule::Rate(rule) => rule.columns.as_slice(),
            FeatureRule::Rolling(rule) => rule.columns.as_slice(),
            FeatureRule::Difference(rule) => rule.columns.as_slice(),
            FeatureRule::Peers(rule) => rule.columns.as_slice(),
            FeatureRule::Ratio(_) | FeatureRule::Calendar(_) => &[],
        };
        if let Some(column) =
            columns.iter().find(|name| !name.starts_with('!') && is_identifier(name))
        {
            return Err(refuse(&format!("features.{index}"), column));
        }
    }
    Ok(())
}
