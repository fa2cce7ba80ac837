//! A data set's rows, scored again with the bundle that was fitted on them.

use std::path::Path;

use contract::bundle::BundleManifest;
use contract::score::{EntityScore, WindowScore};
use contract::{StepError, Timestamp};
use frames::FeatureTable;
use models::{Bundle, ScoreOptions, ScoreState};

use crate::scores::ScoreHistory;

/// Maximum number of rows that are scored again; the page of a larger data set shows the last ones.
pub const MOST_ROWS: u64 = 200_000;

/// A bundle with its state from part to part.
#[derive(Debug)]
pub struct Scorer<'a> {
    /// The bundle.
    pub bundle: &'a Bundle,
    /// Rows after this time are scored.
    pub after: Option<Timestamp>,
    /// Threads.
    pub threads: usize,
    state: ScoreState,
}

impl<'a> Scorer<'a> {
    /// Starts without a state, because the bundle's state is that after these rows.
    pub fn new(bundle: &'a Bundle, after: Option<Timestamp>, threads: usize) -> Self {
        Self { bundle, after, threads, state: bundle.without_past() }
    }

    /// Starts with the state at the end of the bundle's own data set, for later rows.
    pub fn going_on(bundle: &'a Bundle, after: Timestamp, threads: usize) -> Self {
        Self { bundle, after: Some(after), threads, state: ScoreState::default() }
    }
}

/// Adds the rows of one part of a data set.
pub fn add_part(
    history: &mut ScoreHistory,
    scorer: &mut Scorer<'_>,
    path: &Path,
) -> Result<(), StepError> {
    let reference = scorer.bundle.reference();
    let mut begun = false;
    for_each(scorer, path, |window| {
        if !begun {
            history.begin_part(window.time);
            begun = true;
        }
        history.add(window, |_| Some(reference));
    })
}

/// Calls `each` with every window of a table, scored, in order of time.
pub fn for_each(
    scorer: &mut Scorer<'_>,
    path: &Path,
    mut each: impl FnMut(&WindowScore),
) -> Result<(), StepError> {
    let Scorer { bundle, after, threads, state } = scorer;
    let options = ScoreOptions { min_completeness: 0.0, threads: *threads };
    let mut window: Option<WindowScore> = None;
    let mut begun = false;
    FeatureTable::read_parts(path, |part| {
        let due = |row: &usize| {
            !part.warm_up[*row] && after.is_none_or(|after| part.table.times[*row] > after)
        };
        let rows: Vec<usize> = (0..part.rows()).filter(due).collect();
        let chosen;
        let part = if rows.len() == part.rows() {
            part
        } else {
            chosen = part.select(&rows);
            &chosen
        };
        if !begun && let Some(first) = part.table.times.iter().min() {
            bundle.catch_up(state, *first);
            begun = true;
        }
        let scores = bundle.score(part, state, options)?;
        for (score, time) in scores.into_iter().zip(&part.table.times) {
            match &mut window {
                Some(window) if window.time == *time => window.entities.push(score),
                _ => {
                    let next = of_version(bundle.manifest(), *time, score);
                    if let Some(done) = window.replace(next) {
                        each(&done);
                    }
                }
            }
        }
        Ok(())
    })?;
    if let Some(done) = window {
        each(&done);
    }
    Ok(())
}

fn of_version(manifest: &BundleManifest, time: Timestamp, score: EntityScore) -> WindowScore {
    WindowScore::new(manifest.pipeline.clone(), time, "", vec![score])
}
