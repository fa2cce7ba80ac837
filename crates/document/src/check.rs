//! Checks that types do not enforce: whether the parts of a document are consistent.

mod alerts;
mod classify;
mod features;
mod vote;

use contract::Span;
use detectors::ranges::OutOfRange;

use crate::classify::Task;
use crate::deserialize::closest;
use crate::document::{Document, Present};
use crate::expectations::Expectation;
use crate::problem::{Problem, Problems, is_name, problem, require};
use crate::{shards, sources};

/// Checks a document as a whole, part by part.
pub(crate) fn check(document: &Document) -> Vec<Problem> {
    let mut problems = Problems::default();
    problems.add(require(document.format == 1, "format", || {
        format!("format {} is unknown: this version reads format 1", document.format)
    }));
    problems.add(require(is_name(&document.name, '-'), "name", || {
        format!(
            "`{}` is not a pipeline name: lower-case letters, digits and `-`, starting with a letter",
            document.name
        )
    }));
    check_spans(document, &mut problems);
    document.check_extensions(&mut problems);
    sources::check(document, &mut problems);
    for name in document.exports.keys() {
        problems.add(require(is_name(name, '-'), &format!("exports.{name}"), || {
            format!("`{name}` is not a valid name: use lower-case letters, digits and `-`")
        }));
    }
    check_features(document, &mut problems);
    for (index, expectation) in document.expectations.iter().enumerate() {
        problems.add(check_expectation(index, expectation));
    }
    match document.task {
        Task::Anomaly => {
            problems.add(classify::check_absent(document));
            problems.add(check_models(document));
            problems.add(check_vote(document));
        }
        Task::Classify => classify::check(document, &mut problems),
    }
    for checked in [
        check_split(document),
        check_present(document),
        check_shares(document),
        alerts::check_stalled(document),
        alerts::check_retrain(document),
        shards::check(document),
    ] {
        problems.add(checked);
    }
    alerts::check(&document.alerts, &mut problems);
    problems.0
}

/// Longest time in a document: ten years.
const LONGEST: Span = Span::from_seconds(10 * 365 * 86_400);
/// Most steps of a range: more than a year of seconds, which would not fit in memory.
const MOST_STEPS: usize = 50_000_000;

fn check_spans(document: &Document, problems: &mut Problems) {
    let is_whole = document.step > Span::ZERO && document.step.ms() % 1000 == 0;
    problems.add(require(is_whole, "step", || {
        format!("`{}` is not a whole number of seconds", document.step)
    }));
    for (path, span) in [
        ("range", document.range),
        ("rate_window", document.rate_window),
        ("split.gap", document.split.gap),
        ("collect.give_up_after", document.collect.give_up_after),
        ("scoring.delay", document.scoring.delay),
        ("scoring.every", document.scoring.every),
        ("scoring.catch_up", document.scoring.catch_up),
        ("labels.guard", document.labels.guard),
    ] {
        let message = || format!("`{span}` is longer than `{LONGEST}`");
        problems.add(require(span <= LONGEST, path, message));
    }
    for (path, span) in
        [("rate_window", document.rate_window), ("scoring.every", document.scoring.every)]
    {
        let message = || "must be greater than 0s".to_owned();
        problems.add(require(span > Span::ZERO, path, message));
    }
    problems.add(require(!document.labels.normal.is_empty(), "labels.normal", || {
        "is empty: without a normal label there are no rows to train on".to_owned()
    }));
    if is_whole {
        problems.add(check_range(document));
        problems.add(require(
            document.scoring.catch_up >= document.step,
            "scoring.catch_up",
            || {
                let (catch_up, step) = (document.scoring.catch_up, document.step);
                format!("`{catch_up}` is shorter than one step of `{step}`")
            },
        ));
    }
    if let Some(sample) = &document.sample {
        problems.add(require(
            sample.score_until > sample.train_until,
            "sample.score_until",
            || format!("`{}` is not after `train_until`", sample.score_until),
        ));
    }
}

fn check_range(document: &Document) -> Result<(), Problem> {
    require(document.range.in_steps(document.step) <= MOST_STEPS, "range", || {
        format!("`{}` has more than {MOST_STEPS} steps of `{}`", document.range, document.step)
    })?;
    require(document.range >= document.step, "range", || {
        format!("`{}` is shorter than one step of `{}`", document.range, document.step)
    })
}

fn check_features(document: &Document, problems: &mut Problems) {
    problems.add(require(!document.features.is_empty(), "features", || {
        "at least one rule is needed, such as `- raw`".to_owned()
    }));
    let columns = document.columns();
    // Only `collect` has the columns that the document does not name.
    let names = features::Known::new(&columns, document.has_other_columns());
    for (index, rule) in document.features.iter().enumerate() {
        problems.add(features::check_feature(document, &names, index, rule));
    }
}

fn share(value: f64, path: &str) -> Result<(), Problem> {
    require((0.0..=1.0).contains(&value), path, || format!("`{value}` is not between 0 and 1"))
}

fn check_expectation(index: usize, expectation: &Expectation) -> Result<(), Problem> {
    match expectation {
        Expectation::RowCount(check) => {
            let path = format!("expectations.{index}.row_count");
            let (min, max) = (check.min, check.max.unwrap_or(u64::MAX));
            require(min <= max, &path, || format!("min `{min}` is above max `{max}`"))
        }
        Expectation::AllowedValues(check) => {
            let path = format!("expectations.{index}.allowed_values.values");
            require(!check.values.is_empty(), &path, || "is empty".to_owned())
        }
        Expectation::NullShare(check) => {
            share(check.max, &format!("expectations.{index}.null_share.max"))
        }
        Expectation::Range(check) => {
            let path = format!("expectations.{index}.range");
            share(check.max_outside_ratio, &format!("{path}.max_outside_ratio"))?;
            let (min, max) = (check.min.unwrap_or(f64::MIN), check.max.unwrap_or(f64::MAX));
            require(min <= max, &path, || format!("min `{min}` is above max `{max}`"))
        }
        Expectation::TimeMonotonic(_)
        | Expectation::TimeUnique(_)
        | Expectation::Constant(_)
        | Expectation::Freshness(_)
        | Expectation::GapLength(_) => Ok(()),
    }
}

fn check_present(document: &Document) -> Result<(), Problem> {
    let has_end = || document.sources.values().any(sources::Source::has_last_row);
    require(document.now == Present::Clock || has_end(), "now", || {
        "`last_row` works only with a source `table`".to_owned()
    })
}

fn check_split(document: &Document) -> Result<(), Problem> {
    let split = &document.split;
    share(split.validation, "split.validation")?;
    share(split.test, "split.test")?;
    require(split.validation > 0.0, "split.validation", || {
        "must be greater than 0: thresholds are calibrated on this part".to_owned()
    })?;
    require(split.validation + split.test < 1.0, "split", || {
        "`validation` and `test` must add up to less than 1: the rest is for training".to_owned()
    })
}

fn check_models(document: &Document) -> Result<(), Problem> {
    let models = &document.models;
    require(!models.kinds().is_empty(), "models", || "at least one model is needed".to_owned())?;
    models.check_ranges().map_err(|(kind, OutOfRange { field, value, expected })| {
        problem(&format!("models.{kind}.{field}"), format!("expected {expected}, found `{value}`"))
    })
}

fn check_vote(document: &Document) -> Result<(), Problem> {
    let (vote, kinds) = (&document.vote, document.models.kinds());
    for member in vote.weights.keys() {
        if !kinds.contains(&member.as_str()) {
            let unknown = problem(
                &format!("vote.weights.{member}"),
                format!("the document trains no model `{member}`"),
            );
            return Err(match closest(member, kinds.iter().copied()) {
                Some(meant) => unknown.hint(format!("did you mean `{meant}`?")),
                None => unknown.hint(format!("models here: {}", kinds.join(", "))),
            });
        }
    }
    let negative = vote.weights.iter().find(|(_, weight)| **weight < contract::Decimal::ZERO);
    if let Some((member, weight)) = negative {
        return Err(problem(&format!("vote.weights.{member}"), format!("`{weight}` is negative")));
    }
    require(!vote.learn_weights || vote.weights.is_empty(), "vote.weights", || {
        "remove the weights, or set `learn_weights: false`".to_owned()
    })?;
    require(
        vote.best_by.is_none() || vote.weights.is_empty() && !vote.learn_weights,
        "vote.best_by",
        || "keeps one model: remove `weights` and `learn_weights`".to_owned(),
    )?;
    let all = match vote.best_by {
        Some(_) => contract::Decimal::ONE,
        None => kinds.iter().map(|kind| vote.weight(kind)).sum(),
    };
    let reachable = vote.combine == contract::rules::Combine::Mean || vote.alarm_at <= all;
    require(reachable, "vote.alarm_at", || {
        format!("`{}` cannot be reached: all weights add up to `{all}`", vote.alarm_at)
    })?;
    if let contract::rules::Threshold::FalseAlarms(threshold) = &vote.threshold {
        let positive = threshold.per_day > 0.0 && threshold.page_per_day > 0.0;
        require(positive, "vote.threshold", || {
            "`per_day` and `page_per_day` must be greater than 0".to_owned()
        })?;
        vote::check_false_alarms(threshold, document.step)?;
    }
    let share = vote.threshold.share();
    require(share > 0.0 && share < 1.0, "vote.threshold", || {
        format!("share `{share}` is not between 0 and 1")
    })
}

fn check_shares(document: &Document) -> Result<(), Problem> {
    share(document.gate.max_false_alarm_ratio, "gate.max_false_alarm_ratio")?;
    share(document.gate.max_regression, "gate.max_regression")?;
    share(document.scoring.min_completeness, "scoring.min_completeness")?;
    share(document.scoring.drift.missing_ratio, "scoring.drift.missing_ratio")?;
    require(
        document.scoring.drift.stability_index >= 0.0,
        "scoring.drift.stability_index",
        || "must be 0 or more".to_owned(),
    )?;
    check_alias(&document.scoring.shadow, "scoring.shadow")?;
    check_alias(&document.deployment.alias, "deployment.alias")
}

fn check_alias(alias: &str, path: &str) -> Result<(), Problem> {
    require(is_name(alias, '-'), path, || {
        format!("`{alias}` is not an alias: lower-case letters, digits and `-`")
    })
}
