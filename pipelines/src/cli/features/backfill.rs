//! `lynceus features backfill`: computes the days that a group lacks.

use std::collections::BTreeSet;
use std::path::Path;

use contract::catalog::{GroupVersion, Origin, Part};
use contract::{ErrorKind, Span, StepError, TimeRange, Timestamp};
use store::Catalog;

use super::super::context::{Context, DocumentArgs, clock};
use super::super::{Global, past, run, say};
use super::publish::{About, DAY, Day, Published, Publishing, State, no_rows};

/// Flags of `lynceus features backfill`.
#[derive(Debug, clap::Args)]
pub(crate) struct BackfillArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Fill this group
    #[arg(long, value_name = "GROUP")]
    group: String,
    /// Fill this version [default: the latest]
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// First day, as YYYY-MM-DD [default: the first published day]
    #[arg(long, value_name = "DATE", value_parser = date)]
    from: Option<Timestamp>,
    /// Last day, as YYYY-MM-DD [default: the last complete day]
    #[arg(long, value_name = "DATE", value_parser = date)]
    to: Option<Timestamp>,
    /// List the missing days, and compute nothing
    #[arg(long)]
    list: bool,
    /// Also publish days that the sources cover partly; a published day is final
    #[arg(long)]
    partial: bool,
    /// Use this evaluation time instead of the clock
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

fn date(text: &str) -> Result<Timestamp, String> {
    format!("{text}T00:00:00Z")
        .parse()
        .map_err(|_| format!("`{text}` is not a day; write it as 2026-11-21"))
}

pub(super) fn execute(
    global: &Global,
    catalog: Catalog<'_>,
    args: &BackfillArgs,
) -> Result<(), StepError> {
    let context = Context::new(global, &args.document)?;
    let version = match args.version {
        Some(version) => catalog.version(&args.group, version)?,
        None => catalog.latest(&args.group)?,
    };
    let parts = catalog.parts(&version.group, version.version)?;
    let now = args.now.map_or_else(|| Ok(context.last_row()?.unwrap_or_else(clock)), Ok)?;
    let due = missing(&parts, [args.from, args.to], now)?;
    let mut days = Vec::new();
    for day in due {
        if args.list {
            days.push(Day { date: day.date(), state: State::Missing, rows: 0 });
            continue;
        }
        days.push(fill(&context, Target { catalog, version: &version }, day, args.partial)?);
    }
    let (group, version) = (version.group, version.version);
    Published { group, version, begun: None, days }.print(global)
}

/// Returns the missing days of a range, in order.
fn missing(
    parts: &[Part],
    [from, to]: [Option<Timestamp>; 2],
    now: Timestamp,
) -> Result<Vec<Timestamp>, StepError> {
    let from = from.or_else(|| parts.first().map(|part| part.first.floor(DAY)));
    let Some(from) = from else {
        return Err(StepError::usage("the group has no published day yet")
            .hint("set the first day with --from DATE"));
    };
    // A day that has not ended would be published incomplete.
    let last = now.floor(DAY) - DAY;
    let to = to.unwrap_or(last).min(last);
    let there: BTreeSet<&str> = parts.iter().map(|part| part.date.as_str()).collect();
    let mut days = Vec::new();
    let mut day = from;
    while day <= to {
        if !there.contains(day.date().as_str()) {
            days.push(day);
        }
        day = day + DAY;
    }
    Ok(days)
}

/// Returns the missing days between the first and the last part.
pub(super) fn gaps(parts: &[Part]) -> Vec<String> {
    let last = parts.last().map(|part| part.first.floor(DAY) + DAY);
    let days = last.and_then(|last| missing(parts, [None, None], last).ok());
    days.unwrap_or_default().into_iter().map(Timestamp::date).collect()
}

/// Where days are published.
#[derive(Clone, Copy)]
struct Target<'a> {
    catalog: Catalog<'a>,
    version: &'a GroupVersion,
}

/// Computes a day with the document and publishes it. A day that the steps refuse counts as empty.
/// A group with other features is an error for every day.
fn fill(
    context: &Context,
    target: Target<'_>,
    day: Timestamp,
    partial: bool,
) -> Result<Day, StepError> {
    let folder = context.store.root.join(format!(".features-{}", std::process::id()));
    fs_err::create_dir_all(&folder).map_err(|e| StepError::writing(&folder, &e))?;
    let filled = fill_in(context, &folder, target, day, partial);
    // The temporary files are no longer needed.
    drop(fs_err::remove_dir_all(&folder));
    filled
}

fn fill_in(
    context: &Context,
    folder: &Path,
    Target { catalog, version }: Target<'_>,
    day: Timestamp,
    partial: bool,
) -> Result<Day, StepError> {
    let empty = |why: &StepError| {
        say(&format!("{}: {}", day.date(), why.message));
        Ok(Day { date: day.date(), state: State::Empty, rows: 0 })
    };
    let document = &context.document;
    let end = day + DAY - Span::from_ms(1);
    let range = TimeRange { after: day - document.step, until: end };
    let features = match past::make(context, folder, range, true) {
        Ok(made) => made.features,
        Err(error) if error.kind == ErrorKind::Refused => return empty(&error),
        Err(error) => return Err(error),
    };
    let publishing = Publishing {
        catalog,
        group: &version.group,
        origin: Origin {
            pipeline: document.name.clone(),
            run: format!("backfill-{}", day.date()),
            now: end,
            document_sha256: run::document_sha256(document, &context.base)?,
        },
        about: About::default(),
        new_version: None,
        partial,
        only: Some([day.date()].into()),
        version: Some(version),
        work: &folder.join("publish"),
    };
    let published = publishing.publish(&features)?;
    let days = published.map(|published| published.days).unwrap_or_default();
    days.into_iter().next().map_or_else(|| empty(&no_rows(&features)), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(day: &str) -> Part {
        let first = date(day).unwrap();
        Part {
            format: Part::FORMAT,
            date: day.to_owned(),
            sha256: String::new(),
            size_bytes: 0,
            rows: 1,
            entities: 1,
            first,
            last: first,
            is_whole: true,
            origin: None,
        }
    }

    #[test]
    fn missing_days_are_those_of_the_range_that_are_over_and_not_there() {
        let parts = [part("2026-02-27"), part("2026-03-02")];
        let now: Timestamp = "2026-03-04T12:00:00Z".parse().unwrap();
        let days = |range| {
            let days = missing(&parts, range, now).unwrap();
            days.into_iter().map(Timestamp::date).collect::<Vec<_>>()
        };
        assert_eq!(days([None, None]), ["2026-02-28", "2026-03-01", "2026-03-03"]);
        let of = |day| Some(date(day).unwrap());
        assert_eq!(days([of("2026-03-01"), of("2026-03-01")]), ["2026-03-01"]);
        assert_eq!(days([of("2026-03-04"), of("2026-03-09")]), [""; 0], "the 4th is not over");
        assert_eq!(gaps(&parts), ["2026-02-28", "2026-03-01"]);
        assert!(missing(&[], [None, None], now).is_err());
        assert!(date("2026-02-30").is_err());
    }
}
