//! Checks of single feature rules.

use contract::Span;

use crate::deserialize::closest;
use crate::document::Document;
use crate::features::{FeatureRule, Peers, Statistic};
use crate::sources::SampleColumn;

use super::{Problem, is_name, problem, require, share};

/// The sample columns that a document names.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    /// Whether samples may have other columns.
    has_others: bool,
    numbers: Vec<&'a str>,
    texts: Vec<&'a str>,
}

impl<'a> Known<'a> {
    pub(super) fn new(columns: &'a [SampleColumn], has_others: bool) -> Self {
        let mut known = Self { has_others, ..Self::default() };
        for column in columns {
            let names = if column.is_text() { &mut known.texts } else { &mut known.numbers };
            names.push(column.name.as_str());
        }
        known
    }
}

/// Checks a rule against the sample columns.
pub(super) fn check_feature(
    document: &Document,
    names: &Known<'_>,
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
            check_peers(rule, names, &path("peers"))?;
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

fn check_peers(rule: &Peers, names: &Known<'_>, path: &str) -> Result<(), Problem> {
    share(rule.min_spread_ratio, &format!("{path}.min_spread_ratio"))?;
    require(rule.min_entities >= 3, &format!("{path}.min_entities"), || {
        "must be 3 or more: if two entities differ, it is unknown which one is faulty".to_owned()
    })?;
    let is_above = rule.clip.is_finite() && rule.clip > 0.0;
    require(is_above, &format!("{path}.clip"), || "must be above 0".to_owned())?;
    let Some(column) = &rule.group_by else { return Ok(()) };
    let path = format!("{path}.group_by");
    require(rule.groups.is_empty(), &path, || "cannot be set together with `groups`".to_owned())?;
    let is_known = names.texts.iter().chain(&names.numbers).any(|name| *name == column.as_str());
    if is_known || names.has_others || names.numbers.is_empty() {
        return Ok(());
    }
    Err(problem(&path, format!("no sample column is named `{column}`")).hint(
        "`entity.texts` of a source makes a column of a label, as in texts: {role: node_role}",
    ))
}

/// Checks column patterns against the columns of the sources.
fn known_columns(patterns: &[String], names: &Known<'_>, path: &str) -> Result<(), Problem> {
    for pattern in patterns {
        let name = pattern.strip_prefix('!').unwrap_or(pattern);
        if names.texts.contains(&name) {
            return Err(problem(path, format!("`{name}` is a column of texts"))
                .hint("`group_by` of `peers` takes it; other rules take numbers"));
        }
        let numbers = &names.numbers;
        let begins = name
            .strip_suffix('*')
            .map(|beginning| numbers.iter().any(|n| n.starts_with(beginning)));
        let is_known = begins.unwrap_or_else(|| numbers.contains(&name));
        if names.has_others || numbers.is_empty() || is_known {
            continue;
        }
        let unknown = problem(path, format!("no sample column is named `{name}`"));
        return Err(match closest(name, numbers.iter().copied()) {
            Some(meant) => unknown.hint(format!("did you mean `{meant}`?")),
            None => unknown,
        });
    }
    Ok(())
}
