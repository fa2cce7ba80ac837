//! Scores each due window once with the live bundle.
//!
//! The windows are those after the watermark, up to the evaluation time minus the document's delay.
//! Each window gets one object, written only if it does not exist; then the watermark and the
//! scorer's state are updated in one compare-and-set. If a tick is killed in between, the next tick
//! repeats it and uses the objects that were already written.
//!
//! `windows` determines the due windows and `rows` the rows that can be scored, `scorer` fetches
//! the bundles and scores the rows, `drift` counts the values of the day, and `state` is the state
//! kept from tick to tick.

pub mod backfill;
pub mod classify;
mod drift;
mod late;
mod rows;
mod scored;
mod scorer;
mod state;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use contract::coverage::Coverage;
use contract::score::{EntityScore, ShadowScore, Verdict, WindowScore};
use contract::steps::ScoreArgs;
use contract::{Outcome, StepError, Timestamp, read_json, write_json};
use document::sections::Score as Sections;
use frames::FeatureTable;
use models::{ScoreOptions, ScoreState};
use store::{ObjectStore, scores, watermark};

use crate::drift::Bins;
use crate::rows::{DueRows, Measured};
use crate::scored::Scored;
use crate::scorer::Scorer;
use crate::state::ScorerState;
pub use crate::state::Summary;
use crate::windows::Windows;

/// Number of windows after which an absent entity is dropped, so that a deleted pod does not raise
/// alarms forever.
const FORGOTTEN_AFTER_WINDOWS: i64 = 60;

/// Windows that already have an object, by time.
type Known = BTreeMap<Timestamp, WindowScore>;

/// Inputs of a tick.
struct Tick<'a> {
    document: &'a Sections,
    live: Scorer,
    /// The challenger, and the rows with its columns.
    shadow: Option<(Scorer, DueRows)>,
    known: Known,
    options: ScoreOptions,
    /// What could not be collected.
    coverage: Option<Coverage>,
}

/// Runs the step.
///
/// Without a live model nothing is scored, which is reported.
///
/// Errors: refused for features that differ from those the model was trained on, and if there was
/// no data for longer than the catch-up; a lost race if another scorer was faster.
pub fn run(args: &ScoreArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = Sections::read(&args.document)?;
    if let Some(settings) = document.classification() {
        return classify::run(args, &document, settings, outcome);
    }
    let store = store::open_shard(&args.store, args.shard)?;
    let store = store.as_ref();
    let mut current = watermark::read(store, &document.name)?;
    let mut state =
        ScorerState::take(&document.name, current.as_mut().map(|stored| &mut stored.value))?;
    let scored_to = current.as_ref().map(|stored| stored.value.scored_to);
    let coverage: Option<Coverage> = args.coverage.as_deref().map(read_json).transpose()?;
    let due = Windows::due(&document, args.now, scored_to);
    let due = coverage.as_ref().map_or(due, |coverage| due.no_later_than(coverage));
    let Some(live) = Scorer::live(store, &document, args.model_cache.as_deref(), &state.scores)?
    else {
        return wait_for_model(args, &document, &due, outcome);
    };
    let start = Start { store, live, due, coverage };
    let (tick, rows, due) = prepare(args, &document, &state, start, outcome)?;

    let mut scored =
        Scored::new(&tick.live.version, tick.shadow.as_ref().map(|(scorer, _)| scorer), &due);
    let windows = tick.windows(&rows, &due, &mut state)?;
    tick.write(store, windows, &mut scored)?;
    if due.until > due.after {
        note_late(store, &document, &due, args.now, outcome);
        let moved = state.watermark(due.until)?;
        let expected = current.as_ref().map(|stored| stored.etag.as_str());
        watermark::write(store, &document.name, &moved, expected)?;
    }
    scored.tell(outcome);
    write_json(&args.scored, &scored)
}

/// Reports that there is no model yet: before the first training this is expected, and not a
/// failure. The watermark does not change; the first tick with a model scores the last due window.
fn wait_for_model(
    args: &ScoreArgs,
    document: &Sections,
    due: &Windows,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let alias = &document.deployment.alias;
    let hint = args.no_model_hint.as_ref().map(|hint| format!(", {hint}")).unwrap_or_default();
    let words = format!("no model of `{}` is `{alias}` yet{hint}", document.name);
    tracing::info!("{words}");
    outcome.count("windows", 0);
    outcome.detail("no_model", &words)?;
    write_json(&args.scored, &Scored::without_model(words, due))
}

/// Records late windows. The windows are scored, so a failure to record them is not an error. They
/// are recorded before the watermark moves, because after a kill the next tick would not detect
/// them as late.
fn note_late(
    store: &dyn ObjectStore,
    document: &Sections,
    due: &Windows,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    if let Some(late) = due.late(document, now)
        && let Err(error) = late::note(store, &document.name, late)
    {
        outcome.warn(format!("late windows could not be recorded: {}", error.message));
    }
}

/// What a tick begins with.
struct Start<'a> {
    store: &'a dyn ObjectStore,
    /// The live version.
    live: Scorer,
    due: Windows,
    coverage: Option<Coverage>,
}

/// Reads the inputs of a tick (bundles, rows, earlier scores), and determines its windows.
fn prepare<'a>(
    args: &ScoreArgs,
    document: &'a Sections,
    state: &ScorerState,
    Start { store, live, due, coverage }: Start<'_>,
    outcome: &mut Outcome,
) -> Result<(Tick<'a>, DueRows, Windows), StepError> {
    let cache = args.model_cache.as_deref();
    let features = FeatureTable::read(&args.features)?;
    let fresh = ScoreState::default();
    let before = state.shadow.as_ref().unwrap_or(&fresh);
    let shadow = Scorer::shadow(store, document, cache, before, &features);
    let shadow = shadow.unwrap_or_else(|error| {
        let alias = &document.scoring.shadow;
        outcome.warn(format!("`{alias}` does not score: {}", error.message));
        None
    });
    let features = live.bundle.columns_of(features)?;
    let measured = args.samples.as_deref().map(|path| Measured::read(path, document.step));
    let mut measured = measured.transpose()?;
    if let (Some(measured), Some(coverage)) = (&mut measured, &coverage) {
        measured.leave_out(|time| coverage.is_incomplete(time));
    }
    let known = known(store, document, &due)?;
    let min_completeness = document.scoring.min_completeness;
    let rows_of =
        |features: &FeatureTable| DueRows::new(features, &due, measured.as_ref(), min_completeness);
    let rows = rows_of(&features);
    let shadow = shadow.map(|(scorer, features)| (scorer, rows_of(&features)));
    let heard = rows.heard.max(known.last_key_value().map(|(time, _)| *time));
    let due = due.until_silence(document.scoring.every, heard)?;
    let options = ScoreOptions { min_completeness, threads: args.common.threads.into() };
    Ok((Tick { document, live, shadow, known, options, coverage }, rows, due))
}

/// Reads the existing objects of windows: those of a tick that was killed before it moved the
/// watermark.
fn known(store: &dyn ObjectStore, document: &Sections, due: &Windows) -> Result<Known, StepError> {
    scores::read_after(store, &document.name, Some(due.after), due.until)
        .map(|window| window.map(|window| (window.time, window)))
        .collect()
}

impl Tick<'_> {
    /// Makes every due window's object, in order of time, and updates the state with it; an
    /// existing object is used unchanged.
    fn windows(
        &self,
        rows: &DueRows,
        due: &Windows,
        state: &mut ScorerState,
    ) -> Result<Vec<WindowScore>, StepError> {
        let mut verdicts =
            self.judge(&self.live, rows, &mut state.scores, |window| Some(&window.version))?;
        let mut shadow = self.judge_shadow(state)?;
        let bins = Bins::of(&self.live.bundle);
        let keep = contract::Span::from_ms(FORGOTTEN_AFTER_WINDOWS * due.step.ms());
        let mut windows = Vec::new();
        for time in due.times() {
            let missed = state.see(time, time - keep, &rows.present(time));
            let known = self.known.get(&time);
            // Windows that another version scored do not count for this version's day, either.
            if known.is_none_or(|window| window.version == self.live.version) {
                state.day.count(&bins, time, &rows.table, rows.of(time));
            }
            let thresholds = &self.document.scoring.drift;
            let drift = state.day.report(&bins, time, due.step, thresholds);
            let window = known.cloned().unwrap_or_else(|| {
                let version = &self.live.version;
                let mut entities = complete(verdicts.remove(&time).unwrap_or_default(), missed);
                self.give_reasons(time, &mut entities);
                let before = &state.summary.version;
                let is_other = !before.is_empty() && before != version;
                WindowScore {
                    switched_from: is_other.then(|| before.clone()),
                    shadow: shadow.as_mut().map(|shadow| shadow.take(time)),
                    drift: drift.clone(),
                    ..WindowScore::new(&self.document.name, time, version, entities)
                }
            });
            let summary = &mut state.summary;
            summary.version.clone_from(&window.version);
            summary.windows_total += 1;
            summary.drift = drift.or(summary.drift.take());
            windows.push(window);
        }
        Ok(windows)
    }

    /// Adds to the entities without data the reason why it could not be collected.
    fn give_reasons(&self, time: Timestamp, entities: &mut [EntityScore]) {
        let Some(coverage) = &self.coverage else { return };
        for score in entities.iter_mut().filter(|score| score.verdict == Verdict::NoData) {
            score.reason = coverage.reason(time, &score.entity);
        }
    }

    fn judge(
        &self,
        scorer: &Scorer,
        rows: &DueRows,
        state: &mut ScoreState,
        version: impl Fn(&WindowScore) -> Option<&String>,
    ) -> Result<BTreeMap<Timestamp, Vec<EntityScore>>, StepError> {
        let by_other = |window: &&WindowScore| version(window) != Some(&scorer.version);
        let others: BTreeSet<Timestamp> =
            self.known.values().filter(by_other).map(|window| window.time).collect();
        scorer.judge(rows, state, self.options, &others)
    }

    fn judge_shadow(&self, state: &mut ScorerState) -> Result<Option<Shadow>, StepError> {
        let Some((scorer, rows)) = &self.shadow else {
            state.shadow = None;
            return Ok(None);
        };
        let of_shadow = state.shadow.get_or_insert_default();
        let verdicts = self.judge(scorer, rows, of_shadow, |window| {
            window.shadow.as_ref().map(|shadow| &shadow.version)
        })?;
        Ok(Some(Shadow { version: scorer.version.clone(), verdicts }))
    }

    /// Writes the windows that have no object.
    ///
    /// Errors: a lost race if another scorer has written one meanwhile with another version: its
    /// result is kept, and this tick's state is inconsistent with it.
    fn write(
        &self,
        store: &dyn ObjectStore,
        windows: Vec<WindowScore>,
        scored: &mut Scored,
    ) -> Result<(), StepError> {
        let is_new = |window: &&WindowScore| !self.known.contains_key(&window.time);
        let new: Vec<&WindowScore> = windows.iter().filter(is_new).collect();
        let written = scores::write_all(store, &new)?;
        let outdone = new.iter().zip(&written).filter(|(_, written)| !**written);
        let outdone: BTreeSet<Timestamp> = outdone.map(|(window, _)| window.time).collect();
        for window in windows {
            let is_outdone = outdone.contains(&window.time);
            if is_outdone {
                check_same(store, &self.document.name, &window)?;
            }
            let is_written = is_new(&&window) && !is_outdone;
            scored.note(window, is_written);
        }
        Ok(())
    }
}

/// Checks that a window that another scorer has written meanwhile has the same version.
fn check_same(
    store: &dyn ObjectStore,
    pipeline: &str,
    window: &WindowScore,
) -> Result<(), StepError> {
    let there = scores::read(store, pipeline, window.time)?;
    match there.filter(|there| there.version != window.version) {
        None => Ok(()),
        Some(there) => Err(StepError::lost_race(format!(
            "the window `{}` was just scored by version `{}`, not `{}`",
            window.time, there.version, window.version
        ))
        .hint("run again: the next run continues from the other process's result")),
    }
}

/// The challenger's verdicts.
struct Shadow {
    version: String,
    verdicts: BTreeMap<Timestamp, Vec<EntityScore>>,
}

impl Shadow {
    /// Takes a window's verdicts, without the parts that only alerts need.
    fn take(&mut self, time: Timestamp) -> ShadowScore {
        let mut entities = self.verdicts.remove(&time).unwrap_or_default();
        entities.iter_mut().for_each(|entity| entity.causes.clear());
        entities.sort_by(|a, b| a.entity.cmp(&b.entity));
        ShadowScore { version: self.version.clone(), entities }
    }
}

/// Adds the entities that were seen recently and have no row; if no entity was ever seen, adds the
/// whole cluster as without data.
fn complete(mut entities: Vec<EntityScore>, missed: Vec<String>) -> Vec<EntityScore> {
    entities.extend(missed.into_iter().map(|name| EntityScore::bare(name, Verdict::NoData)));
    if entities.is_empty() {
        entities.push(EntityScore::bare(String::new(), Verdict::NoData));
    }
    entities.sort_by(|a, b| a.entity.cmp(&b.entity));
    entities
}
