//! The report of `task: classify`: the metrics of the model on left-out entities, the current class
//! of each entity, and the changes in a time range.

use std::collections::BTreeMap;

use contract::classify::EntityClass;
use contract::steps::ReportArgs;
use contract::{Outcome, Span, StepError, Timestamp, artifact};
use document::sections::Report as Sections;
use models::classify::ClassBundle;
use store::{Registry, scores};

use crate::contents::{self, check_range};
use crate::page::classes;
use crate::record;
use crate::runs::Run;
use crate::tables;
use crate::zone::Zone;

/// Length of the range of changes on a page without `--from`.
const DEFAULT_RANGE: Span = Span::from_seconds(86_400);

/// Inputs of a page of classes.
#[derive(Debug)]
pub struct ClassContents {
    /// The document.
    pub document: Sections,
    /// The current time, as far as the page knows.
    pub now: Timestamp,
    /// The zone whose clocks the page shows.
    pub zone: Zone,
    /// The last training run, or the last run if none trained.
    pub run: Option<Run>,
    /// Its bundle, or the live one of the store.
    pub bundle: Option<ClassBundle>,
    /// Verdicts of the range, if a store was given.
    pub history: Option<ClassHistory>,
    /// Sentences about contents that could not be shown.
    pub notes: Vec<String>,
}

/// Verdicts of the windows of a range.
#[derive(Debug, Default)]
pub struct ClassHistory {
    /// Windows in the range.
    pub windows: u64,
    /// End of the first and the last of them.
    pub range: Option<(Timestamp, Timestamp)>,
    /// Number of entities of each class in the last of them, including `unknown`.
    pub classes: BTreeMap<String, u64>,
    /// Changes of verdict, oldest first: window, entity, verdict.
    pub changes: Vec<(Timestamp, String, EntityClass)>,
    /// Entities that were different from their declared class: first and last window, and the last
    /// verdict.
    pub mismatches: BTreeMap<String, Mismatch>,
}

/// An entity whose class differed from its declared class.
#[derive(Debug, Clone)]
pub struct Mismatch {
    /// End of the first window in which it differed.
    pub first: Timestamp,
    /// End of the last window in which it differed.
    pub last: Timestamp,
    /// Its verdict in that window.
    pub class: EntityClass,
    /// Features that are furthest outside the declared class's usual range.
    pub causes: Vec<contract::score::Cause>,
}

/// Runs the step for `task: classify`.
pub(crate) fn run(
    args: &ReportArgs,
    document: Sections,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let contents = read_contents(args, document)?;
    let page = classes::page(&contents);
    for note in &contents.notes {
        outcome.warn(note.clone());
    }
    outcome.count("runs", usize::from(contents.run.is_some()));
    outcome.count("page_bytes", page.html.len());
    if let Some(history) = &contents.history {
        outcome.count("windows", usize::try_from(history.windows).unwrap_or(usize::MAX));
        outcome.count("mismatches", history.mismatches.len());
    }
    if let (Some(folder), Some(run)) = (&args.record, &contents.run) {
        record::write(folder, run, &args.document, args.now)?;
    }
    if let Some(folder) = &args.tables {
        tables::write(folder, &page.tables)?;
    }
    artifact::write_file(&args.report, page.html.as_bytes())
}

fn read_contents(args: &ReportArgs, document: Sections) -> Result<ClassContents, StepError> {
    let mut runs = contents::runs(args, &document)?;
    // A training that failed early in a cluster has no task that trains.
    let shown = runs.iter().rposition(Run::is_training).or(runs.len().checked_sub(1));
    let run = shown.map(|index| runs.swap_remove(index));
    let mut notes = Vec::new();
    let mut bundle = None;
    if let Some(folder) = run.as_ref().and_then(|run| run.there("select/bundle")) {
        match ClassBundle::read(&folder) {
            Ok(read) => bundle = Some(read),
            Err(error) => notes.push(format!("The model cannot be shown: {}.", error.message)),
        }
    }
    let mut history = None;
    if let Some(url) = &args.store {
        let store = store::open(url)?;
        let until = args.to.unwrap_or(args.now - document.scoring.delay).floor(document.step);
        let after = args.from.unwrap_or(until - DEFAULT_RANGE);
        check_range(after, until)?;
        let mut found = ClassHistory::default();
        for window in scores::read_after(store.as_ref(), &document.name, Some(after), until) {
            found.add(&window?);
        }
        history = Some(found);
        if bundle.is_none() {
            let registry = Registry::new(store.as_ref(), &document.name);
            if let Some(alias) = registry.alias(&document.deployment.alias)? {
                let files = registry.fetch(&alias.version, None)?;
                bundle = ClassBundle::from_files(&files).ok();
            }
        }
    }
    let zone = Zone::named(&document.alerts.time_zone);
    Ok(ClassContents { zone, now: args.now, run, bundle, history, notes, document })
}

impl ClassHistory {
    fn add(&mut self, window: &contract::score::WindowScore) {
        self.windows += 1;
        let first = self.range.map_or(window.time, |(first, _)| first);
        self.range = Some((first, window.time));
        self.classes = window.classes.clone().unwrap_or_default();
        for entity in &window.entities {
            let Some(class) = &entity.class else { continue };
            if class.since == window.time {
                self.changes.push((window.time, entity.entity.clone(), class.clone()));
            }
            if class.mismatch {
                let found = Mismatch {
                    first: window.time,
                    last: window.time,
                    class: class.clone(),
                    causes: entity.causes.clone(),
                };
                let kept = self.mismatches.entry(entity.entity.clone()).or_insert(found);
                kept.last = window.time;
                kept.class = class.clone();
                if !entity.causes.is_empty() {
                    kept.causes.clone_from(&entity.causes);
                }
            }
        }
    }
}
