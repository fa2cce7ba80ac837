//! The second stage inside a bundle: adding it, naming the kind of fault of alarms, and its
//! metrics.

use std::collections::BTreeMap;
use std::path::Path;

use contract::StepError;
use contract::bundle::{DiagnosisMember, FileRecord};
use contract::score::{Diagnosed, Verdict};
use detectors::diagnosis::{Diagnosis, KIND, UNKNOWN};
use frames::FeatureTable;

use crate::candidate::{check_features, read_files, read_manifest};
use crate::scoring::{ScoreOptions, ScoreState};
use crate::{Bundle, matrix};

/// Name of the second stage's file in a bundle.
const FILE: &str = "diagnose.safetensors";

/// Alarmed rows by label and then by the predicted kind.
pub type Confusion = BTreeMap<String, BTreeMap<String, u64>>;

/// Returns whether a candidate folder holds a second stage.
pub fn is_diagnosis(folder: &Path) -> Result<bool, StepError> {
    Ok(read_manifest(folder)?.kind == KIND)
}

impl Bundle {
    /// Reads the second stage from its candidate folder. Refused are one that was fitted on other
    /// features, and one that does not match its SHA-256.
    pub fn add_diagnosis(&mut self, folder: &Path) -> Result<(), StepError> {
        let (candidate, bytes) = read_files(folder)?;
        check_features(&candidate, &self.manifest.contract)?;
        if self.diagnosis.is_some() {
            return Err(StepError::usage(format!("two candidates are `{KIND}`"))
                .hint("name each candidate once"));
        }
        let diagnosis = Diagnosis::load(&bytes)?;
        self.manifest.diagnosis = Some(DiagnosisMember {
            model: FileRecord { file: FILE.to_owned(), sha256: candidate.model.sha256 },
            seed: candidate.seed,
            parameters: candidate.parameters,
            kinds: diagnosis.kinds().to_vec(),
            cross_validation: candidate.cross_validation,
        });
        self.set_diagnosis(diagnosis)?;
        self.keep_file(FILE, bytes);
        Ok(())
    }

    /// Returns the kind of fault of an alarm; `None` without a second stage, or for other rows.
    pub(crate) fn diagnosed(
        &self,
        table: &FeatureTable,
        row: usize,
        verdict: Verdict,
    ) -> Option<Diagnosed> {
        let diagnosis = self.diagnosis.as_ref().filter(|_| verdict == Verdict::Anomalous)?;
        let values: Vec<f64> =
            table.table.columns.iter().map(|column| column.values[row]).collect();
        Some(diagnosis.diagnose(&values))
    }

    /// Scores a part of the data set, and returns the predicted kinds of its alarmed rows with
    /// anomalous labels; `None` without a second stage or labels. `before` as in
    /// [`Bundle::measure`].
    pub fn measure_diagnosis(
        &self,
        part: &FeatureTable,
        before: &ScoreState,
        normal: &[String],
        threads: usize,
    ) -> Result<Option<Confusion>, StepError> {
        let (Some(diagnosis), Some(labels)) = (&self.diagnosis, &part.labels) else {
            return Ok(None);
        };
        let options = ScoreOptions { min_completeness: 0.0, threads };
        let judgements = self.judge(part, &mut before.clone(), options)?;
        let values = matrix(part);
        let mut confusion = Confusion::new();
        for (row, judgement) in judgements.iter().enumerate() {
            let label = &labels.label[row];
            let counts = judgement.verdict == Verdict::Anomalous
                && !labels.excluded[row]
                && !frames::is_normal(normal, label);
            if counts {
                let called = diagnosis.diagnose(&values.row(row).to_vec()).kind;
                *confusion.entry(label.clone()).or_default().entry(called).or_insert(0) += 1;
            }
        }
        Ok(Some(confusion))
    }

    /// Returns the number of rows of a confusion matrix, and the share with the correct kind: their
    /// label, or `unknown` if that kind was not learned. `None` without rows.
    pub fn diagnosis_figures(&self, confusion: &Confusion) -> Option<[(&'static str, f64); 2]> {
        let kinds = self.diagnosis.as_ref()?.kinds();
        let (mut rows, mut right) = (0, 0);
        for (label, called) in confusion {
            let expected = if kinds.contains(label) { label } else { UNKNOWN };
            rows += called.values().sum::<u64>();
            right += called.get(expected).copied().unwrap_or(0);
        }
        let share = right as f64 / rows as f64;
        (rows > 0).then_some([("diagnosis_rows", rows as f64), ("diagnosis_right", share)])
    }
}
