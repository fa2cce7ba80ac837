//! `dataset/`: the validated rows, split in order of time.

use std::path::Path;

use contract::StepError;

use crate::FeatureTable;

/// The three parts of a data set; none holds warm-up rows.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// What models are fitted on.
    pub train: FeatureTable,
    /// What calibrates scores and limits.
    pub validation: FeatureTable,
    /// What only measures; it may have no rows.
    pub test: FeatureTable,
}

impl Dataset {
    /// Names of the parts' files.
    pub const FILES: [&str; 3] = ["train.parquet", "validation.parquet", "test.parquet"];

    /// Name of a further file: the labelled rows of the train part, anomalous ones too. It is there
    /// where something is fitted on labels.
    pub const LABELLED_FILE: &str = "labelled.parquet";

    /// Reads the three parts of a folder.
    pub fn read(folder: &Path) -> Result<Self, StepError> {
        let [train, validation, test] =
            Self::FILES.map(|file| FeatureTable::read(&folder.join(file)));
        Ok(Self { train: train?, validation: validation?, test: test? })
    }

    /// Writes the three parts into a folder that is there.
    pub fn write(&self, folder: &Path) -> Result<(), StepError> {
        for (file, part) in Self::FILES.iter().zip([&self.train, &self.validation, &self.test]) {
            part.write(&folder.join(file))?;
        }
        Ok(())
    }
}
