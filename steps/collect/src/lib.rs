//! `collect`: fetches raw samples for a time range; it never makes up samples.
//!
//! `range` determines the due points in time. Each source of the document yields its rows in order
//! of time (`source`, and a module for each kind in `sources`); `join` merges the rows of several
//! sources for a window and an entity into one. Rows are written as they are read, so memory does
//! not grow with the length of the range.

pub mod check;
mod coverage;
pub mod follow;
mod join;
pub mod look;
mod output;
mod range;
pub mod raw;
pub mod recorded;
pub mod shards;
mod source;
mod sources;
pub mod tables;
mod tally;
mod targets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::catalog::Pins;
use contract::steps::CollectArgs;
use contract::{
    Division, Outcome, Shard, ShardCount, Span, StepError, artifact, read_json, write_json,
};
use document::sections::Collect as Sections;
use document::sources::Source as Settings;
use frames::samples::SampleRows;

use join::{Joined, Seen, Windows};
use output::Output;
use range::Due;
use source::{Opening, Stop, opener};
use targets::{Divider, Target};

/// Collects the samples of the document's sources for the due range.
///
/// The rows are those of the step grid in `(start, end]`. For a training, end is the last whole
/// step at `--now`, and start is `--start` or the document's `range` before the end. With `--store`
/// the windows since the watermark are due, plus the lookback of their features.
///
/// Errors: usage (2) for a document, a query or an address that cannot work; refused (3) for data
/// that does not fit the document; unavailable (4) if all retries of a source failed.
pub fn run(args: &CollectArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let mut document = Sections::read(&args.document)?;
    let count = shards::settle(&document, args, outcome)?;
    let args = &CollectArgs {
        shard: args.shard.and_then(Shard::of_several),
        shards: count.map(ShardCount::Number),
        ..args.clone()
    };
    let has_shards = args.shard.is_some() || count.is_some_and(|count| count > 1);
    let division = document.shards.division().filter(|_| has_shards);
    if let Some(division) = &division {
        document::shards::label_rows(&mut document.sources, &division.label);
    }
    let folders = [Some(&args.samples), args.coverage.as_ref()];
    match folders.map(|folder| folder.filter(|_| count.is_some())) {
        [None, _] => write(&document, args, division.as_ref(), outcome),
        [Some(samples), None] => artifact::write_folder(samples, |samples| {
            let args = CollectArgs { samples: samples.to_owned(), ..args.clone() };
            write(&document, &args, division.as_ref(), outcome)
        }),
        [Some(samples), Some(coverage)] => artifact::write_folder(samples, |samples| {
            artifact::write_folder(coverage, |coverage| {
                let (samples, coverage) = (samples.to_owned(), Some(coverage.to_owned()));
                let args = CollectArgs { samples, coverage, ..args.clone() };
                write(&document, &args, division.as_ref(), outcome)
            })
        }),
    }
}

/// Writes the files of the flags; files with the same range share one reading of the sources.
fn write(
    document: &Sections,
    args: &CollectArgs,
    division: Option<&Division>,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let targets = targets::of(document, args, outcome)?;
    let (afters, ends) =
        (targets.iter().map(|it| it.due.after), targets.iter().map(|it| it.due.end));
    outcome.detail("after", &afters.min())?;
    outcome.detail("end", &ends.max())?;
    for group in targets::by_range(targets) {
        read(document, args, division, &group, outcome)?;
    }
    Ok(())
}

/// Writes files for which the same windows are due.
fn read(
    document: &Sections,
    args: &CollectArgs,
    division: Option<&Division>,
    targets: &[Target],
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let Some(due) = targets.first().map(|target| target.due) else { return Ok(()) };
    let mut sources = open(document, args, due)?;
    let result = collect(document, division, args, targets, &mut sources);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, count) in sources.iter().flat_map(|joined| joined.source.counts()) {
        *counts.entry(name).or_default() += count;
    }
    counts.into_iter().for_each(|(name, count)| tally::add(outcome, name, count));
    let Collected { outputs, seen, divider } = result?;
    outputs.iter().for_each(|output| output.report(outcome));
    divider.finish(args.store.is_some(), outcome)?;
    for joined in &mut sources {
        joined.source.finish(outcome)?;
    }
    let coverage = match args.store {
        Some(_) => Some(coverage::of(&mut sources, due, outcome)?),
        None => None,
    };
    for (Joined { name, tolerance, .. }, rows) in sources.iter().zip(seen.between_windows) {
        if rows > 0 {
            outcome.warn(format!(
                "{rows} rows of the source `{name}` end between two windows and are older than {tolerance} at the next one's end; `sources.{name}.tolerance` joins older rows"
            ));
        }
    }
    let mut absent: Vec<String> = Vec::new();
    for (output, target) in outputs.into_iter().zip(targets) {
        let Some(coverage) = &coverage else {
            for name in output.settle(document, target, targets.len() - 1, outcome)? {
                if !absent.contains(&name) {
                    absent.push(name);
                }
            }
            continue;
        };
        if let Some(path) = &target.coverage {
            write_json(path, coverage)?;
        }
        output.publish(&target.samples)?;
    }
    if coverage.is_none() {
        outcome.detail("absent", &absent)?;
    }
    Ok(())
}

/// Opens all sources of the document, in order of their names.
fn open<'a>(
    document: &'a Sections,
    args: &'a CollectArgs,
    due: Due,
) -> Result<Vec<Joined<'a>>, StepError> {
    let folder = args.document.parent().unwrap_or(Path::new(""));
    let data = data(document, args, folder)?;
    let pins: Option<Pins> = args.pins.as_deref().map(read_json).transpose()?;
    let mut kinds = document.sources.values().filter_map(Settings::kind);
    let records = kinds.any(|kind| opener(kind).has_replies());
    if args.record.is_some() && !records {
        return Err(StepError::usage("`--record` keeps replies, but a table has none")
            .hint("remove it and copy the table instead"));
    }
    let is_alone = document.sources.len() == 1;
    let mut sources = Vec::new();
    for (name, settings) in &document.sources {
        let record = args.record.as_ref();
        let opening = Opening {
            document,
            name,
            settings,
            folder,
            data: data.get(name).cloned(),
            due: Due { after: due.after - settings.max_age(), ..due },
            give_up_until: args
                .store
                .as_ref()
                .map(|_| args.now - document.scoring.delay - document.collect.give_up_after),
            takes_all: args.start.is_none() && args.store.is_none(),
            is_scoring: args.store.is_some(),
            shard: args.shard,
            recorded: args.recorded.as_deref().or(args.store.as_deref()),
            pins: pins.clone(),
            work: args.samples.parent().unwrap_or(Path::new("")),
            record: record.map(|dir| if is_alone { dir.clone() } else { dir.join(name) }),
        };
        let source = opening.open()?;
        let describes = source.describes() && !is_alone;
        sources.push(Joined {
            source,
            name: name.clone(),
            // Rows that describe an entity apply as long as the entity exists.
            tolerance: if describes {
                due.end - due.after + document.step
            } else {
                settings.max_age()
            },
            is_broadcast: settings.broadcast,
            describes,
        });
    }
    Ok(sources)
}

/// Returns the paths for sources that read a file or folder: from the flags, or the document's
/// path, relative to its folder.
fn data(
    document: &Sections,
    args: &CollectArgs,
    folder: &Path,
) -> Result<BTreeMap<String, PathBuf>, StepError> {
    let reading = |(name, source): (&String, &Settings)| {
        source.data().map(|path| (name.clone(), folder.join(path)))
    };
    let mut data: BTreeMap<String, PathBuf> = document.sources.iter().filter_map(reading).collect();
    for given in &args.source {
        let names: Vec<&String> = data.keys().collect();
        let name = match (&given.name, names.as_slice()) {
            (Some(name), _) if data.contains_key(name) => name.clone(),
            (None, [only]) => (*only).clone(),
            // A source that asks a server needs no file.
            (None, []) => continue,
            (named, _) => {
                let shown = named.as_deref().unwrap_or_default();
                let known = data.keys().cloned().collect::<Vec<_>>().join(", ");
                return Err(StepError::usage(format!(
                    "`--source {given}`: the document has no source `{shown}` that reads a file"
                ))
                .hint(format!("write it as NAME=PATH; sources that read a file: {known}")));
            }
        };
        data.insert(name, given.path.clone());
    }
    Ok(data)
}

/// Data that was read from the sources.
struct Collected<'a> {
    /// The rows of each target, in files that are not visible yet.
    outputs: Vec<Output>,
    seen: Seen,
    divider: Divider<'a>,
}

/// Reads the sources into files that are not visible yet.
fn collect<'a>(
    document: &Sections,
    division: Option<&'a Division>,
    args: &CollectArgs,
    targets: &'a [Target],
    sources: &mut [Joined<'_>],
) -> Result<Collected<'a>, StepError> {
    let takes_all = args.start.is_none() && args.store.is_none();
    let due = targets.first().map(|target| target.due).filter(|_| !takes_all);
    let windows = Windows { step: document.step, due };
    let has_labels = division.is_none();
    // Each source can be out of order only once: when it is read again, its rows are sorted.
    for _ in 0..=sources.len() {
        let outputs = targets.iter().map(|it| Output::create(&it.samples, sources, has_labels));
        let mut outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let mut divider = Divider::new(division, targets);
        let mut write = |rows: SampleRows| {
            let parts = divider.divide(rows);
            outputs.iter_mut().zip(&parts).try_for_each(|(output, part)| output.write(part))
        };
        let read = match sources {
            // Without a join: the rows are written unchanged, also between two windows.
            [alone] if alone.tolerance == Span::ZERO => {
                alone.source.rows(&mut write).map(|()| Seen::default())
            }
            _ => join::join(sources, windows, &mut write),
        };
        match read {
            Ok(seen) => return Ok(Collected { outputs, seen, divider }),
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::OutOfOrder) => {}
        }
    }
    Err(StepError::bug("a sorted source is not in order of time"))
}
