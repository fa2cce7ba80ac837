//! The feature catalogue of a store: groups, their versions, and the parts of each day.
//!
//! ```text
//! catalog/<group>/<version>/group.json                        the contract; immutable
//! catalog/<group>/<version>/date=YYYY-MM-DD/part.parquet      the rows of a day; immutable
//! catalog/<group>/<version>/date=YYYY-MM-DD/statistics.json   what they look like
//! catalog/<group>/<version>/date=YYYY-MM-DD/part.json         written last: the day is there
//! ```
//!
//! Every object is written once. If a day is published twice, the rows of the first publication
//! stay. The next publication completes one that was killed between two objects.

use std::path::Path;

use contract::artifact::{json_bytes, parse_json, sha256_path};
use contract::catalog::{GroupVersion, Part, PartStatistics, Pin, is_group};
use contract::{FeatureContract, OTHER_VERSION_HINT, StepError, TimeRange};
use serde::de::DeserializeOwned;

use crate::object::{Condition, ObjectStore, Put};

/// Objects per request.
const AT_ONCE: usize = 64;

/// The feature groups of a store.
#[derive(Debug, Clone, Copy)]
pub struct Catalog<'a> {
    store: &'a dyn ObjectStore,
}

/// Result for the rows of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// They are in the store, from this publication or an earlier one.
    There,
    /// The store has other rows for the day, which are kept.
    Other(Vec<u8>),
}

impl<'a> Catalog<'a> {
    /// Makes the catalogue of a store; nothing is read or written yet.
    pub fn new(store: &'a dyn ObjectStore) -> Self {
        Self { store }
    }

    /// Returns the names of all groups, in order.
    pub fn groups(&self) -> Result<Vec<String>, StepError> {
        let mut groups = self.store.folders("catalog/")?;
        groups.retain(|name| is_group(name));
        Ok(groups)
    }

    /// Returns the versions of a group, oldest first; none for a group that is not there.
    ///
    /// Errors: usage for an invalid group name.
    pub fn versions(&self, group: &str) -> Result<Vec<u32>, StepError> {
        check_group(group)?;
        let folders = self.store.folders(&format!("catalog/{group}/"))?;
        let mut versions: Vec<u32> = Vec::new();
        for version in folders.iter().filter_map(|name| name.parse().ok()) {
            // A folder without manifest is not a version; `store check` leaves such folders.
            if self.store.get(&manifest_key(group, version))?.is_some() {
                versions.push(version);
            }
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// Returns the manifest of a version.
    ///
    /// Errors: usage for a group or a version that is not there.
    pub fn version(&self, group: &str, version: u32) -> Result<GroupVersion, StepError> {
        check_group(group)?;
        if let Some(found) = self.read::<GroupVersion>(&manifest_key(group, version))? {
            return check_format(found.format, GroupVersion::FORMAT, group).map(|()| found);
        }
        let versions = self.versions(group)?;
        let Some(last) = versions.last() else { return Err(self.no_group(group)?) };
        let known: Vec<String> = versions.iter().map(u32::to_string).collect();
        Err(StepError::usage(format!("feature group `{group}` has no version {version}"))
            .hint(format!("its versions are {}; the latest is {last}", known.join(", "))))
    }

    /// Returns the latest version.
    ///
    /// Errors: usage for a group that is not there.
    pub fn latest(&self, group: &str) -> Result<GroupVersion, StepError> {
        match self.versions(group)?.last() {
            Some(version) => self.version(group, *version),
            None => Err(self.no_group(group)?),
        }
    }

    /// Returns the latest version with a contract, and the latest of all versions.
    pub fn with_contract(
        &self,
        group: &str,
        contract: &FeatureContract,
        labelled: bool,
    ) -> Result<(Option<GroupVersion>, Option<GroupVersion>), StepError> {
        let mut latest = None;
        for version in self.versions(group)?.into_iter().rev() {
            let found = self.version(group, version)?;
            if found.labelled == labelled && found.contract == *contract {
                return Ok((Some(found.clone()), latest.or(Some(found))));
            }
            latest = latest.or(Some(found));
        }
        Ok((None, latest))
    }

    /// Starts a version; returns false if another process started it meanwhile.
    pub fn create(&self, version: &GroupVersion) -> Result<bool, StepError> {
        check_group(&version.group)?;
        let key = manifest_key(&version.group, version.version);
        let put = self.store.put(&key, &json_bytes(version)?, Condition::IfAbsent)?;
        Ok(put != Put::Conflict)
    }

    /// Returns the part of a day, if it is there.
    pub fn part(&self, group: &str, version: u32, date: &str) -> Result<Option<Part>, StepError> {
        let key = key(group, version, date, PART);
        let part = self.read::<Part>(&key)?;
        part.map(|part| check_format(part.format, Part::FORMAT, &key).map(|()| part)).transpose()
    }

    /// Returns the parts of a version, in order of their days.
    pub fn parts(&self, group: &str, version: u32) -> Result<Vec<Part>, StepError> {
        self.read_days(group, version, &self.dates(group, version)?, PART)
    }

    /// Returns the statistics of some days, in their order; a day without a part has none.
    pub fn statistics(
        &self,
        group: &str,
        version: u32,
        dates: &[String],
    ) -> Result<Vec<PartStatistics>, StepError> {
        self.read_days(group, version, dates, STATISTICS)
    }

    /// Returns the parts with a row in a range, in order of their days: what a training of
    /// that range reads.
    ///
    /// Errors: usage for a group or a version that is not there.
    pub fn pins(
        &self,
        group: &str,
        version: u32,
        TimeRange { after, until }: TimeRange,
    ) -> Result<Vec<Pin>, StepError> {
        self.version(group, version)?;
        let (first, last) = (after.date(), until.date());
        let mut dates = self.dates(group, version)?;
        dates.retain(|date| first <= *date && *date <= last);
        let parts: Vec<Part> = self.read_days(group, version, &dates, PART)?;
        let due = parts.into_iter().filter(|part| part.last > after && part.first <= until);
        let pin = |part: Part| Pin {
            group: group.to_owned(),
            version,
            date: part.date,
            sha256: part.sha256,
            rows: part.rows,
        };
        Ok(due.map(pin).collect())
    }

    /// Writes the rows of a day, a Parquet file, unless rows of that day are there already.
    pub fn put_rows(
        &self,
        group: &str,
        version: u32,
        date: &str,
        parquet: &[u8],
    ) -> Result<Rows, StepError> {
        let key = key(group, version, date, ROWS);
        if self.store.put(&key, parquet, Condition::IfAbsent)? != Put::Conflict {
            return Ok(Rows::There);
        }
        let there = self.store.get(&key)?.ok_or_else(|| {
            StepError::lost_race(format!("`{key}` was removed while it was being published"))
                .hint("run again")
        })?;
        Ok(if there.bytes == parquet { Rows::There } else { Rows::Other(there.bytes) })
    }

    /// Writes the statistics and then the record of a day whose rows are in the store. Objects that
    /// another process has already written for the same rows are kept.
    pub fn put_part(
        &self,
        group: &str,
        version: u32,
        part: &Part,
        statistics: &PartStatistics,
    ) -> Result<(), StepError> {
        let objects = [(STATISTICS, json_bytes(statistics)?), (PART, json_bytes(part)?)];
        for (file, bytes) in objects {
            let key = key(group, version, &part.date, file);
            drop(self.store.put(&key, &bytes, Condition::IfAbsent)?);
        }
        Ok(())
    }

    /// Copies the rows of a pinned part into a file.
    ///
    /// Errors: refused for rows that are missing, or that differ from the pinned rows.
    pub fn fetch(&self, pin: &Pin, path: &Path) -> Result<(), StepError> {
        check_group(&pin.group)?;
        let key = key(&pin.group, pin.version, &pin.date, ROWS);
        let of_store = || format!("`{key}` of {}", self.store.describe());
        if !self.store.get_file(&key, path)? {
            return Err(StepError::refused(format!("{} is gone", of_store()))
                .hint("Lynceus never removes parts: restore the object from a backup"));
        }
        let found = sha256_path(path)?;
        if found == pin.sha256 {
            return Ok(());
        }
        Err(StepError::refused(format!(
            "{} has SHA-256 {found}, and {} is pinned",
            of_store(),
            pin.sha256
        ))
        .hint(
            "parts never change: the object was damaged or replaced by hand. Restore it from a \
             backup",
        ))
    }

    /// Returns the URL of a version's folder without secrets, for other programs.
    pub fn url(&self, group: &str, version: u32) -> String {
        format!("{}/catalog/{group}/{version}", self.store.describe())
    }

    /// Returns the days that have a folder, in order; a killed publication leaves a folder without
    /// a part.
    fn dates(&self, group: &str, version: u32) -> Result<Vec<String>, StepError> {
        let folders = self.store.folders(&format!("catalog/{group}/{version}/"))?;
        let date = |folder: &String| folder.strip_prefix("date=").map(str::to_owned);
        Ok(folders.iter().filter_map(date).collect())
    }

    fn read_days<T: DeserializeOwned>(
        &self,
        group: &str,
        version: u32,
        dates: &[String],
        file: &str,
    ) -> Result<Vec<T>, StepError> {
        let keys: Vec<String> = dates.iter().map(|date| key(group, version, date, file)).collect();
        let mut read = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            for (key, object) in keys.iter().zip(self.store.get_many(keys)?) {
                read.extend(object.map(|object| parse_json(key, &object.bytes)).transpose()?);
            }
        }
        Ok(read)
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StepError> {
        self.store.get(key)?.map(|object| parse_json(key, &object.bytes)).transpose()
    }

    fn no_group(&self, group: &str) -> Result<StepError, StepError> {
        let known = self.groups()?;
        let error = StepError::usage(format!(
            "there is no feature group `{group}` in {}",
            self.store.describe()
        ));
        Ok(match known.as_slice() {
            [] => error.hint("`lynceus features publish PIPELINE --group GROUP` creates one"),
            known => error.hint(format!("groups: {}", known.join(", "))),
        })
    }
}

const ROWS: &str = "part.parquet";
const STATISTICS: &str = "statistics.json";
const PART: &str = "part.json";

fn key(group: &str, version: u32, date: &str, file: &str) -> String {
    format!("catalog/{group}/{version}/date={date}/{file}")
}

fn manifest_key(group: &str, version: u32) -> String {
    format!("catalog/{group}/{version}/group.json")
}

fn check_group(group: &str) -> Result<(), StepError> {
    if is_group(group) {
        return Ok(());
    }
    let shown: String = group.chars().take(80).flat_map(char::escape_debug).collect();
    Err(StepError::usage(format!("`{shown}` cannot name a feature group"))
        .hint("a name is lower-case letters, digits and `_`, and begins with a letter"))
}

fn check_format(found: u32, known: u32, what: &str) -> Result<(), StepError> {
    if found == known {
        return Ok(());
    }
    Err(StepError::refused(format!(
        "`{what}` of the feature catalogue has format {found}, this version reads format {known}"
    ))
    .hint(OTHER_VERSION_HINT))
}

#[cfg(test)]
mod tests;
