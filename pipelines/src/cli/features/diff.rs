//! `lynceus features diff`: compares two versions of a group.

use contract::catalog::{ColumnStatistics, GroupVersion};
use contract::{FeatureColumn, StepError};
use serde::Serialize;
use store::Catalog;

use super::super::{Global, OutputFormat, print, print_json};
use super::stats::{merged, number, quantile, read};
use crate::run::table;

/// Flags of `lynceus features diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// Name of the group
    group: String,
    /// The earlier version [default: the one before the later]
    first: Option<u32>,
    /// The later version [default: the latest]
    second: Option<u32>,
}

/// A feature in two versions.
#[derive(Debug, Serialize)]
struct Difference {
    feature: String,
    /// `added`, `removed`, `changed` or `same`.
    change: &'static str,
    /// Description of the change.
    what: String,
    /// Median in the earlier version and in the later.
    medians: [Option<f64>; 2],
}

#[derive(Debug, Serialize)]
struct Shown {
    group: String,
    versions: [u32; 2],
    /// Why the later version was started.
    why: String,
    /// Differences that do not belong to a single feature.
    of_all: Vec<String>,
    features: Vec<Difference>,
}

pub(super) fn execute(
    global: &Global,
    catalog: Catalog<'_>,
    args: &DiffArgs,
) -> Result<(), StepError> {
    let second = match args.second {
        Some(version) => catalog.version(&args.group, version)?,
        None => catalog.latest(&args.group)?,
    };
    let before = || second.version.checked_sub(1).filter(|version| *version > 0);
    let first = args.first.or_else(before).ok_or_else(|| {
        StepError::usage(format!("feature group `{}` has only one version", args.group))
            .hint("`lynceus features show` shows its content")
    })?;
    let first = catalog.version(&args.group, first)?;
    let shown = difference(catalog, &first, &second)?;
    if global.output() == OutputFormat::Json {
        return print_json(&shown);
    }
    let mut rows =
        vec![["feature", "change", "median before", "median", "what"].map(str::to_owned).to_vec()];
    rows.extend(shown.features.iter().map(|it| {
        let [before, after] = it.medians.map(number);
        vec![it.feature.clone(), it.change.to_owned(), before, after, it.what.clone()]
    }));
    let of_all = shown.of_all.join("\n");
    let Shown { group, versions: [a, b], why, .. } = &shown;
    print(&format!("{group} version {a} -> {b}: {why}\n{of_all}\n\n{}", table(&rows)))
}

fn difference(
    catalog: Catalog<'_>,
    first: &GroupVersion,
    second: &GroupVersion,
) -> Result<Shown, StepError> {
    let statistics = |version| Ok::<_, StepError>(merged(&read(catalog, version, [None; 2])?.1));
    let [before, after] = [statistics(first)?, statistics(second)?];
    let (old, new) = (&first.contract, &second.contract);
    let mut of_all = Vec::new();
    let mut note = |name: &str, a: String, b: String| {
        if a != b {
            of_all.push(format!("{name} `{a}` became `{b}`"));
        }
    };
    note("step", old.step.to_string(), new.step.to_string());
    note("lookback", old.lookback.to_string(), new.lookback.to_string());
    note("fill", old.fill.clone(), new.fill.clone());
    note("labelled", first.labelled.to_string(), second.labelled.to_string());
    let added = new.columns.iter().filter(|it| !old.names().contains(&it.name.as_str()));
    let columns = old.columns.iter().chain(added);
    let features = columns.map(|column| {
        let named =
            |columns: &[FeatureColumn]| columns.iter().find(|it| it.name == column.name).cloned();
        let (change, what) = change(named(&old.columns), named(&new.columns));
        let median = |columns: &[ColumnStatistics]| {
            columns.iter().find(|it| it.name == column.name).and_then(|it| quantile(it, 0.5))
        };
        let medians = [median(&before), median(&after)];
        Difference { feature: column.name.clone(), change, what, medians }
    });
    Ok(Shown {
        group: first.group.clone(),
        versions: [first.version, second.version],
        why: second.why.clone(),
        features: features.collect(),
        of_all,
    })
}

fn change(old: Option<FeatureColumn>, new: Option<FeatureColumn>) -> (&'static str, String) {
    match (old, new) {
        (Some(old), Some(new)) => {
            let pairs = [("unit", &old.unit, &new.unit), ("formula", &old.formula, &new.formula)];
            let differing = pairs.into_iter().filter(|(_, a, b)| a != b);
            let words: Vec<String> =
                differing.map(|(name, a, b)| format!("{name} `{a}` became `{b}`")).collect();
            (if words.is_empty() { "same" } else { "changed" }, words.join(", "))
        }
        (Some(_), None) => ("removed", String::new()),
        (None, Some(new)) => ("added", new.formula),
        (None, None) => ("same", String::new()),
    }
}
