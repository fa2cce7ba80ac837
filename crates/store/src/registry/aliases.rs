//! Aliases: changed by compare-and-set, with a history of every change.

use contract::artifact::json_bytes;
use contract::{StepError, Timestamp};

use super::Registry;
use crate::alias::{AliasRecord, Change};
use crate::key::check_part;
use crate::object::{Condition, Put, for_each_key};

impl Registry<'_> {
    /// Returns the names of the existing aliases, in order.
    pub fn aliases(&self) -> Result<Vec<String>, StepError> {
        let prefix = format!("models/{}/aliases/", self.pipeline);
        let mut aliases = Vec::new();
        for_each_key(self.store, &prefix, |key| {
            let name = key.strip_prefix(&prefix).and_then(|name| name.strip_suffix(".json"));
            aliases.extend(name.map(str::to_owned));
            Ok(())
        })?;
        Ok(aliases)
    }

    /// Reads an alias; `None` if it was never set.
    pub fn alias(&self, alias: &str) -> Result<Option<AliasRecord>, StepError> {
        let key = self.alias_key(alias)?;
        let Some(object) = self.store.get(&key)? else { return Ok(None) };
        Ok(Some(AliasRecord { etag: object.etag, ..AliasRecord::parse(&key, &object.bytes)? }))
    }

    /// Points an alias at a version, if the alias is still `expected` (as read by
    /// [`Registry::alias`], `None` for a new alias); returns the new record. Promoting the same
    /// version again is a normal change, but a rollback still goes back to another version.
    ///
    /// Errors: [`contract::ErrorKind::LostRace`] when another process has changed the alias since;
    /// refused when the version is not registered.
    pub fn promote(
        &self,
        change: &Change<'_>,
        expected: Option<&AliasRecord>,
    ) -> Result<AliasRecord, StepError> {
        let is_again = |live: &&AliasRecord| live.version == change.version;
        let previous = match expected.filter(is_again) {
            Some(live) => live.previous.clone(),
            None => expected.map(|live| live.version.clone()),
        };
        self.set(change, expected, previous)
    }

    /// Rolls an alias back to its previous version; a repeated rollback goes further back. The
    /// reason, if there is one, follows the version it leaves in the history.
    ///
    /// Errors: refused if there is no previous version, lost race as for [`Registry::promote`].
    pub fn rollback(
        &self,
        alias: &str,
        now: Timestamp,
        by: &str,
        reason: Option<&str>,
    ) -> Result<AliasRecord, StepError> {
        let current = self.alias(alias)?.ok_or_else(|| {
            StepError::refused(format!("`{}` has no alias `{alias}`", self.pipeline))
                .hint(format!("lynceus models list {} shows its aliases", self.pipeline))
        })?;
        let Some(version) = current.previous.as_deref() else {
            return Err(StepError::refused(format!(
                "alias `{alias}` of `{}` has no version before `{}`",
                self.pipeline, current.version
            ))
            .hint("promote a version by name"));
        };
        let history = self.history(alias)?;
        let earlier = history.iter().rev().filter(|entry| entry.change < current.change);
        let restored = earlier.into_iter().find(|entry| entry.version == version);
        let previous = restored.and_then(|entry| entry.previous.clone());
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let why = format!("rolled back from `{}`{reason}", current.version);
        self.set(&Change { alias, version, now, by, why: &why }, Some(&current), previous)
    }

    /// Returns every change of an alias, oldest first; the last one is the current version.
    pub fn history(&self, alias: &str) -> Result<Vec<AliasRecord>, StepError> {
        // The alias is read first, so that the listing contains entries that are appended in the
        // meantime.
        let current = self.alias(alias)?;
        let prefix = format!("models/{}/history/{alias}/", self.pipeline);
        let mut keys = Vec::new();
        for_each_key(self.store, &prefix, |key| {
            keys.push(key.to_owned());
            Ok(())
        })?;
        let objects = self.store.get_many(&keys)?;
        let present =
            keys.iter().zip(&objects).filter_map(|(key, object)| Some((key, object.as_ref()?)));
        let mut entries = present
            .map(|(key, object)| AliasRecord::parse(key, &object.bytes))
            .collect::<Result<Vec<_>, _>>()?;
        // Its entry is missing if the process that set the alias was killed before it wrote the
        // entry.
        if let Some(current) = current
            && !entries.iter().any(|entry| entry.change == current.change)
        {
            entries.push(AliasRecord { etag: String::new(), ..current });
        }
        entries.sort_by_key(|entry| entry.change);
        Ok(entries)
    }

    /// Writes a record's history entry if it is missing, because the process that set the alias may
    /// have been killed before it wrote the entry. Every change of the alias does this first.
    pub fn complete_history(&self, alias: &str, record: &AliasRecord) -> Result<(), StepError> {
        let time = record.since.compact();
        let name = format!("history/{alias}/{time}-{:08}.json", record.change);
        let key = format!("models/{}/{name}", self.pipeline);
        match self.store.put(&key, &json_bytes(record)?, Condition::IfAbsent)? {
            Put::Written(_) | Put::Conflict => Ok(()),
        }
    }

    fn set(
        &self,
        change: &Change<'_>,
        expected: Option<&AliasRecord>,
        previous: Option<String>,
    ) -> Result<AliasRecord, StepError> {
        let key = self.alias_key(change.alias)?;
        self.manifest(change.version)?;
        // Only this process can write the history entry of the record that it replaces.
        if let Some(expected) = expected {
            self.complete_history(change.alias, expected)?;
        }
        let mut record = AliasRecord {
            format: AliasRecord::FORMAT,
            version: change.version.to_owned(),
            since: change.now,
            by: change.by.to_owned(),
            why: change.why.to_owned(),
            previous,
            change: expected.map_or(0, |expected| expected.change).saturating_add(1),
            etag: String::new(),
        };
        let condition = expected.map_or(Condition::IfAbsent, |old| Condition::IfMatch(&old.etag));
        match self.store.put(&key, &json_bytes(&record)?, condition)? {
            Put::Written(etag) => record.etag = etag,
            Put::Conflict => {
                return Err(StepError::lost_race(format!(
                    "alias `{}` of `{}` was changed by another process",
                    change.alias, self.pipeline
                ))
                .hint("run again: the version is then compared with the one that is live now"));
            }
        }
        self.complete_history(change.alias, &record)?;
        Ok(record)
    }

    fn alias_key(&self, alias: &str) -> Result<String, StepError> {
        check_part(alias)?;
        Ok(format!("models/{}/aliases/{alias}.json", self.pipeline))
    }
}
