//! From fitted candidates to a bundle: calibration, limits, reference.

use std::collections::BTreeMap;
use std::path::Path;

use contract::bundle::{BundleManifest, CandidateManifest, FileRecord, Member, Provenance};
use contract::rules::{Combine, Vote};
use contract::{Decimal, StepError, artifact, read_json};
use frames::FeatureTable;
use fs_err as fs;

use crate::measure::normal_rows;
use crate::reference::{self, FeatureSketch, Reference, Sketch, levels};
use crate::vote::{self, Scale, Smoothing};
use crate::{Bundle, Detector, detector, matrix};

/// Normal rows a calibration needs at least.
pub const FEWEST_CALIBRATION_ROWS: usize = 20;

/// A candidate folder in memory, verified.
#[derive(Debug)]
pub struct Candidate {
    /// The manifest.
    pub manifest: CandidateManifest,
    /// Bytes of its safetensors file.
    pub model: Vec<u8>,
    detector: Box<dyn Detector>,
}

impl Candidate {
    /// Reads a candidate folder; one whose model is not what its hash says is refused.
    pub fn read(folder: &Path) -> Result<Self, StepError> {
        let manifest: CandidateManifest = read_json(&folder.join(CandidateManifest::FILE))?;
        let path = folder.join(&manifest.model.file);
        let model = fs::read(&path).map_err(|e| StepError::reading(&path, &e))?;
        Self::new(manifest, model)
    }

    /// Puts a manifest and the bytes it names together.
    pub fn new(manifest: CandidateManifest, model: Vec<u8>) -> Result<Self, StepError> {
        if manifest.format != CandidateManifest::FORMAT {
            return Err(StepError::refused(format!(
                "the candidate `{}` has format {}, this version reads {}",
                manifest.kind,
                manifest.format,
                CandidateManifest::FORMAT
            )));
        }
        if artifact::sha256(&model) != manifest.model.sha256 {
            return Err(StepError::refused(format!(
                "`{}` of the candidate `{}` is not what its hash says",
                manifest.model.file, manifest.kind
            )));
        }
        let detector = detector::load(&manifest.kind, &model)?;
        Ok(Self { manifest, model, detector })
    }

    /// Returns the fitted model.
    pub fn detector(&self) -> &dyn Detector {
        &*self.detector
    }
}

/// What a bundle is made by, besides its candidates and their calibration rows.
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

/// Makes a bundle without metrics: limits and reference come from the normal rows of
/// `calibration`, usually the validation part.
///
/// Refused are: no candidate or two of a kind, a candidate fitted on another contract, a vote that
/// can never reach its alarm level, fewer than [`FEWEST_CALIBRATION_ROWS`] normal rows.
pub fn assemble(
    mut candidates: Vec<Candidate>,
    calibration: &FeatureTable,
    recipe: Recipe,
) -> Result<Bundle, StepError> {
    candidates.sort_by(|a, b| a.manifest.kind.cmp(&b.manifest.kind));
    check(&candidates, calibration, &recipe.vote)?;
    let rows = normal_rows(calibration, &recipe.normal);
    if rows.len() < FEWEST_CALIBRATION_ROWS {
        return Err(StepError::refused(format!(
            "the calibration part has {} normal rows, needed are {FEWEST_CALIBRATION_ROWS}",
            rows.len()
        ))
        .hint("take a longer `range` or a larger `split.validation`"));
    }
    let usual = calibration.select(&rows);
    let calibrated = calibrate(&candidates, &usual, &recipe);
    let reference_bytes = calibrated.reference.to_bytes()?;
    let mut files = BTreeMap::from([(Reference::FILE.to_owned(), reference_bytes.clone())]);
    let (mut members, mut models) = (Vec::new(), Vec::new());
    for (candidate, limit) in candidates.into_iter().zip(calibrated.limits) {
        let Candidate { manifest, model, detector } = candidate;
        let file = format!("{}.safetensors", manifest.kind);
        members.push(Member {
            model: FileRecord { file: file.clone(), sha256: manifest.model.sha256 },
            kind: manifest.kind,
            seed: manifest.seed,
            parameters: manifest.parameters,
            limit,
        });
        files.insert(file, model);
        models.push(detector);
    }
    let manifest = BundleManifest {
        format: BundleManifest::FORMAT,
        pipeline: recipe.pipeline,
        contract: calibration.contract.clone(),
        vote: recipe.vote,
        members,
        reference: FileRecord {
            file: Reference::FILE.to_owned(),
            sha256: artifact::sha256(&reference_bytes),
        },
        combined_limit: calibrated.combined_limit,
        metrics: BTreeMap::new(),
        provenance: recipe.provenance,
    };
    Bundle::new(manifest, calibrated.reference, models, files)
}

fn check(
    candidates: &[Candidate],
    calibration: &FeatureTable,
    vote: &Vote,
) -> Result<(), StepError> {
    if candidates.is_empty() {
        return Err(StepError::usage("a bundle needs a candidate at least"));
    }
    let contract = calibration.contract.sha256()?;
    for candidate in candidates {
        let CandidateManifest { kind, contract_sha256, .. } = &candidate.manifest;
        if *contract_sha256 != contract {
            return Err(StepError::refused(format!(
                "the candidate `{kind}` was fitted on other features than the calibration part has"
            )));
        }
    }
    if let Some(pair) =
        candidates.windows(2).find(|pair| pair[0].manifest.kind == pair[1].manifest.kind)
    {
        return Err(StepError::usage(format!("two candidates are `{}`", pair[0].manifest.kind)));
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
        return Err(StepError::usage("the weights of `vote.weights` sum to nothing"));
    }
    Ok(())
}

/// What the calibration rows say.
struct Calibrated {
    /// Fixed limit of each candidate, as a decision score.
    limits: Vec<f64>,
    combined_limit: Option<f64>,
    reference: Reference,
}

fn calibrate(candidates: &[Candidate], usual: &FeatureTable, recipe: &Recipe) -> Calibrated {
    let values = matrix(usual);
    let share = recipe.vote.limit.share();
    let (mut limits, mut members, mut scales) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut sums: Vec<Vec<f64>> = Vec::new();
    for candidate in candidates {
        let decisions = candidate.detector.decision(values.view(), recipe.threads);
        let scale = Scale::of(candidate.detector.is_ratio_scaled(), &decisions);
        limits.push(upper_quantile(&decisions, share));
        members.insert(candidate.manifest.kind.clone(), scale.with_sketch(&decisions));
        scales.push(scale);
        sums.push(decisions);
    }
    let combined = combine(candidates, &scales, &sums, (usual, &recipe.vote));
    let combined_limit =
        (recipe.vote.combine == Combine::Mean).then(|| upper_quantile(&combined, share));
    let features = usual.table.columns.iter();
    let features = features.map(|column| FeatureSketch {
        name: column.name.clone(),
        sketch: Sketch::of(&column.values),
    });
    let reference = Reference {
        format: Reference::FORMAT,
        rows: usual.rows() as u64,
        levels: levels().to_vec(),
        features: features.collect(),
        members,
        combined: Scale::of(false, &combined).with_sketch(&combined),
    };
    Calibrated { limits, combined_limit, reference }
}

/// Returns the combined scores as scoring makes them: smoothed in order of time, by entity.
fn combine(
    candidates: &[Candidate],
    scales: &[Scale],
    decisions: &[Vec<f64>],
    (usual, vote): (&FeatureTable, &Vote),
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

/// Returns the score that a share of the scores stays at or below.
fn upper_quantile(scores: &[f64], share: f64) -> f64 {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    reference::quantile(&sorted, share)
}
