//! Checks of single feature rules.

use contract::Span;

use crate::deserialize::closest;
use crate::document::Document;
use crate::features::{FeatureRule, Peers, Statistic};

use super::{Problem, is_name, problem, require, share};

/// Checks a rule against the names of the sample columns; without names those are not checked.
pub(super) fn check_feature(
    document: &Document,
    names: &[&str],
    index: usize,
    rule: &FeatureRule,
) -> Result<(), Problem> {
    let path = |field: &str| format!("features.{index}.{field}");
    let steps = |span: Span, field: &str| {
        require(span >= document.step && span.ms() % document.step.ms() == 0, &path(field), || {
            format!("`{span}` is not a whole number of steps of `{}`", document.step)
        })
    };
    match rule {
        FeatureRule::Raw(rule) => known_columns(&rule.columns, names, &path("raw.columns"))?,
        FeatureRule::Rate(rule) => known_columns(&rule.columns, names, &path("rate.columns"))?,
        FeatureRule::Rolling(rule) => {
            known_columns(&rule.columns, names, &path("rolling.columns"))?;
            steps(rule.window, "rolling.window")?;
            share(rule.min_share, &path("rolling.min_share"))?;
            require(!rule.statistics.is_empty(), &path("rolling.statistics"), || {
                "is empty".to_owned()
            })?;
            for statistic in &rule.statistics {
                if let Statistic::Quantile(quantile) = statistic {
                    share(*quantile, &path("rolling.statistics"))?;
                }
            }
        }
        FeatureRule::Difference(rule) => {
            known_columns(&rule.columns, names, &path("difference.columns"))?;
            steps(rule.lag, "difference.lag")?;
        }
        FeatureRule::Peers(rule) => {
            known_columns(&rule.columns, names, &path("peers.columns"))?;
            steps(rule.window, "peers.window")?;
            check_peers(rule, &path("peers"))?;
        }
        FeatureRule::Ratio(rule) => {
            known_columns(std::slice::from_ref(&rule.numerator), names, &path("ratio.numerator"))?;
            known_columns(
                std::slice::from_ref(&rule.denominator),
                names,
                &path("ratio.denominator"),
            )?;
            require(is_name(&rule.name, '_'), &path("ratio.name"), || {
                format!("`{}` is not a column name", rule.name)
            })?;
        }
        FeatureRule::Calendar(rule) => {
            require(rule.hour_of_day || rule.day_of_week, &path("calendar"), || {
                "one of hour_of_day and day_of_week must be true".to_owned()
            })?;
        }
    }
    Ok(())
}

fn check_peers(rule: &Peers, path: &str) -> Result<(), Problem> {
    share(rule.min_spread_ratio, &format!("{path}.min_spread_ratio"))?;
    require(rule.min_entities >= 3, &format!("{path}.min_entities"), || {
        "must be 3 or more: with two entities that differ it is unknown which one is faulty"
            .to_owned()
    })?;
    let is_above = rule.clip.is_finite() && rule.clip > 0.0;
    require(is_above, &format!("{path}.clip"), || "must be above 0".to_owned())
}

/// Checks column patterns against the columns of the sources; without names nothing is checked.
fn known_columns(patterns: &[String], names: &[&str], path: &str) -> Result<(), Problem> {
    for pattern in patterns {
        let name = pattern.strip_prefix('!').unwrap_or(pattern);
        let begins =
            name.strip_suffix('*').map(|beginning| names.iter().any(|n| n.starts_with(beginning)));
        if names.is_empty() || begins.unwrap_or_else(|| names.contains(&name)) {
            continue;
        }
        let unknown = problem(path, format!("no sample column is named `{name}`"));
        return Err(match closest(name, names.iter().copied()) {
            Some(meant) => unknown.hint(format!("did you mean `{meant}`?")),
            None => unknown,
        });
    }
    Ok(())
}
