//! Makes a bundle from fitted candidates: calibration, thresholds, reference.

use std::collections::BTreeMap;

use contract::bundle::{AlarmLevels, BundleManifest, FileRecord, Member, Provenance};
use contract::rules::{Combine, Threshold, Vote};
use contract::{Decimal, Span, StepError, artifact};
use frames::FeatureTable;

use crate::candidate::{Candidate, check_features};
use crate::measure::normal_rows;
use crate::reference::{self, FeatureSketch, Reference, ScoreSketch, Sketch, levels};
use crate::scoring::COMBINED;
use crate::vote::{self, Scale, Smoothing};
use crate::{Bundle, Model, ScoreState, alarm, matrix};

mod sequence;
mod weights;

pub use weights::rank;

/// Fewest normal rows for a calibration.
pub const FEWEST_CALIBRATION_ROWS: usize = contract::least::CALIBRATION_ROWS;

/// Settings of a bundle, in addition to its candidates and their calibration rows.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Name of the pipeline.
    pub pipeline: String,
    /// How scores become a verdict.
    pub vote: Vote,
    /// Labels that mean normal.
    pub normal: Vec<String>,
    /// What the bundle is made from.
    pub provenance: Provenance,
    /// Threads; the bundle does not depend on it.
    pub threads: usize,
}

/// Makes a bundle without metrics: thresholds and reference come from the normal rows of
/// `calibration`, usually the validation part.
///
/// Refused are: no candidate or two of a kind, a candidate fitted on another contract, a vote that
/// can never reach its alarm level, fewer than [`FEWEST_CALIBRATION_ROWS`] normal rows.
pub fn assemble(
    candidates: Vec<Candidate>,
    calibration: &FeatureTable,
    recipe: Recipe,
) -> Result<Bundle, StepError> {
    let calibration = CalibrationRows { sample: calibration, keys: calibration };
    assemble_sampled(candidates, calibration, recipe)
}

/// The calibration part of a data set that is too large for memory.
#[derive(Debug, Clone, Copy)]
pub struct CalibrationRows<'a> {
    /// The rows of some entities.
    pub sample: &'a FeatureTable,
    /// Times, entities and labels of all rows, without features.
    pub keys: &'a FeatureTable,
}

/// [`assemble`] with the features of only some entities.
pub fn assemble_sampled(
    mut candidates: Vec<Candidate>,
    rows @ CalibrationRows { sample: calibration, keys }: CalibrationRows<'_>,
    mut recipe: Recipe,
) -> Result<Bundle, StepError> {
    candidates.sort_by(|a, b| a.manifest.kind.cmp(&b.manifest.kind));
    check(&candidates, calibration, &recipe.vote)?;
    let normal = normal_rows(calibration, &recipe.normal);
    if normal.len() < FEWEST_CALIBRATION_ROWS {
        return Err(StepError::refused(format!(
            "the calibration part has {} normal rows, needed are at least {FEWEST_CALIBRATION_ROWS}",
            normal.len()
        ))
        .hint("use a longer `range` or a larger `split.validation`"));
    }
    if recipe.vote.learn_weights {
        recipe.vote.weights = weights::learned(&candidates, calibration, &normal, &recipe)?;
    }
    let calibrated = calibrate(&candidates, rows, &normal, &recipe)?;
    let reference_bytes = calibrated.reference.to_bytes()?;
    let mut files = BTreeMap::from([(Reference::FILE.to_owned(), reference_bytes.clone())]);
    let (mut members, mut models) = (Vec::new(), Vec::new());
    for (candidate, (threshold, levels)) in candidates.into_iter().zip(calibrated.thresholds) {
        let Candidate { manifest, model, loaded, .. } = candidate;
        let file = format!("{}.safetensors", manifest.kind);
        members.push(Member {
            model: FileRecord { file: file.clone(), sha256: manifest.model.sha256 },
            kind: manifest.kind,
            seed: manifest.seed,
            parameters: manifest.parameters,
            threshold,
            levels,
        });
        files.insert(file, model);
        models.push(loaded);
    }
    let manifest = BundleManifest {
        format: BundleManifest::FORMAT,
        pipeline: recipe.pipeline,
        parts: Vec::new(),
        division: None,
        contract: calibration.contract.clone(),
        vote: recipe.vote,
        members,
        reference: FileRecord {
            file: Reference::FILE.to_owned(),
            sha256: artifact::sha256(&reference_bytes),
        },
        combined_threshold: calibrated.combined_threshold,
        combined_levels: calibrated.combined_levels,
        memory: None,
        memory_before_test: None,
        diagnosis: None,
        classify: None,
        metrics: BTreeMap::new(),
        provenance: recipe.provenance,
    };
    let mut initial = calibrated.initial;
    set_times(&mut initial, keys);
    initial.reference_sha256.clone_from(&manifest.reference.sha256);
    let mut bundle = Bundle::new(manifest, calibrated.reference, models, files)?;
    if !(initial.alarms.is_empty() && initial.memories.is_empty()) {
        bundle.begin_with(initial)?;
    }
    Ok(bundle)
}

/// Sets the state of each entity to that after its last calibration row.
fn set_times(initial: &mut ScoreState, calibration: &FeatureTable) {
    for (entity, rows) in sequence::by_entity(calibration) {
        let Some(last) = rows.last().map(|row| calibration.table.times[*row].ms()) else {
            continue;
        };
        for alarms in initial.alarms.values_mut() {
            if let Some(alarm) = alarms.get_mut(entity) {
                alarm.time_ms = last;
            }
        }
    }
}

fn check(
    candidates: &[Candidate],
    calibration: &FeatureTable,
    vote: &Vote,
) -> Result<(), StepError> {
    if candidates.is_empty() {
        return Err(StepError::usage("a bundle needs at least one candidate")
            .hint("run `train` for at least one model, and name its output with --candidate"));
    }
    candidates
        .iter()
        .try_for_each(|candidate| check_features(&candidate.manifest, &calibration.contract))?;
    if let Some(pair) =
        candidates.windows(2).find(|pair| pair[0].manifest.kind == pair[1].manifest.kind)
    {
        return Err(StepError::usage(format!("two candidates are `{}`", pair[0].manifest.kind))
            .hint("name each candidate once"));
    }
    let total =
        vote::votes(vote, candidates.iter().map(|candidate| candidate.manifest.kind.as_str()));
    if vote.combine == Combine::Votes && total < vote.alarm_at {
        return Err(StepError::usage(format!(
            "all weights sum to `{total}`, below `vote.alarm_at: {}`: no vote could raise an alarm",
            vote.alarm_at
        ))
        .hint("lower `vote.alarm_at` or raise `vote.weights`"));
    }
    if total <= Decimal::ZERO {
        return Err(StepError::usage("the weights of `vote.weights` sum to nothing")
            .hint("give at least one model a weight above 0"));
    }
    Ok(())
}

/// Results from the calibration rows.
struct Calibrated {
    /// Fixed threshold of each candidate, as a decision score, and its levels.
    thresholds: Vec<(f64, Option<AlarmLevels>)>,
    combined_threshold: Option<f64>,
    combined_levels: Option<AlarmLevels>,
    reference: Reference,
    initial: ScoreState,
}

fn calibrate(
    candidates: &[Candidate],
    CalibrationRows { sample: calibration, keys }: CalibrationRows<'_>,
    rows: &[usize],
    recipe: &Recipe,
) -> Result<Calibrated, StepError> {
    let usual = calibration.select(rows);
    let values = matrix(&usual);
    let vote = &recipe.vote;
    let share = vote.threshold.share();
    let (mut thresholds, mut members, mut scales) = (Vec::new(), BTreeMap::new(), Vec::new());
    let (mut sums, mut initial) = (Vec::<Vec<f64>>::new(), ScoreState::default());
    for candidate in candidates {
        let kind = &candidate.manifest.kind;
        let (decisions, series) = match (&candidate.loaded, &candidate.training) {
            (Model::Rows(detector), _) => {
                let decisions = detector.decision(values.view(), recipe.threads);
                let series = by_entity(&usual, &decisions);
                (decisions, series)
            }
            (Model::Sequence(model), Some(training)) => {
                let model = &**model;
                initial.memories.insert(model.records(), training.memories.clone());
                let decisions = sequence::decisions(model, training, calibration);
                let normal = normal_rows(keys, &recipe.normal);
                let usual = sequence::usual(model, training, keys, &normal);
                (rows.iter().map(|row| decisions[*row]).collect(), usual)
            }
            (Model::Sequence(_), None) => return Err(sequence::without_training(kind)),
        };
        let seen: Vec<f64> = series.values().flatten().copied().collect();
        let scale = Scale::of(candidate.loaded.is_ratio_scaled(), &seen);
        let forward =
            |scores: &Vec<f64>| scores.iter().map(|score| scale.forward(*score)).collect();
        let series = series.iter().map(|(entity, scores)| (entity.clone(), forward(scores)));
        let step = usual.contract.step;
        let levels = calibrate_levels(vote, step, kind, &series.collect(), &mut initial);
        let threshold = levels.map(|levels| scale.backward(passed(vote, &levels)));
        thresholds.push((threshold.unwrap_or_else(|| upper_quantile(&seen, share)), levels));
        members.insert(kind.clone(), scale.with_sketch(&seen));
        scales.push(scale);
        sums.push(decisions);
    }
    let combined = combine(candidates, &scales, &sums, &usual, vote);
    let (mut combined_threshold, mut combined_levels) = (None, None);
    if vote.combine == Combine::Mean {
        let series = by_entity(&usual, &combined);
        // The members' own levels are not used here.
        initial.alarms.clear();
        combined_levels =
            calibrate_levels(vote, usual.contract.step, COMBINED, &series, &mut initial);
        let threshold = combined_levels.map(|levels| passed(vote, &levels));
        combined_threshold = Some(threshold.unwrap_or_else(|| upper_quantile(&combined, share)));
    }
    let reference =
        reference_of(&usual, members, Scale::of(false, &combined).with_sketch(&combined));
    Ok(Calibrated { thresholds, combined_threshold, combined_levels, reference, initial })
}

fn reference_of(
    usual: &FeatureTable,
    members: BTreeMap<String, ScoreSketch>,
    combined: ScoreSketch,
) -> Reference {
    let features = usual.table.columns.iter();
    let features = features.map(|column| FeatureSketch {
        name: column.name.clone(),
        sketch: Sketch::of(&column.values),
    });
    Reference {
        format: Reference::FORMAT,
        rows: usual.rows() as u64,
        levels: levels().to_vec(),
        features: features.collect(),
        members,
        combined,
    }
}

/// Returns the threshold of an unknown entity.
fn passed(vote: &Vote, levels: &AlarmLevels) -> f64 {
    match &vote.threshold {
        Threshold::FalseAlarms(threshold) => levels.passed(threshold.per_day),
        Threshold::Quantile(_) | Threshold::Trailing(_) => f64::INFINITY,
    }
}

/// Finds the levels of a series of scores for a threshold by expected false alarms, and records the
/// state after the series; does nothing for other thresholds.
fn calibrate_levels(
    vote: &Vote,
    step: Span,
    name: &str,
    series: &BTreeMap<String, Vec<f64>>,
    initial: &mut ScoreState,
) -> Option<AlarmLevels> {
    let Threshold::FalseAlarms(threshold) = &vote.threshold else { return None };
    let scores: Vec<&[f64]> = series.values().map(Vec::as_slice).collect();
    let (levels, states) = alarm::calibrate(threshold, step, &scores);
    let states = series.keys().cloned().zip(states).collect();
    initial.alarms.insert(name.to_owned(), states);
    Some(levels)
}

/// Returns the scores of each entity in the order of time.
fn by_entity(table: &FeatureTable, scores: &[f64]) -> BTreeMap<String, Vec<f64>> {
    let of = |rows: Vec<usize>| rows.into_iter().map(|row| scores[row]).collect();
    let rows = sequence::by_entity(table).into_iter();
    rows.map(|(entity, rows)| (entity.to_owned(), of(rows))).collect()
}

/// Returns the combined scores as scoring makes them: smoothed in order of time, by entity.
fn combine(
    candidates: &[Candidate],
    scales: &[Scale],
    decisions: &[Vec<f64>],
    usual: &FeatureTable,
    vote: &Vote,
) -> Vec<f64> {
    let mut smoothing = Smoothing::default();
    let mut order: Vec<usize> = (0..usual.rows()).collect();
    order.sort_by_key(|row| usual.table.times[*row]);
    let mut combined = vec![0.0; usual.rows()];
    for row in order {
        let scores =
            candidates.iter().zip(scales).zip(decisions).map(|((candidate, scale), scores)| {
                (candidate.manifest.kind.as_str(), scale.standardised(scores[row]))
            });
        let mean = vote::mean(vote, scores);
        let (entity, time) = (usual.table.entity_of(row), usual.table.times[row]);
        combined[row] = match vote.combine {
            Combine::Votes => mean,
            Combine::Mean => smoothing.add(entity, time, mean, vote.smoothing),
        };
    }
    combined
}

/// Returns the quantile of the scores for a share.
fn upper_quantile(scores: &[f64], share: f64) -> f64 {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    reference::quantile(&sorted, share)
}
