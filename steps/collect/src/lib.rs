//! `collect`: fetches raw samples for a time range; never invents one.
//!
//! `range` says which points in time are due. Each source of the document yields its rows in order
//! of time (`source`, and a module for each kind in `sources`); `join` merges the rows of several
//! sources for a window and an entity into one. Rows are written as they come: memory does not grow
//! with the length of the range.

pub mod check;
mod coverage;
pub mod follow;
mod join;
pub mod look;
mod output;
mod range;
pub mod raw;
pub mod recorded;
mod source;
mod sources;
pub mod tables;
mod tally;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use contract::catalog::Pins;
use contract::steps::CollectArgs;
use contract::{Outcome, Span, StepError, read_json, write_json};
use document::sections::Collect as Sections;
use document::sources::{Kind, Source as Settings};
use frames::samples::SampleRows;

use join::{Joined, Seen, Windows};
use output::Output;
use range::Due;
use source::{Opening, Stop};

/// Collects the samples of the document's sources for the range that is due.
///
/// The rows are those of the step grid in `(start, end]`. For a training, end is the last whole
/// step at `--now`, and start is `--start` or the document's `range` before the end. With `--store`
/// the windows since the watermark are due, plus the lookback of their features.
///
/// Errors: usage (2) for a document, a query or an address that cannot work; refused (3) for data
/// that does not fit the document; unavailable (4) if all retries of a source failed.
pub fn run(args: &CollectArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = Sections::read(&args.document)?;
    let due = due(&document, args)?;
    outcome.detail("after", &due.after)?;
    outcome.detail("end", &due.end)?;
    let mut sources = open(&document, args, due)?;
    let result = collect(&document, args, due, &mut sources);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, count) in sources.iter().flat_map(|joined| joined.source.counts()) {
        *counts.entry(name).or_default() += count;
    }
    counts.into_iter().for_each(|(name, count)| outcome.count(name, count));
    let (output, seen) = result?;
    output.report(outcome);
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
    let Some(coverage) = coverage else { return output.settle(&document, (args, due), outcome) };
    if let Some(path) = &args.coverage {
        write_json(path, &coverage)?;
    }
    output.publish(&args.samples)
}

fn due(document: &Sections, args: &CollectArgs) -> Result<Due, StepError> {
    let Some(url) = &args.store else { return Due::for_training(document, args) };
    let store = store::open_shard(url, args.shard)?;
    let scored_to = store::watermark::scored_to(store.as_ref(), &document.name)?;
    Ok(Due::for_scoring(document, args.now, scored_to))
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
    let records = document
        .sources
        .values()
        .any(|source| matches!(source.kind(), Some(Kind::Prometheus(_) | Kind::Recording(_))));
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

/// Returns where the sources that read a file or folder find it: what the flags say, or the
/// document's path, relative to its folder.
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
            // A server reads no file, and needs none.
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

/// Reads the sources into a file that is not visible yet.
fn collect(
    document: &Sections,
    args: &CollectArgs,
    due: Due,
    sources: &mut [Joined<'_>],
) -> Result<(Output, Seen), StepError> {
    let takes_all = args.start.is_none() && args.store.is_none();
    let due = (!takes_all).then_some(due);
    let windows = Windows { step: document.step, due };
    // A hash an entity, not one a row.
    let mut held: HashMap<String, bool> = HashMap::new();
    // Each source that is out of order is so once: read again, its rows come sorted.
    for _ in 0..=sources.len() {
        let mut output = Output::create(&args.samples, sources)?;
        let mut write = |rows: SampleRows| match args.shard {
            Some(shard) => output.write(&rows.of(|entity| match held.get(entity) {
                Some(is_held) => *is_held,
                None => *held.entry(entity.to_owned()).or_insert_with(|| shard.holds(entity)),
            })),
            None => output.write(&rows),
        };
        let read = match sources {
            // Without a join: the rows are written unchanged, also between two windows.
            [alone] if alone.tolerance == Span::ZERO => {
                alone.source.rows(&mut write).map(|()| Seen::default())
            }
            _ => join::join(sources, windows, &mut write),
        };
        match read {
            Ok(seen) => return Ok((output, seen)),
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::OutOfOrder) => {}
        }
    }
    Err(StepError::bug("a sorted source is not in order of time"))
}
