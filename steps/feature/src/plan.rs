//! The document's rules as columns: the features, their names, and their computation.

use std::collections::BTreeMap;

use contract::{FeatureColumn, FeatureContract, StepError};
use document::features::{Calendar, FeatureRule, Peers, Ratio, Rolling, Statistic};
use document::sections::Feature as Sections;
use document::sources::SampleColumn;
use frames::FeatureTable;
use frames::columns::resolve;

use crate::fill;
use crate::pointwise::Cycle;
use crate::rolling::Window;

/// How the columns of one task are computed; a task creates one column or several from one pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Task {
    /// The sample column itself.
    Raw(String),
    /// Statistics over a window of a sample column, one feature per statistic.
    Rolling { column: String, window: Window, statistics: Vec<Statistic> },
    /// A sample column minus its value `lag` rows earlier.
    Difference { column: String, lag: usize },
    /// Increase of a sample column per second.
    Rate(String),
    /// One sample column divided by another.
    Ratio { numerator: String, denominator: String },
    /// Deviation of a sample column from that of the entity's peers.
    Peers { column: String, rule: Peers, rows: usize },
    /// Sine and cosine of a cycle.
    Calendar(Cycle),
}

/// All tasks, and the contract of their columns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) contract: FeatureContract,
    /// In the order of the contract's columns.
    pub(crate) tasks: Vec<Task>,
    /// Sample columns the tasks read, in the samples' order.
    pub(crate) sample_columns: Vec<String>,
    /// Those of them that hold texts.
    pub(crate) texts: Vec<String>,
}

/// Plans the document's rules over the available sample columns.
///
/// A rule that names another column, two features of one name and a reserved name are usage errors.
pub(crate) fn plan(document: &Sections, available: &[&str]) -> Result<Plan, StepError> {
    let (known, tasks, columns) = (&document.columns, Vec::new(), Vec::new());
    let is_text = |name: &&str| known.iter().any(|column| column.is_text() && column.name == *name);
    let numbers = available.iter().copied().filter(|name| !is_text(name)).collect();
    let mut builder = Builder { document, available, numbers, known, tasks, columns };
    for (index, rule) in document.features.iter().enumerate() {
        builder.rule(index + 1, rule)?;
    }
    builder.finish()
}

/// A planned column with the number of its rule (counted from 1).
struct Planned {
    rule: usize,
    feature: FeatureColumn,
    /// The sample columns it reads.
    reads: Vec<String>,
    raw: bool,
}

struct Builder<'a> {
    document: &'a Sections,
    available: &'a [&'a str],
    /// Columns that rules may refer to: all except those of texts.
    numbers: Vec<&'a str>,
    /// The sample columns that the document names.
    known: &'a [SampleColumn],
    tasks: Vec<Task>,
    columns: Vec<Planned>,
}

impl<'a> Builder<'a> {
    fn rule(&mut self, number: usize, rule: &FeatureRule) -> Result<(), StepError> {
        match rule {
            FeatureRule::Raw(rule) => {
                for column in self.resolve(number, &rule.columns)? {
                    let name = column.to_owned();
                    let (unit, formula) = (self.unit(column), self.query(column));
                    self.add(number, FeatureColumn { name, unit, formula }, &[column]);
                    self.tasks.push(Task::Raw(column.to_owned()));
                }
            }
            FeatureRule::Rolling(rule) => self.rolling(number, rule)?,
            FeatureRule::Difference(rule) => {
                let (lag, step) = (rule.lag, self.document.step);
                for column in self.resolve(number, &rule.columns)? {
                    let name = format!("{column}_difference_{lag}");
                    let formula = format!("difference({column}, {lag})");
                    let unit = self.unit(column);
                    self.add(number, FeatureColumn { name, unit, formula }, &[column]);
                    let lag = lag.in_steps(step);
                    self.tasks.push(Task::Difference { column: column.to_owned(), lag });
                }
            }
            FeatureRule::Rate(rule) => {
                for column in self.resolve(number, &rule.columns)? {
                    let unit = match self.unit(column).as_str() {
                        "" => "per_second".to_owned(),
                        unit => format!("{unit}_per_second"),
                    };
                    let name = format!("{column}_per_second");
                    let formula = format!("rate({column})");
                    self.add(number, FeatureColumn { name, unit, formula }, &[column]);
                    self.tasks.push(Task::Rate(column.to_owned()));
                }
            }
            FeatureRule::Ratio(rule) => self.ratio(number, rule)?,
            FeatureRule::Peers(rule) => self.peers(number, rule)?,
            FeatureRule::Calendar(rule) => self.calendar(number, rule),
        }
        Ok(())
    }

    fn ratio(&mut self, number: usize, rule: &Ratio) -> Result<(), StepError> {
        let one = |name: &String| self.resolve(number, std::slice::from_ref(name));
        let (above, below) = (one(&rule.numerator)?, one(&rule.denominator)?);
        if above.is_empty() || below.is_empty() {
            return Ok(());
        }
        let ([numerator], [denominator]) = (above.as_slice(), below.as_slice()) else {
            return Err(StepError::usage(format!(
                "feature rule {number}: ratio `{}` needs one numerator and one denominator column",
                rule.name
            ))
            .hint("set one sample column for `numerator` and one for `denominator`"));
        };
        let formula = format!("{numerator} / {denominator}");
        let reads = [*numerator, *denominator];
        let (name, unit) = (rule.name.clone(), rule.unit.clone());
        self.add(number, FeatureColumn { name, unit, formula }, &reads);
        let [numerator, denominator] = reads.map(str::to_owned);
        self.tasks.push(Task::Ratio { numerator, denominator });
        Ok(())
    }

    fn peers(&mut self, number: usize, rule: &Peers) -> Result<(), StepError> {
        let rows = rule.window.in_steps(self.document.step);
        let by = rule.group_by.as_deref();
        if let Some(by) = by.filter(|by| !self.available.contains(by)) {
            return Err(StepError::usage(format!(
                "feature rule {number}: no sample column is named `{by}`"
            ))
            .hint(format!("sample columns: {}", self.available.join(", "))));
        }
        let columns = self.resolve(number, &rule.columns)?;
        for column in columns.into_iter().filter(|column| Some(*column) != by) {
            let groups: Vec<String> = rule.groups.iter().map(|group| group.join("|")).collect();
            let formula = format!(
                "peer_deviation({column}, {}{}) of at least {} entities, spread at least {} of the median, at most {}{}{}{}",
                rule.window,
                if rule.own { ", own" } else { "" },
                rule.min_entities,
                rule.min_spread_ratio,
                rule.clip,
                if groups.is_empty() { "" } else { ", groups " },
                groups.join("; "),
                by.map(|by| format!(", grouped by {by}")).unwrap_or_default(),
            );
            let name = format!("{column}{}", Peers::SUFFIX);
            let unit = "spreads".to_owned();
            let reads: Vec<&str> = std::iter::once(column).chain(by).collect();
            self.add(number, FeatureColumn { name, unit, formula }, &reads);
            let (column, rule) = (column.to_owned(), rule.clone());
            self.tasks.push(Task::Peers { column, rule, rows });
        }
        Ok(())
    }

    fn calendar(&mut self, number: usize, rule: &Calendar) {
        let cycles = [
            (rule.hour_of_day, Cycle::Day, "hour_of_day"),
            (rule.day_of_week, Cycle::Week, "day_of_week"),
        ];
        for (_, cycle, name) in cycles.into_iter().filter(|(wanted, ..)| *wanted) {
            for function in ["sine", "cosine"] {
                let formula = format!("{function}({name})");
                let (name, unit) = (format!("{name}_{function}"), String::new());
                self.add(number, FeatureColumn { name, unit, formula }, &[]);
            }
            self.tasks.push(Task::Calendar(cycle));
        }
    }

    fn rolling(&mut self, number: usize, rule: &Rolling) -> Result<(), StepError> {
        let (span, step) = (rule.window, self.document.step);
        let window = Window::new(span.in_steps(step), rule.min_share);
        for column in self.resolve(number, &rule.columns)? {
            for statistic in &rule.statistics {
                let (suffix, call) = match statistic {
                    Statistic::Mean => ("mean".to_owned(), format!("mean({column}, {span})")),
                    Statistic::Std => ("std".to_owned(), format!("std({column}, {span})")),
                    Statistic::Min => ("min".to_owned(), format!("min({column}, {span})")),
                    Statistic::Max => ("max".to_owned(), format!("max({column}, {span})")),
                    Statistic::Quantile(quantile) => (
                        format!("q{}", percent(*quantile)),
                        format!("quantile({quantile}, {column}, {span})"),
                    ),
                };
                // The default share is not written in the formula; another share gives different
                // features.
                let formula = match rule.min_share {
                    0.5 => call,
                    share => format!("{call} of at least {share}"),
                };
                let name = format!("{column}_{suffix}_{span}");
                let unit = self.unit(column);
                self.add(number, FeatureColumn { name, unit, formula }, &[column]);
            }
            self.tasks.push(Task::Rolling {
                column: column.to_owned(),
                window,
                statistics: rule.statistics.clone(),
            });
        }
        Ok(())
    }

    /// Returns the sample columns that a rule names; those of queries that the source does not have
    /// are left out.
    fn resolve(&self, number: usize, patterns: &[String]) -> Result<Vec<&'a str>, StepError> {
        let there = self.document.patterns_of_present(patterns, &self.numbers);
        resolve(&there, &self.numbers).map_err(|unknown| {
            let error = StepError::usage(format!(
                "feature rule {number}: no sample column is named `{}`",
                unknown.name
            ));
            match document::closest(&unknown.name, self.numbers.iter().copied()) {
                Some(meant) => error.hint(format!("did you mean `{meant}`?")),
                None => error.hint(format!("sample columns: {}", self.numbers.join(", "))),
            }
        })
    }

    /// Returns the unit of a sample column; a table's columns have none.
    fn unit(&self, column: &str) -> String {
        self.column(column).map(|column| column.unit.clone()).unwrap_or_default()
    }

    /// Returns the query behind a sample column, `sample` where it comes from a table.
    fn query(&self, column: &str) -> String {
        self.column(column).map_or("sample".to_owned(), |column| column.formula.clone())
    }

    fn column(&self, name: &str) -> Option<&SampleColumn> {
        self.known.iter().find(|column| column.name == name)
    }

    fn add(&mut self, rule: usize, feature: FeatureColumn, reads: &[&str]) {
        let raw = matches!(reads, [column] if *column == feature.name);
        let reads = reads.iter().map(|name| (*name).to_owned()).collect();
        self.columns.push(Planned { rule, feature, reads, raw });
    }

    fn finish(mut self) -> Result<Plan, StepError> {
        self.check_names()?;
        self.name_hidden_queries();
        let Self { document, available, numbers, tasks, columns, .. } = self;
        let read = |name: &str| columns.iter().any(|column| column.reads.iter().any(|r| r == name));
        let sample_columns: Vec<String> =
            available.iter().filter(|name| read(name)).map(|name| (*name).to_owned()).collect();
        let texts = sample_columns.iter().filter(|name| !numbers.contains(&name.as_str()));
        let texts = texts.cloned().collect();
        let contract = FeatureContract {
            format: FeatureContract::FORMAT,
            step: document.step,
            lookback: document::features::lookback(
                document.step,
                &document.features,
                &document.fill,
            ),
            fill: fill::name(&document.fill),
            columns: columns.into_iter().map(|column| column.feature).collect(),
        };
        if contract.columns.is_empty() {
            let columns = &document.columns;
            let missing: Vec<&str> = columns
                .iter()
                .map(|column| column.name.as_str())
                .filter(|name| !available.contains(name))
                .collect();
            let missing = match missing.as_slice() {
                [] => String::new(),
                missing => format!("; not in the samples: {}", missing.join(", ")),
            };
            return Err(StepError::usage("the document's feature rules give no feature")
                .hint(format!("sample columns: {}{missing}", available.join(", "))));
        }
        Ok(Plan { contract, tasks, sample_columns, texts })
    }

    fn check_names(&self) -> Result<(), StepError> {
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        for Planned { rule, feature, .. } in &self.columns {
            let name = feature.name.as_str();
            if FeatureTable::RESERVED.contains(&name) {
                return Err(StepError::usage(format!(
                    "feature rule {rule}: `{name}` is a reserved column of feature tables"
                ))
                .hint(format!("rename the sample column, or leave it out with `!{name}`")));
            }
            if let Some(earlier) = first.insert(name, *rule) {
                return Err(StepError::usage(format!(
                    "feature rule {rule}: feature `{name}` is computed twice, first by rule \
                     {earlier}"
                ))
                .hint("remove one of the rules, or give its feature another name"));
            }
        }
        Ok(())
    }

    /// Adds the query to the formula of each feature whose sample column is not a feature itself:
    /// otherwise the contract would not change with the query.
    fn name_hidden_queries(&mut self) {
        let raw: Vec<String> = self
            .columns
            .iter()
            .filter(|column| column.raw)
            .map(|column| column.feature.name.clone())
            .collect();
        let of_queries = |name: &&String| self.query(name) != "sample";
        let hidden: Vec<Vec<String>> = self
            .columns
            .iter()
            .map(|column| {
                let hidden = column.reads.iter().filter(|name| !raw.contains(name));
                hidden.filter(of_queries).map(|n| format!("{n} = {}", self.query(n))).collect()
            })
            .collect();
        for (column, hidden) in self.columns.iter_mut().zip(hidden) {
            if !hidden.is_empty() {
                let formula = &mut column.feature.formula;
                *formula = format!("{formula} where {}", hidden.join(", "));
            }
        }
    }
}

/// Writes a quantile as a percentage for a name: 0.9 as `90`, 0.999 as `99_9`.
fn percent(quantile: f64) -> String {
    let text = quantile.to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let (percent, rest) = decimals.split_at_checked(2).unwrap_or((decimals, ""));
    let percent = format!("{whole}{percent:0<2}");
    let percent = percent.trim_start_matches('0');
    let percent = if percent.is_empty() { "0" } else { percent };
    if rest.is_empty() { percent.to_owned() } else { format!("{percent}_{rest}") }
}

#[cfg(test)]
mod tests;
