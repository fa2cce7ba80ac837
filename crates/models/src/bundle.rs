//! A bundle: the members, their calibration and the vote, verified and ready to score.

use std::collections::BTreeMap;
use std::path::Path;

use contract::artifact;
use contract::bundle::{BundleManifest, FileRecord, Member};
use contract::rules::Combine;
use contract::score::{Cause, Combined, EntityScore, MemberScore, Verdict};
use contract::{Decimal, StepError, Timestamp};
use frames::FeatureTable;
use fs_err as fs;
use ndarray::Axis;
use serde::{Deserialize, Serialize};

use crate::limit::{Judged, LimitRule, LimitState};
use crate::reference::Reference;
use crate::vote::{self, Scale, Smoothing};
use crate::{Detector, detector, matrix};

/// Name of the series of combined scores in a [`ScoreState`].
const COMBINED: &str = "combined";

/// Evenly spaced quantiles of the reference that stand in for a past not yet seen.
const PRIOR: usize = 121;

/// A bundle in memory.
#[derive(Debug)]
pub struct Bundle {
    manifest: BundleManifest,
    reference: Reference,
    files: BTreeMap<String, Vec<u8>>,
    members: Vec<LoadedMember>,
    combined: Series,
}

#[derive(Debug)]
struct LoadedMember {
    kind: String,
    detector: Box<dyn Detector>,
    weight: Decimal,
    series: Series,
}

/// A series of scores with its scale and limit.
#[derive(Debug)]
struct Series {
    scale: Scale,
    rule: LimitRule,
}

/// How rows are scored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreOptions {
    /// Share of a row's features that must be there, 0 to 1; other rows are `no_data`.
    pub min_completeness: f64,
    /// Threads; the scores do not depend on it.
    pub threads: usize,
}

/// What scoring remembers from row to row: it belongs to one bundle and travels in the watermark.
///
/// Scoring a range from a given state gives the same scores and the same state every time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreState {
    /// Version of this format; 0 in a state that has seen nothing.
    pub format: u32,
    /// SHA-256 of the reference of the bundle whose scores these are; another bundle starts anew.
    pub reference_sha256: String,
    limits: BTreeMap<String, LimitState>,
    smoothing: Smoothing,
}

impl ScoreState {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
}

/// What was said of rows; one item a row in every vector, in the order of the rows.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    pub(crate) of_rows: Vec<Verdict>,
    /// Combined score, on which rows can be ranked; for `no_data` it is `NaN`.
    pub(crate) combined: Vec<f64>,
    combined_limits: Vec<f64>,
    completeness: Vec<f64>,
    votes: Vec<Decimal>,
    /// Decision scores by member, then by row.
    pub(crate) decisions: Vec<Vec<f64>>,
    /// Limits by member, then by row, as decision scores.
    limits: Vec<Vec<f64>>,
}

impl Bundle {
    /// Reads a bundle folder; a file that is missing, too much or not what its hash says is
    /// refused.
    pub fn read(folder: &Path) -> Result<Self, StepError> {
        let read_error = |e: std::io::Error| StepError::reading(folder, &e);
        let mut files = BTreeMap::new();
        for name in artifact::files_below(folder).map_err(read_error)? {
            let bytes = fs::read(folder.join(&name)).map_err(read_error)?;
            files.insert(name, bytes);
        }
        Self::from_files(&files)
    }

    /// Reads a bundle from its files by name: what a registry holds.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, StepError> {
        let manifest =
            files.get(BundleManifest::FILE).ok_or_else(|| missing(BundleManifest::FILE))?;
        let manifest: BundleManifest = artifact::parse_json(BundleManifest::FILE, manifest)?;
        if manifest.format != BundleManifest::FORMAT {
            return Err(StepError::refused(format!(
                "`{}` has format {}, this version reads {}",
                BundleManifest::FILE,
                manifest.format,
                BundleManifest::FORMAT
            )));
        }
        let reference = Reference::parse(verified(files, &manifest.reference)?)?;
        let models = manifest.members.iter().map(|member| {
            let bytes = verified(files, &member.model)?;
            let model = detector::load(&member.kind, bytes).map_err(|e| StepError {
                message: format!("`{}`: {}", member.model.file, e.message),
                ..e
            })?;
            Ok(model)
        });
        let models = models.collect::<Result<Vec<_>, StepError>>()?;
        let named =
            manifest.members.iter().map(|member| &member.model).chain([&manifest.reference]);
        let kept = named
            .filter_map(|record| Some((record.file.clone(), files.get(&record.file)?.clone())));
        let files = kept.collect();
        Self::new(manifest, reference, models, files)
    }

    /// Puts the parts together; `files` holds every file the manifest names.
    pub(crate) fn new(
        manifest: BundleManifest,
        reference: Reference,
        models: Vec<Box<dyn Detector>>,
        files: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, StepError> {
        let refused =
            |what: String| StepError::refused(format!("`{}` {what}", BundleManifest::FILE));
        let columns = manifest.contract.columns.len();
        if models.is_empty() {
            return Err(refused("has no members".to_owned()));
        }
        let mut members: Vec<LoadedMember> = Vec::new();
        for (member, detector) in manifest.members.iter().zip(models) {
            if detector.columns() != columns {
                let found = detector.columns();
                let kind = &member.kind;
                return Err(refused(format!("has {columns} features, its `{kind}` takes {found}")));
            }
            if members.iter().any(|other| other.kind == member.kind) {
                return Err(refused(format!("has two members `{}`", member.kind)));
            }
            members.push(loaded(&manifest, &reference, member, detector)?);
        }
        let score = &reference.combined;
        let scale = Scale { logarithmic: false, centre: score.centre, spread: score.spread };
        let prior = prior(&scale, score);
        // Only `combine: mean` has a limit here; nothing is above infinity.
        let fixed = manifest.combined_limit.unwrap_or(f64::INFINITY);
        if manifest.vote.combine == Combine::Mean && manifest.combined_limit.is_none() {
            return Err(refused("combines by mean and has no `combined_limit`".to_owned()));
        }
        let rule = LimitRule::new(&manifest.vote.limit, fixed, score.spread, &prior);
        let combined = Series { scale, rule };
        Ok(Self { manifest, reference, files, members, combined })
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &BundleManifest {
        &self.manifest
    }

    /// Returns the quantile sketches of the calibration rows.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Returns the members' detectors, in the order of the manifest.
    pub fn detectors(&self) -> impl Iterator<Item = &dyn Detector> {
        self.members.iter().map(|member| &*member.detector)
    }

    /// Notes what was measured on a part of the data set (`validation`, `test`).
    pub fn set_metrics(&mut self, part: &str, metrics: BTreeMap<String, f64>) {
        let finite = metrics.into_iter().filter(|(_, value)| value.is_finite()).collect();
        self.manifest.metrics.insert(part.to_owned(), finite);
    }

    /// Returns every file of the bundle by name; the same bundle gives the same bytes.
    pub fn to_files(&self) -> Result<BTreeMap<String, Vec<u8>>, StepError> {
        let mut files = self.files.clone();
        files.insert(BundleManifest::FILE.to_owned(), artifact::json_bytes(&self.manifest)?);
        Ok(files)
    }

    /// Writes the bundle as a folder that appears whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<(), StepError> {
        let files = self.to_files()?;
        artifact::write_folder(folder, |partial| {
            files
                .iter()
                .try_for_each(|(name, bytes)| artifact::write_file(&partial.join(name), bytes))
        })
    }

    /// Refuses features of another contract, naming the first difference.
    pub fn check_contract(&self, table: &FeatureTable) -> Result<(), StepError> {
        match self.manifest.contract.first_difference(&table.contract) {
            None => Ok(()),
            Some(difference) => Err(StepError::refused(format!(
                "the features are not what the model was trained on: {difference}"
            ))
            .hint("train again, or score with the document the model was trained with")),
        }
    }

    /// Scores rows: one verdict a row, in the order of the rows.
    ///
    /// Rows are judged in order of time, and `state` moves with them. A row of which too little is
    /// there, or that lies in the features' warm-up, is `no_data` and teaches nothing.
    pub fn score(
        &self,
        table: &FeatureTable,
        state: &mut ScoreState,
        options: ScoreOptions,
    ) -> Result<Vec<EntityScore>, StepError> {
        let verdicts = self.judge(table, state, options)?;
        Ok((0..table.rows()).map(|row| self.entity_score(table, &verdicts, row)).collect())
    }

    pub(crate) fn judge(
        &self,
        table: &FeatureTable,
        state: &mut ScoreState,
        options: ScoreOptions,
    ) -> Result<Verdicts, StepError> {
        self.check_contract(table)?;
        self.adopt(state);
        let rows = table.rows();
        let mut verdicts = self.decide(table, options);
        let mut order: Vec<usize> = (0..rows).collect();
        order.sort_by_key(|row| table.table.times[*row]);
        for row in order.iter().copied() {
            if verdicts.of_rows[row] != Verdict::NoData {
                self.judge_row(table, &mut verdicts, row, state);
            }
        }
        if let Some(last) = order.last() {
            self.forget(state, table.table.times[*last]);
        }
        Ok(verdicts)
    }

    /// Makes a state this bundle's own: scores of another bundle are on another scale.
    fn adopt(&self, state: &mut ScoreState) {
        let ours = &self.manifest.reference.sha256;
        if state.format != ScoreState::FORMAT || state.reference_sha256 != *ours {
            *state = ScoreState {
                format: ScoreState::FORMAT,
                reference_sha256: ours.clone(),
                ..ScoreState::default()
            };
        }
    }

    fn forget(&self, state: &mut ScoreState, now: Timestamp) {
        let history = match &self.manifest.vote.limit {
            contract::rules::Limit::Quantile(_) => contract::Span::ZERO,
            contract::rules::Limit::Trailing(limit) => limit.history,
        };
        state.limits.values_mut().for_each(|limits| limits.forget_before(now - history));
        state.smoothing.forget_before(now - self.manifest.vote.smoothing);
    }

    /// Computes what does not depend on other rows: completeness and decision scores.
    fn decide(&self, table: &FeatureTable, options: ScoreOptions) -> Verdicts {
        let rows = table.rows();
        let values = matrix(table);
        let columns = values.ncols().max(1) as f64;
        let present =
            |row: ndarray::ArrayView1<'_, f64>| row.iter().filter(|v| v.is_finite()).count();
        let completeness: Vec<f64> =
            values.rows().into_iter().map(|row| present(row) as f64 / columns).collect();
        let scored: Vec<usize> = (0..rows)
            .filter(|&row| completeness[row] >= options.min_completeness && !table.warm_up[row])
            .collect();
        let mut verdicts = vec![Verdict::NoData; rows];
        scored.iter().for_each(|row| verdicts[*row] = Verdict::Normal);
        let chosen;
        let view = if scored.len() == rows {
            values.view()
        } else {
            chosen = values.select(Axis(0), &scored);
            chosen.view()
        };
        let decisions = self.members.iter().map(|member| {
            let mut by_row = vec![f64::NAN; rows];
            let decisions = member.detector.decision(view, options.threads);
            scored.iter().zip(decisions).for_each(|(row, decision)| by_row[*row] = decision);
            by_row
        });
        let nothing = vec![f64::NAN; rows];
        Verdicts {
            of_rows: verdicts,
            combined: nothing.clone(),
            combined_limits: nothing.clone(),
            completeness,
            votes: vec![Decimal::ZERO; rows],
            decisions: decisions.collect(),
            limits: vec![nothing; self.members.len()],
        }
    }

    /// Holds a row's scores against the limits of its time, and lets the limits learn.
    fn judge_row(
        &self,
        table: &FeatureTable,
        verdicts: &mut Verdicts,
        row: usize,
        state: &mut ScoreState,
    ) {
        let (time, entity) = (table.table.times[row], table.table.entity_of(row));
        let rules = &self.manifest.vote;
        for (index, member) in self.members.iter().enumerate() {
            let decision = verdicts.decisions[index][row];
            let Series { scale, rule } = &member.series;
            let limit =
                rule.limit_for(state.limits.entry(member.kind.clone()).or_default(), entity);
            verdicts.limits[index][row] = scale.backward(limit);
            if decision > scale.backward(limit) {
                verdicts.votes[row] = verdicts.votes[row] + member.weight;
            }
        }
        let standardised = self.members.iter().enumerate().map(|(index, member)| {
            (member.kind.as_str(), member.series.scale.standardised(verdicts.decisions[index][row]))
        });
        let mean = vote::mean(rules, standardised);
        let combined = match rules.combine {
            Combine::Votes => mean,
            Combine::Mean => state.smoothing.add(entity, time, mean, rules.smoothing),
        };
        let combined_state = state.limits.entry(COMBINED.to_owned()).or_default();
        let combined_limit = self.combined.rule.limit_for(combined_state, entity);
        let alarmed = match rules.combine {
            Combine::Votes => verdicts.votes[row] >= rules.alarm_at,
            Combine::Mean => combined > combined_limit,
        };
        if alarmed {
            verdicts.of_rows[row] = Verdict::Anomalous;
        }
        (verdicts.combined[row], verdicts.combined_limits[row]) = (combined, combined_limit);
        self.observe(verdicts, row, state, (entity, time));
    }

    fn observe(
        &self,
        verdicts: &Verdicts,
        row: usize,
        state: &mut ScoreState,
        (entity, time): (&str, Timestamp),
    ) {
        let alarmed = verdicts.of_rows[row] == Verdict::Anomalous;
        if self.manifest.vote.combine == Combine::Mean {
            let judged = Judged { score: verdicts.combined[row], alarmed };
            let limits = state.limits.entry(COMBINED.to_owned()).or_default();
            return self.combined.rule.observe(limits, entity, time, judged);
        }
        for (index, member) in self.members.iter().enumerate() {
            let Series { scale, rule } = &member.series;
            let score = scale.forward(verdicts.decisions[index][row]);
            let limits = state.limits.entry(member.kind.clone()).or_default();
            rule.observe(limits, entity, time, Judged { score, alarmed });
        }
    }

    fn entity_score(&self, table: &FeatureTable, verdicts: &Verdicts, row: usize) -> EntityScore {
        let verdict = verdicts.of_rows[row];
        let mean = self.manifest.vote.combine == Combine::Mean;
        let there = verdict != Verdict::NoData;
        let combined = (mean && there).then(|| Combined {
            score: verdicts.combined[row],
            limit: verdicts.combined_limits[row],
        });
        let members = self.members.iter().enumerate().filter(|_| there);
        let members = members.map(|(index, member)| {
            let (decision, limit) = (verdicts.decisions[index][row], verdicts.limits[index][row]);
            MemberScore {
                kind: member.kind.clone(),
                decision,
                calibrated: self.reference.calibrated(&member.kind, decision),
                limit,
                vote: decision > limit,
            }
        });
        let members: Vec<MemberScore> = members.collect();
        let causes = match verdict {
            Verdict::Anomalous => self.causes(table, row, &members),
            Verdict::Normal | Verdict::NoData => Vec::new(),
        };
        EntityScore {
            entity: table.table.entity_of(row).to_owned(),
            verdict,
            completeness: verdicts.completeness[row],
            votes: verdicts.votes[row],
            combined,
            members,
            causes,
        }
    }

    /// Returns the three features with the largest shares: the mean of the members' attributions,
    /// by weight and, for `combine: mean`, by how far each member's score stands out. Members that
    /// did not vote are left out where any did.
    fn causes(&self, table: &FeatureTable, row: usize, scores: &[MemberScore]) -> Vec<Cause> {
        let columns = &table.table.columns;
        let values =
            columns.iter().map(|column| column.values[row]).collect::<ndarray::Array1<f64>>();
        let any_vote = scores.iter().any(|score| score.vote);
        let mut shares = vec![0.0; columns.len()];
        for (member, score) in self.members.iter().zip(scores) {
            let weight = match self.manifest.vote.combine {
                _ if any_vote && !score.vote => continue,
                Combine::Votes => member.weight.to_f64(),
                Combine::Mean => {
                    member.weight.to_f64()
                        * member.series.scale.standardised(score.decision).max(0.0)
                }
            };
            let attribution = member.detector.attribution(values.view());
            shares.iter_mut().zip(attribution).for_each(|(share, part)| *share += weight * part);
        }
        let shares = detector::shares(shares);
        let mut order: Vec<usize> =
            (0..shares.len()).filter(|&column| shares[column] > 0.0).collect();
        order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]).then(a.cmp(b)));
        let causes = order.into_iter().take(3).map(|column| {
            let feature = &self.manifest.contract.columns[column];
            let sketch = self.reference.feature(&feature.name);
            Cause {
                feature: feature.name.clone(),
                share: shares[column],
                value: Some(values[column]).filter(|value| value.is_finite()),
                unit: feature.unit.clone(),
                usual_low: sketch.map_or(0.0, |sketch| sketch.at(0.01)),
                usual_high: sketch.map_or(0.0, |sketch| sketch.at(0.99)),
            }
        });
        causes.collect()
    }
}

fn missing(file: &str) -> StepError {
    StepError::refused(format!("the bundle has no `{file}`"))
}

/// Returns a file's bytes if they are what the manifest says.
fn verified<'a>(
    files: &'a BTreeMap<String, Vec<u8>>,
    record: &FileRecord,
) -> Result<&'a [u8], StepError> {
    let bytes = files.get(&record.file).ok_or_else(|| missing(&record.file))?;
    if artifact::sha256(bytes) == record.sha256 {
        return Ok(bytes);
    }
    Err(StepError::refused(format!("`{}` of the bundle is not what its hash says", record.file))
        .hint("it was changed or cut after it was made: take the bundle from its origin again"))
}

fn loaded(
    manifest: &BundleManifest,
    reference: &Reference,
    member: &Member,
    detector: Box<dyn Detector>,
) -> Result<LoadedMember, StepError> {
    let score = reference.members.get(&member.kind).ok_or_else(|| {
        StepError::refused(format!(
            "`{}` does not know the member `{}`",
            Reference::FILE,
            member.kind
        ))
    })?;
    let logarithmic = detector.is_ratio_scaled();
    let scale = Scale { logarithmic, centre: score.centre, spread: score.spread };
    let fixed = scale.forward(member.limit);
    let rule = LimitRule::new(&manifest.vote.limit, fixed, score.spread, &prior(&scale, score));
    Ok(LoadedMember {
        kind: member.kind.clone(),
        detector,
        weight: manifest.vote.weight(&member.kind),
        series: Series { scale, rule },
    })
}

fn prior(scale: &Scale, score: &crate::reference::ScoreSketch) -> Vec<f64> {
    if score.sketch.quantiles.is_empty() {
        return Vec::new();
    }
    let levels = (0..PRIOR).map(|step| step as f64 / (PRIOR - 1) as f64);
    levels.map(|level| scale.forward(score.sketch.at(level))).collect()
}
