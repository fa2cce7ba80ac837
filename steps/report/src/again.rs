//! A data set's rows, scored again with the bundle that was made of them.

use std::path::Path;

use contract::bundle::BundleManifest;
use contract::score::{EntityScore, WindowScore};
use contract::{StepError, Timestamp};
use frames::FeatureTable;
use models::{Bundle, ScoreOptions, ScoreState};

use crate::scores::ScoreHistory;

/// Rows that are scored again at most; a page of a larger data set shows the last ones.
pub const MOST_ROWS: u64 = 200_000;

/// A bundle with what it remembers from part to part.
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
    /// Begins without a past: what a bundle remembers is the end of the very rows.
    pub fn new(bundle: &'a Bundle, after: Option<Timestamp>, threads: usize) -> Self {
        let mut state = ScoreState::default();
        state.format = ScoreState::FORMAT;
        state.reference_sha256.clone_from(&bundle.manifest().reference.sha256);
        Self { bundle, after, threads, state }
    }
}

/// Adds the rows of one part.
pub fn add_part(
    history: &mut ScoreHistory,
    scorer: &mut Scorer<'_>,
    path: &Path,
) -> Result<(), StepError> {
    let Scorer { bundle, after, threads, state } = scorer;
    let options = ScoreOptions { min_completeness: 0.0, threads: *threads };
    let mut window: Option<WindowScore> = None;
    let mut begun = false;
    let reference = bundle.reference();
    FeatureTable::read_parts(path, |part| {
        let late = |row: &usize| after.is_none_or(|after| part.table.times[*row] > after);
        let rows: Vec<usize> = (0..part.rows()).filter(late).collect();
        let chosen;
        let part = if rows.len() == part.rows() {
            part
        } else {
            chosen = part.select(&rows);
            &chosen
        };
        if let (false, Some(first)) = (begun, part.table.times.first()) {
            history.begin_part(*first);
            begun = true;
        }
        let scores = bundle.score(part, state, options)?;
        for (score, time) in scores.into_iter().zip(&part.table.times) {
            match &mut window {
                Some(window) if window.time == *time => window.entities.push(score),
                _ => {
                    let next = of_version(bundle.manifest(), *time, score);
                    if let Some(done) = window.replace(next) {
                        history.add(&done, Some(reference));
                    }
                }
            }
        }
        Ok(())
    })?;
    if let Some(done) = window {
        history.add(&done, Some(reference));
    }
    Ok(())
}

fn of_version(manifest: &BundleManifest, time: Timestamp, score: EntityScore) -> WindowScore {
    WindowScore::new(manifest.pipeline.clone(), time, "", vec![score])
}
