//! Scoring of `task: classify`: the rows of each window are added to the evidence of each entity,
//! and the evidence gives its verdict.
//!
//! A window's object has the number of entities of each class, the entities whose class changed in
//! the window, and those that differ from their declared class. The evidence of every entity is in
//! the watermark's state.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contract::classify::EntityClass;
use contract::coverage::Coverage;
use contract::score::{EntityScore, Verdict, WindowScore};
use contract::steps::ScoreArgs;
use contract::{Outcome, Span, StepError, Timestamp, read_json, write_json};
use document::classify::Classify;
use document::sections::Score as Sections;
use frames::FeatureTable;
use models::classify::judge::JudgedRow;
use models::classify::{ClassBundle, EntityEvidence};
use serde::{Deserialize, Serialize};
use store::{ObjectStore, Registry, Watermark, scores, watermark};

use crate::FORGOTTEN_AFTER_WINDOWS;
use crate::rows::{DueRows, Measured};
use crate::scored::Scored;
use crate::state::DAMAGED_STATE_HINT;
use crate::windows::Windows;

/// Windows in which an entity without a row counts as still present.
const STILL_THERE_WINDOWS: i64 = 5;

/// State of the scorer of `task: classify`, kept from tick to tick; it is written together with the
/// watermark.
#[derive(Debug, Clone, Default)]
pub struct ClassState {
    /// Summary over all entities.
    pub summary: ClassSummary,
    /// Evidence of each entity.
    pub evidence: BTreeMap<String, EntityEvidence>,
}

/// The part of the state that is not a tensor: text in the watermark's metadata.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassSummary {
    /// Version that scored the last window.
    pub version: String,
    /// Windows scored since the first.
    pub windows_total: u64,
    /// The classes of the evidence, in the order of their names.
    pub classes: Vec<String>,
}

/// Names of the tensors with the evidence of each entity.
const EVIDENCE: &str = "evidence";

impl ClassState {
    /// Takes the state from a watermark; it is empty for a pipeline without scored windows.
    ///
    /// Errors: refused for a state that cannot be read.
    pub fn take(pipeline: &str, watermark: Option<&mut Watermark>) -> Result<Self, StepError> {
        let Some(watermark) = watermark.filter(|watermark| !watermark.state.is_null()) else {
            return Ok(Self::default());
        };
        let unreadable = |words: &str| {
            StepError::refused(format!(
                "the scorer's state of `{pipeline}` cannot be read: {words}"
            ))
            .hint(DAMAGED_STATE_HINT)
        };
        let summary = ClassSummary::deserialize(&watermark.state);
        let evidence = watermark.tensors.take_records(EVIDENCE);
        Ok(Self {
            summary: summary.map_err(|e| unreadable(&e.to_string()))?,
            evidence: evidence.map_err(|e| unreadable(&e.message))?,
        })
    }

    /// Returns the watermark that carries the state to the next tick.
    fn watermark(&self, scored_to: Timestamp) -> Result<Watermark, StepError> {
        let mut mark = Watermark::new(scored_to);
        mark.state = serde_json::to_value(&self.summary)
            .map_err(|e| StepError::bug(format!("cannot write the scorer's state: {e}")))?;
        mark.tensors.insert_records(EVIDENCE, &self.evidence)?;
        Ok(mark)
    }

    /// Keeps evidence about the bundle's classes and drops other evidence.
    fn follow(&mut self, classes: &[String]) {
        if self.summary.classes != classes {
            self.evidence.clear();
            self.summary.classes = classes.to_vec();
        }
        self.evidence.retain(|_, evidence| evidence.fits(classes.len()));
    }
}

/// A class bundle that scores.
#[derive(Debug)]
struct Scorer<'a> {
    document: &'a Sections,
    classify: &'a Classify,
    bundle: ClassBundle,
    version: String,
    /// What could not be collected.
    coverage: Option<Coverage>,
}

/// Runs the step for `task: classify`.
pub(crate) fn run(
    args: &ScoreArgs,
    document: &Sections,
    classify: &Classify,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let store = store::open_shard(&args.store, args.shard)?;
    let store = store.as_ref();
    let mut current = watermark::read(store, &document.name)?;
    let scored_to = current.as_ref().map(|stored| stored.value.scored_to);
    let mut state =
        ClassState::take(&document.name, current.as_mut().map(|stored| &mut stored.value))?;
    let coverage: Option<Coverage> = args.coverage.as_deref().map(read_json).transpose()?;
    let due = Windows::due(document, args.now, scored_to);
    let due = coverage.as_ref().map_or(due, |coverage| due.no_later_than(coverage));
    let live = Scorer::live(store, document, classify, args.model_cache.as_deref())?;
    let Some(live) = live else {
        return crate::wait_for_model(args, document, &due, outcome);
    };
    let scorer = Scorer { coverage, ..live };
    let features = FeatureTable::read(&args.features)?;
    let features = scorer.bundle.columns_of(features, &classify.classes)?;
    let measured = args.samples.as_deref().map(|path| Measured::read(path, document.step));
    let mut measured = measured.transpose()?;
    if let (Some(measured), Some(coverage)) = (&mut measured, &scorer.coverage) {
        measured.leave_out(|time| coverage.is_incomplete(time));
    }
    let least = document.scoring.min_completeness;
    let rows = DueRows::new(&features, &due, measured.as_ref(), least);
    drop(features);
    let known = crate::known(store, document, &due)?;
    let heard = rows.heard.max(known.last_key_value().map(|(time, _)| *time));
    let due = due.until_silence(document.scoring.every, heard)?;

    state.follow(&scorer.bundle.classify().classes);
    let windows = scorer.windows(&rows, &due, &mut state, args.common.threads.into());
    let mut scored = Scored::new(&scorer.version, None, &due);
    write(store, document, windows, &known, &mut scored)?;
    if due.until > due.after {
        crate::note_late(store, document, &due, args.now, outcome);
        let moved = state.watermark(due.until)?;
        let expected = current.as_ref().map(|stored| stored.etag.as_str());
        watermark::write(store, &document.name, &moved, expected)?;
    }
    scored.tell(outcome);
    outcome.count("entities", state.evidence.len());
    write_json(&args.scored, &scored)
}

/// Writes the windows that have no object.
///
/// Errors: a lost race if another scorer has written one meanwhile with another version: this
/// tick's evidence is inconsistent with it.
fn write(
    store: &dyn ObjectStore,
    document: &Sections,
    windows: Vec<WindowScore>,
    known: &crate::Known,
    scored: &mut Scored,
) -> Result<(), StepError> {
    let new: Vec<&WindowScore> =
        windows.iter().filter(|window| !known.contains_key(&window.time)).collect();
    let written = scores::write_all(store, &new)?;
    let outdone = new.iter().zip(&written).filter(|(_, written)| !**written);
    let outdone: BTreeSet<Timestamp> = outdone.map(|(window, _)| window.time).collect();
    for window in windows {
        let is_outdone = outdone.contains(&window.time);
        if is_outdone {
            crate::check_same(store, &document.name, &window)?;
        }
        let is_written = !is_outdone && !known.contains_key(&window.time);
        scored.note(window, is_written);
    }
    Ok(())
}

impl<'a> Scorer<'a> {
    /// Fetches the bundle of the document's alias; `None` before the first training.
    fn live(
        store: &dyn ObjectStore,
        document: &'a Sections,
        classify: &'a Classify,
        cache: Option<&Path>,
    ) -> Result<Option<Self>, StepError> {
        let registry = Registry::new(store, &document.name);
        let Some(record) = registry.alias(&document.deployment.alias)? else { return Ok(None) };
        let bundle = ClassBundle::from_files(&registry.fetch(&record.version, cache)?)?;
        Ok(Some(Self { document, classify, bundle, version: record.version, coverage: None }))
    }

    /// Adds every due window to the evidence, in order of time, and makes its object.
    fn windows(
        &self,
        rows: &DueRows,
        due: &Windows,
        state: &mut ClassState,
        threads: usize,
    ) -> Vec<WindowScore> {
        let judged = self.bundle.judge(&rows.table, threads);
        let keep = Span::from_ms(FORGOTTEN_AFTER_WINDOWS * due.step.ms());
        let mut windows = Vec::new();
        for time in due.times() {
            let mut window = self.window(time, rows, &judged, state);
            state.evidence.retain(|_, evidence| evidence.last_seen >= time - keep);
            let before = &state.summary.version;
            let is_other = !before.is_empty() && *before != self.version;
            window.switched_from = is_other.then(|| before.clone());
            let mut classes: BTreeMap<String, u64> = BTreeMap::new();
            for evidence in state.evidence.values() {
                let name = self.bundle.class_name(evidence.class).to_owned();
                *classes.entry(name).or_insert(0) += 1;
            }
            window.classes = Some(classes);
            state.summary.version.clone_from(&self.version);
            state.summary.windows_total += 1;
            windows.push(window);
        }
        windows
    }

    fn window(
        &self,
        time: Timestamp,
        rows: &DueRows,
        judged: &[JudgedRow],
        state: &mut ClassState,
    ) -> WindowScore {
        let mut entities: Vec<EntityScore> = Vec::new();
        let mut silent = true;
        for row in rows.of(time).iter().copied() {
            let judged = &judged[row];
            if judged.completeness < self.document.scoring.min_completeness {
                continue;
            }
            silent = false;
            let name = rows.table.table.entity_of(row);
            let declared = rows.table.labels.as_ref().map_or("", |labels| &labels.label[row]);
            let before = state.evidence.remove(name);
            let mut evidence = self.bundle.evidence(before, time, declared);
            let changed = self.bundle.observe(&mut evidence, time, judged);
            let class = entity_class(&self.bundle, self.classify, name, &evidence);
            if changed || class.mismatch {
                entities.push(EntityScore {
                    completeness: judged.completeness,
                    ..self.score(name, class, rows, row)
                });
            }
            state.evidence.insert(name.to_owned(), evidence);
        }
        entities.extend(self.unseen(time, state));
        if silent {
            let reason = self.coverage.as_ref().and_then(|coverage| coverage.reason(time, ""));
            entities
                .push(EntityScore { reason, ..EntityScore::bare(String::new(), Verdict::NoData) });
        }
        entities.sort_by(|a, b| a.entity.cmp(&b.entity));
        WindowScore::new(&self.document.name, time, &self.version, entities)
    }

    /// Returns the entities that differ from their declared class and have no row in a window, for
    /// a few windows: a failed scrape does not end a mismatch.
    fn unseen(&self, time: Timestamp, state: &ClassState) -> Vec<EntityScore> {
        let oldest = time - Span::from_ms(STILL_THERE_WINDOWS * self.document.step.ms());
        let lately =
            |evidence: &EntityEvidence| evidence.last_seen < time && evidence.last_seen >= oldest;
        let unseen = state.evidence.iter().filter(|(_, evidence)| lately(evidence));
        let scores = unseen.filter_map(|(name, evidence)| {
            let class = entity_class(&self.bundle, self.classify, name, evidence);
            let without = EntityScore::bare(name.clone(), Verdict::Normal);
            class.mismatch.then_some(EntityScore { class: Some(class), ..without })
        });
        scores.collect()
    }

    fn score(&self, name: &str, class: EntityClass, rows: &DueRows, row: usize) -> EntityScore {
        EntityScore {
            causes: self.bundle.mismatch_causes(&class, &rows.table, row),
            class: Some(class),
            ..EntityScore::bare(name.to_owned(), Verdict::Normal)
        }
    }
}

/// Returns the verdict of an entity from its evidence.
pub fn entity_class(
    bundle: &ClassBundle,
    classify: &Classify,
    name: &str,
    evidence: &EntityEvidence,
) -> EntityClass {
    let mut said = bundle.class_of(evidence);
    let declared = said.declared.as_deref().unwrap_or_default();
    said.mismatch &= !classify.allow.iter().any(|it| it.fits(name, declared, said.name()));
    said
}
