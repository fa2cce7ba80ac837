//! A bundle of `task: classify`: the model, the usual ranges of its classes, and the limits.

use std::collections::BTreeMap;
use std::path::Path;

use contract::artifact;
use contract::bundle::{BundleManifest, FileRecord};
use contract::classify::{ClassManifest, UNKNOWN, declared_class};
use contract::{FeatureContract, StepError};
use frames::FeatureTable;

use super::{ClassModel, Profiles};
use crate::bundle::{
    OTHER_DATA_HINT, check_same_features, files_of, manifest_of, verified, with_manifest,
    write_files,
};

/// A bundle of `task: classify`, verified and ready to use.
#[derive(Debug, Clone)]
pub struct ClassBundle {
    manifest: BundleManifest,
    classify: ClassManifest,
    model: ClassModel,
    profiles: Profiles,
    files: BTreeMap<String, Vec<u8>>,
}

impl ClassBundle {
    /// Reads a bundle folder; a file that is missing or not what its hash says is refused.
    pub fn read(folder: &Path) -> Result<Self, StepError> {
        Self::from_files(&files_of(folder)?)
    }

    /// Reads a bundle from its files by name, as a registry returns them.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, StepError> {
        let manifest = manifest_of(files)?;
        let Some(classify) = manifest.classify.clone() else {
            return Err(StepError::refused("the bundle is of `task: anomaly`, not `classify`")
                .hint("train again: the task of the document has changed"));
        };
        let [member] = manifest.members.as_slice() else {
            let file = BundleManifest::FILE;
            return Err(StepError::damaged(format!("`{file}` does not have exactly one model")));
        };
        let model =
            ClassModel::load(&member.kind, verified(files, &member.model)?).map_err(|e| {
                StepError { message: format!("`{}`: {}", member.model.file, e.message), ..e }
            })?;
        let profiles = verified(files, &classify.profiles)?;
        let profiles: Profiles = artifact::parse_json(Profiles::FILE, profiles)?;
        let named = [&member.model.file, &classify.profiles.file];
        let files =
            named.iter().filter_map(|file| Some(((*file).clone(), files.get(*file)?.clone())));
        let files = files.collect();
        Self { manifest, classify, model, profiles, files }.checked()
    }

    /// Puts a bundle together. The manifest needs no hashes: they are set here.
    pub fn new(
        mut manifest: BundleManifest,
        mut classify: ClassManifest,
        model: ClassModel,
        profiles: Profiles,
    ) -> Result<Self, StepError> {
        let mut files = BTreeMap::new();
        let mut record = |file: &str, bytes: Vec<u8>| {
            let sha256 = artifact::sha256(&bytes);
            files.insert(file.to_owned(), bytes);
            FileRecord { file: file.to_owned(), sha256 }
        };
        classify.profiles = record(Profiles::FILE, artifact::json_bytes(&profiles)?);
        manifest.reference = classify.profiles.clone();
        for member in &mut manifest.members {
            member.model = record(&format!("{}.safetensors", member.kind), model.save()?);
        }
        manifest.classify = Some(classify.clone());
        Self { manifest, classify, model, profiles, files }.checked()
    }

    fn checked(self) -> Result<Self, StepError> {
        let columns = self.manifest.contract.columns.len();
        if self.model.columns() != columns {
            return Err(StepError::damaged(format!(
                "`{}` has {columns} features, its `{}` takes {}",
                BundleManifest::FILE,
                self.model.kind(),
                self.model.columns()
            )));
        }
        if self.model.classes() != self.classify.classes {
            return Err(StepError::damaged(format!(
                "`{}` has other classes than its model",
                BundleManifest::FILE
            )));
        }
        self.profiles.check(&self.manifest.contract, &self.classify.classes)?;
        Ok(self)
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &BundleManifest {
        &self.manifest
    }

    /// Returns what `task: classify` adds to the manifest.
    pub fn classify(&self) -> &ClassManifest {
        &self.classify
    }

    /// Returns the feature contract.
    pub fn contract(&self) -> &FeatureContract {
        &self.manifest.contract
    }

    /// Returns the model.
    pub fn model(&self) -> &ClassModel {
        &self.model
    }

    /// Returns the usual ranges of the classes.
    pub fn profiles(&self) -> &Profiles {
        &self.profiles
    }

    /// Returns the name of a class, or `unknown`.
    pub fn class_name(&self, class: Option<u32>) -> &str {
        let name = class.and_then(|class| self.classify.classes.get(class as usize));
        name.map_or(UNKNOWN, String::as_str)
    }

    /// Returns the class of a declared text, if the bundle has this class.
    pub fn declared(&self, text: &str) -> Option<String> {
        declared_class(&self.classify.rules, text)
            .filter(|class| self.classify.classes.contains(class))
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
    pub fn columns_of(
        &self,
        table: FeatureTable,
        rules: &BTreeMap<String, Vec<String>>,
    ) -> Result<FeatureTable, StepError> {
        let table = table.with_columns_of(&self.manifest.contract);
        self.check_contract(&table, rules)?;
        Ok(table)
    }

    /// Refuses features of another contract, naming the first difference, and a document with other
    /// classes than those learned.
    pub fn check_contract(
        &self,
        table: &FeatureTable,
        rules: &BTreeMap<String, Vec<String>>,
    ) -> Result<(), StepError> {
        check_same_features(&self.manifest, table)?;
        if *rules == self.classify.rules {
            return Ok(());
        }
        let changed = rules
            .iter()
            .find(|(class, patterns)| self.classify.rules.get(*class) != Some(*patterns))
            .map(|(class, _)| class)
            .or_else(|| self.classify.rules.keys().find(|class| !rules.contains_key(*class)));
        let class = changed.map_or("", String::as_str);
        Err(StepError::refused(format!(
            "the classes are not what the model was trained on: `classify.classes.{class}` differs"
        ))
        .hint(OTHER_DATA_HINT))
    }
}
