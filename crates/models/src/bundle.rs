//! A bundle: the models, their calibration and the vote, verified and ready to score.

use std::collections::BTreeMap;
use std::path::Path;

use contract::artifact;
use contract::bundle::{AlarmLevels, BundleManifest, FileRecord, Member};
use contract::rules::{Combine, Threshold};
use contract::{Decimal, OTHER_VERSION_HINT, StepError};
use frames::FeatureTable;
use fs_err as fs;

use crate::alarm::AlarmRule;
use crate::reference::Reference;
use crate::threshold::ThresholdRule;
use crate::vote::Scale;
use crate::{Diagnosis, Model, ScoreOptions, ScoreState};

/// Evenly spaced quantiles of the reference that stand in for a past not yet seen.
const PRIOR: usize = 121;

/// Takes a part of a table after the other.
type EachPart<'a> = dyn FnMut(&FeatureTable) -> Result<(), StepError> + 'a;

/// A bundle in memory.
#[derive(Debug)]
pub struct Bundle {
    pub(crate) manifest: BundleManifest,
    pub(crate) reference: Reference,
    files: BTreeMap<String, Vec<u8>>,
    pub(crate) members: Vec<LoadedMember>,
    pub(crate) combined: Series,
    /// State of scoring at the end of the data set, with which live scoring begins.
    pub(crate) initial: ScoreState,
    /// State before the test part, if there is one.
    pub(crate) before_test: Option<ScoreState>,
    /// The second stage, which names the kind of fault of an alarm.
    pub(crate) diagnosis: Option<Diagnosis>,
}

#[derive(Debug)]
pub(crate) struct LoadedMember {
    pub(crate) kind: String,
    pub(crate) model: Model,
    pub(crate) weight: Decimal,
    pub(crate) series: Series,
}

/// A series of scores with its scale and threshold.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) scale: Scale,
    pub(crate) rule: ThresholdRule,
    /// A threshold by expected false alarms; `rule` is then not used.
    pub(crate) alarms: Option<AlarmRule>,
}

/// Reads every file of a bundle folder, by name.
pub fn files_of(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, StepError> {
    let read_error = |e: std::io::Error| StepError::reading(folder, &e);
    let mut files = BTreeMap::new();
    for name in artifact::files_below(folder).map_err(read_error)? {
        let bytes = fs::read(folder.join(&name)).map_err(read_error)?;
        files.insert(name, bytes);
    }
    Ok(files)
}

/// Reads the manifest of a bundle from its files by name; one of another format is refused.
pub(crate) fn manifest_of(files: &BTreeMap<String, Vec<u8>>) -> Result<BundleManifest, StepError> {
    let file = BundleManifest::FILE;
    let manifest = files.get(file).ok_or_else(|| missing(file))?;
    let manifest: BundleManifest = artifact::parse_json(file, manifest)?;
    if manifest.format == BundleManifest::FORMAT {
        return Ok(manifest);
    }
    Err(StepError::refused(format!(
        "`{file}` has format {}, this version reads {}",
        manifest.format,
        BundleManifest::FORMAT
    ))
    .hint(OTHER_VERSION_HINT))
}

impl Bundle {
    /// Reads a bundle folder; a missing or additional file, or one that does not match its SHA-256,
    /// is refused.
    pub fn read(folder: &Path) -> Result<Self, StepError> {
        Self::from_files(&files_of(folder)?)
    }

    /// Reads a bundle from its files by name, as a registry returns them.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, StepError> {
        Self::from_some(files, |_| true)
    }

    /// [`Bundle::from_files`] for a bundle that continues from a stored state. Then the file with
    /// its initial state may be missing ([`Bundle::begins_with`]), which is by far the largest file
    /// if there are many entities.
    pub fn for_state(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, StepError> {
        Self::from_some(files, |memory| files.contains_key(&memory.file))
    }

    /// Returns whether a bundle needs a file to score from this state on.
    pub fn begins_with(manifest: &BundleManifest, state: &ScoreState, file: &FileRecord) -> bool {
        let goes_on = state.reference_sha256 == manifest.reference.sha256;
        let is = |record: &Option<FileRecord>| {
            record.as_ref().is_some_and(|record| record.file == file.file)
        };
        !(is(&manifest.memory_before_test) || is(&manifest.memory) && goes_on)
    }

    fn from_some(
        files: &BTreeMap<String, Vec<u8>>,
        remembers: impl Fn(&FileRecord) -> bool,
    ) -> Result<Self, StepError> {
        let manifest = manifest_of(files)?;
        if manifest.classify.is_some() {
            return Err(StepError::refused("the bundle is of `task: classify`, not `anomaly`")
                .hint("train again: the task of the document has changed"));
        }
        let reference = Reference::parse(verified(files, &manifest.reference)?)?;
        let models = manifest.members.iter().map(|member| {
            let bytes = verified(files, &member.model)?;
            let model = Model::load(&member.kind, bytes).map_err(|e| StepError {
                message: format!("`{}`: {}", member.model.file, e.message),
                ..e
            })?;
            Ok(model)
        });
        let models = models.collect::<Result<Vec<_>, StepError>>()?;
        let state = |record: Option<&FileRecord>| {
            let record = record.filter(|record| remembers(record));
            let state = record.map(|r| ScoreState::parse(&r.file, verified(files, r)?));
            state.transpose()
        };
        let initial = state(manifest.memory.as_ref())?.unwrap_or_default();
        let before_test = state(manifest.memory_before_test.as_ref())?;
        let second = manifest.diagnosis.as_ref().map(|member| &member.model);
        let diagnosis = second.map(|record| Diagnosis::load(verified(files, record)?));
        let diagnosis = diagnosis.transpose()?;
        let kept = manifest.files();
        let kept =
            kept.filter_map(|record| Some((record.file.clone(), files.get(&record.file)?.clone())));
        let files = kept.collect();
        let bundle = Self::new(manifest, reference, models, files)?;
        let mut bundle = Self { initial, before_test, ..bundle };
        if let Some(diagnosis) = diagnosis {
            bundle.set_diagnosis(diagnosis)?;
        }
        Ok(bundle)
    }

    /// Adds a second stage, which must fit the bundle's features.
    pub(crate) fn set_diagnosis(&mut self, diagnosis: Diagnosis) -> Result<(), StepError> {
        let (columns, found) = (self.manifest.contract.columns.len(), diagnosis.columns());
        if found != columns {
            return Err(StepError::damaged(format!(
                "`{}` has {columns} features, its second stage takes {found}",
                BundleManifest::FILE
            )));
        }
        self.diagnosis = Some(diagnosis);
        Ok(())
    }

    pub(crate) fn keep_file(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(name.to_owned(), bytes);
    }

    /// Puts the parts together; `files` holds every file the manifest names.
    pub(crate) fn new(
        manifest: BundleManifest,
        reference: Reference,
        models: Vec<Model>,
        files: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, StepError> {
        let refused =
            |what: String| StepError::damaged(format!("`{}` {what}", BundleManifest::FILE));
        let columns = manifest.contract.columns.len();
        if models.is_empty() {
            return Err(refused("has no members".to_owned()));
        }
        let mut members: Vec<LoadedMember> = Vec::new();
        for (member, model) in manifest.members.iter().zip(models) {
            if model.columns() != columns {
                let found = model.columns();
                let kind = &member.kind;
                return Err(refused(format!("has {columns} features, its `{kind}` takes {found}")));
            }
            if members.iter().any(|other| other.kind == member.kind) {
                return Err(refused(format!("has two members `{}`", member.kind)));
            }
            members.push(loaded(&manifest, &reference, member, model)?);
        }
        let score = &reference.combined;
        let scale = Scale { logarithmic: false, centre: score.centre, spread: score.spread };
        let prior = prior(&scale, score);
        // Only `combine: mean` has a threshold here; no score is above infinity.
        let fixed = manifest.combined_threshold.unwrap_or(f64::INFINITY);
        if manifest.vote.combine == Combine::Mean && manifest.combined_threshold.is_none() {
            return Err(refused("combines by mean and has no `combined_threshold`".to_owned()));
        }
        let rule = ThresholdRule::new(&manifest.vote.threshold, fixed, score.spread, &prior);
        let alarms = alarm_rule(&manifest, manifest.combined_levels);
        let combined = Series { scale, rule, alarms };
        Ok(Self {
            manifest,
            reference,
            files,
            members,
            combined,
            initial: ScoreState::default(),
            before_test: None,
            diagnosis: None,
        })
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &BundleManifest {
        &self.manifest
    }

    /// Returns the quantile sketches of the calibration rows.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Returns the members' models, in the order of the manifest.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.members.iter().map(|member| &member.model)
    }

    /// Sets the state with which scoring begins.
    pub(crate) fn begin_with(&mut self, initial: ScoreState) -> Result<(), StepError> {
        self.manifest.memory = Some(self.add_state(ScoreState::FILE, &initial)?);
        self.initial = initial;
        Ok(())
    }

    fn add_state(&mut self, file: &str, state: &ScoreState) -> Result<FileRecord, StepError> {
        let bytes = state.to_bytes()?;
        let record = FileRecord { file: file.to_owned(), sha256: artifact::sha256(&bytes) };
        self.files.insert(file.to_owned(), bytes);
        Ok(record)
    }

    /// Scores the test part, so that scoring begins after it, and records the state before it; does
    /// nothing for a bundle without a state.
    pub fn advance(&mut self, test: &FeatureTable, threads: usize) -> Result<(), StepError> {
        self.advance_over(threads, |each| each(test))
    }

    /// [`Bundle::advance`] over a test part that is read in parts, in the order of time: `test` calls
    /// with each of them.
    pub fn advance_over(
        &mut self,
        threads: usize,
        test: impl FnOnce(&mut EachPart<'_>) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        if self.manifest.memory.is_none() {
            return Ok(());
        }
        let before = self.initial.clone();
        let mut state = before.clone();
        let options = ScoreOptions { min_completeness: 0.0, threads };
        test(&mut |part| self.judge(part, &mut state, options).map(drop))?;
        self.manifest.memory_before_test =
            Some(self.add_state(ScoreState::BEFORE_TEST_FILE, &before)?);
        self.before_test = Some(before);
        self.begin_with(state)
    }

    /// Adds the metrics on a part of the data set (`validation`, `test`).
    pub fn set_metrics(&mut self, part: &str, metrics: BTreeMap<String, f64>) {
        let finite = metrics.into_iter().filter(|(_, value)| value.is_finite()).collect();
        self.manifest.metrics.insert(part.to_owned(), finite);
    }

    /// Returns every file of the bundle by name; the same bundle gives the same bytes.
    pub fn to_files(&self) -> Result<BTreeMap<String, Vec<u8>>, StepError> {
        with_manifest(&self.files, &self.manifest)
    }

    /// Writes the bundle as a folder that appears whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<(), StepError> {
        write_files(folder, &self.to_files()?)
    }

    /// Returns the table with the columns of the model. The table may have additional columns;
    /// missing or different ones are refused as by [`check_contract`](Self::check_contract).
    pub fn columns_of(&self, table: FeatureTable) -> Result<FeatureTable, StepError> {
        let table = table.with_columns_of(&self.manifest.contract);
        self.check_contract(&table)?;
        Ok(table)
    }

    /// Refuses features of another contract, naming the first difference.
    pub fn check_contract(&self, table: &FeatureTable) -> Result<(), StepError> {
        check_same_features(&self.manifest, table)
    }
}

/// Returns every file of a bundle by name: its own and the manifest.
pub(crate) fn with_manifest(
    files: &BTreeMap<String, Vec<u8>>,
    manifest: &BundleManifest,
) -> Result<BTreeMap<String, Vec<u8>>, StepError> {
    let mut files = files.clone();
    files.insert(BundleManifest::FILE.to_owned(), artifact::json_bytes(manifest)?);
    Ok(files)
}

/// Writes the files of a bundle as a folder that appears whole or not at all.
pub(crate) fn write_files(
    folder: &Path,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(), StepError> {
    artifact::write_folder(folder, |partial| {
        files.iter().try_for_each(|(name, bytes)| artifact::write_file(&partial.join(name), bytes))
    })
}

/// What to do about features of another contract.
pub(crate) const OTHER_DATA_HINT: &str =
    "train again, or score with the document the model was trained with";

/// Refuses features of another contract than a bundle's, naming the first difference.
pub(crate) fn check_same_features(
    manifest: &BundleManifest,
    table: &FeatureTable,
) -> Result<(), StepError> {
    match manifest.contract.first_difference(&table.contract) {
        None => Ok(()),
        Some(difference) => Err(StepError::refused(format!(
            "the features are not what the model was trained on: {difference}"
        ))
        .hint(OTHER_DATA_HINT)),
    }
}

fn missing(file: &str) -> StepError {
    StepError::refused(format!("the bundle has no `{file}`"))
        .hint("copy the whole folder of the bundle, or train again")
}

/// Returns a file's bytes if they match the manifest.
pub(crate) fn verified<'a>(
    files: &'a BTreeMap<String, Vec<u8>>,
    record: &FileRecord,
) -> Result<&'a [u8], StepError> {
    let bytes = files.get(&record.file).ok_or_else(|| missing(&record.file))?;
    if artifact::sha256(bytes) == record.sha256 {
        return Ok(bytes);
    }
    Err(StepError::refused(format!("`{}` of the bundle does not match its SHA-256", record.file))
        .hint(
            "it was changed or truncated after it was written: copy the bundle again from its \
             origin",
        ))
}

fn loaded(
    manifest: &BundleManifest,
    reference: &Reference,
    member: &Member,
    model: Model,
) -> Result<LoadedMember, StepError> {
    let score = reference.members.get(&member.kind).ok_or_else(|| {
        StepError::damaged(format!("`{}` has no member `{}`", Reference::FILE, member.kind))
    })?;
    let logarithmic = model.is_ratio_scaled();
    let scale = Scale { logarithmic, centre: score.centre, spread: score.spread };
    let fixed = scale.forward(member.threshold);
    let rule =
        ThresholdRule::new(&manifest.vote.threshold, fixed, score.spread, &prior(&scale, score));
    Ok(LoadedMember {
        kind: member.kind.clone(),
        model,
        weight: manifest.vote.weight(&member.kind),
        series: Series { scale, rule, alarms: alarm_rule(manifest, member.levels) },
    })
}

fn alarm_rule(manifest: &BundleManifest, levels: Option<AlarmLevels>) -> Option<AlarmRule> {
    match &manifest.vote.threshold {
        Threshold::FalseAlarms(threshold) => {
            levels.map(|levels| AlarmRule::new(threshold, levels, manifest.contract.step))
        }
        Threshold::Quantile(_) | Threshold::Trailing(_) => None,
    }
}

fn prior(scale: &Scale, score: &crate::reference::ScoreSketch) -> Vec<f64> {
    if score.sketch.quantiles.is_empty() {
        return Vec::new();
    }
    let levels = (0..PRIOR).map(|step| step as f64 / (PRIOR - 1) as f64);
    levels.map(|level| scale.forward(score.sketch.at(level))).collect()
}
