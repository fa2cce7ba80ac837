//! Checks the permissions of this process's user in a store by trying each of them.
//!
//! Each part of the store is tried with an object of a pipeline name that no document can have, so
//! existing objects are not touched. An object that may not be deleted stays; the next check
//! overwrites it.

use contract::{ErrorKind, StepError};
use serde::Serialize;

use crate::object::{Condition, ObjectStore, Put};

const CONTENT: &[u8] = b"Lynceus tries here what it may do.\n";

/// Parts of the store with different permissions: name, an object in it, the roles that read it,
/// the roles that write it.
const AREAS: [(&str, &str, &str, &str); 11] = [
    ("versions", "models/_check/versions/_check/bundle.json", "trainer scorer reader", "trainer"),
    ("aliases", "models/_check/aliases/_check.json", "trainer scorer reader", "trainer"),
    ("history", "models/_check/history/_check/_check.json", "trainer scorer reader", "trainer"),
    ("runs", "runs/_check/_check/run.json", "trainer reader", "trainer"),
    ("catalog", "catalog/_check/_check/group.json", "trainer scorer reader", "trainer"),
    ("inputs", "inputs/_check/_check.csv", "trainer reader", ""),
    ("samples", "samples/_check/_check/_check.json", "trainer scorer reader recorder", "recorder"),
    ("scores", "scores/_check/_check.json", "scorer reader", "scorer"),
    ("watermark", "state/_check/watermark.json", "scorer reader", "scorer"),
    ("alerts", "state/_check/alerts.json", "trainer scorer reader", "trainer scorer"),
    ("messages", "messages/_check/date=_check/_check.json", "reader", "trainer scorer"),
];

/// Prefix of names that are not pipelines: no document can have such a name, and listings of
/// pipelines leave them out.
const NO_PIPELINE: char = '_';

/// Returns whether a folder belongs to a pipeline, and is not left over from a check.
pub fn is_pipeline(name: &str) -> bool {
    !name.starts_with(NO_PIPELINE)
}

/// Returns the keys of the objects of a check, which stay in the store if they may not be deleted.
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    AREAS.into_iter().map(|(_, key, ..)| key)
}

/// The roles of `minio/policies/`.
pub const ROLES: [&str; 4] = ["trainer", "scorer", "reader", "recorder"];

/// Permissions in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The store's URL.
    pub store: String,
    /// One entry for each part of the store.
    pub areas: Vec<Area>,
    /// Missing and unnecessary permissions for each role.
    pub roles: Vec<Role>,
    /// Objects of the check that may not be deleted.
    pub left_behind: Vec<String>,
}

/// Permissions in a part of the store.
#[expect(clippy::struct_excessive_bools, reason = "a row of a table of yes and no")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Area {
    /// Its name: `versions`, `aliases`, `history`, `runs`, `catalog`, `inputs`, `scores`,
    /// `watermark`, `alerts`,
    /// `messages`.
    pub name: &'static str,
    /// Names of objects may be listed.
    pub list: bool,
    /// Objects may be read.
    pub read: bool,
    /// Objects may be written.
    pub write: bool,
    /// Conditional writes are allowed, and the conditions are honoured.
    pub compare: bool,
    /// Objects may be deleted; no role needs this. Absent if it was not tried: in a folder it
    /// cannot be tried if no object could be written.
    pub delete: Option<bool>,
    /// The causes, with the store's messages and hints.
    pub refusals: Vec<Refusal>,
}

/// A refused operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What failed, and why.
    pub why: String,
    /// How to correct it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Fitness of a user for a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Role {
    /// `trainer`, `scorer`, `reader` or `recorder`.
    pub role: &'static str,
    /// Permissions that the role needs and this user lacks, as in `write scores`.
    pub lacks: Vec<String>,
    /// Permissions of this user that the role does not need.
    pub beyond: Vec<String>,
}

/// Tries a store part by part.
///
/// Errors: if the store cannot be reached or listed; a missing permission is not an error.
pub fn check(store: &dyn ObjectStore) -> Result<Check, StepError> {
    // Wrong credentials or a missing bucket make every operation fail, so they are reported once.
    store.list("", None, 1)?;
    let mut left_behind = Vec::new();
    let mut areas = Vec::new();
    for (name, key, ..) in AREAS {
        areas.push(area(store, name, key, &mut left_behind)?);
    }
    let roles = ROLES.map(|role| as_role(role, &areas)).into();
    Ok(Check { store: store.describe(), areas, roles, left_behind })
}

fn area(
    store: &dyn ObjectStore,
    name: &'static str,
    key: &str,
    left_behind: &mut Vec<String>,
) -> Result<Area, StepError> {
    let mut refusals = Vec::new();
    let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
    let list = allowed(store.list(folder, None, 1), &mut refusals)?.is_some();
    let read = allowed(store.get(key), &mut refusals)?.is_some();
    let written = allowed(store.put(key, CONTENT, Condition::Any), &mut refusals)?;
    let mut compare = false;
    if let Some(Put::Written(etag)) = &written {
        compare = allowed(compares(store, key, etag), &mut refusals)?.is_some();
    }
    // A bucket refuses to delete a missing object; a folder does not.
    let is_tried = written.is_some() || store.describe().starts_with("s3://");
    let delete =
        if is_tried { Some(allowed(store.delete(key), &mut refusals)?.is_some()) } else { None };
    if written.is_some() && delete != Some(true) {
        left_behind.push(key.to_owned());
    }
    Ok(Area { name, list, read, write: written.is_some(), compare, delete, refusals })
}

/// Checks that a false condition prevents a write, and that a true one does not.
fn compares(store: &dyn ObjectStore, key: &str, etag: &str) -> Result<(), StepError> {
    let wrong = |what: &str| {
        StepError::usage(format!("store `{}`: {what} (`{key}`)", store.describe()))
            .hint("use a server with conditional writes: minio/README.md names some")
    };
    if store.put(key, CONTENT, Condition::IfAbsent)? != Put::Conflict {
        return Err(wrong("an object that was there was written as if it were not"));
    }
    if store.put(key, CONTENT, Condition::IfMatch("00000000000000000000000000000000"))?
        != Put::Conflict
    {
        return Err(wrong("an object was replaced by who does not know it"));
    }
    match store.put(key, CONTENT, Condition::IfMatch(etag))? {
        Put::Written(_) => Ok(()),
        Put::Conflict => Err(wrong("an object was not replaced by who knows it")),
    }
}

/// Distinguishes missing permissions from failures.
fn allowed<T>(
    done: Result<T, StepError>,
    refusals: &mut Vec<Refusal>,
) -> Result<Option<T>, StepError> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind == ErrorKind::Usage => {
            refusals.push(Refusal { why: error.message, hint: error.hint });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn as_role(role: &'static str, areas: &[Area]) -> Role {
    let (mut lacks, mut beyond) = (Vec::new(), Vec::new());
    for (area, (name, _, readers, writers)) in areas.iter().zip(AREAS) {
        let (reads, writes) = (readers.contains(role), writers.contains(role));
        for (what, may, needs) in [
            ("read", area.list && area.read, reads),
            ("write", area.write, writes),
            ("delete in", area.delete == Some(true), false),
        ] {
            match (may, needs) {
                (false, true) => lacks.push(format!("{what} {name}")),
                (true, false) => beyond.push(format!("{what} {name}")),
                _ => {}
            }
        }
        if writes && area.write && !area.compare {
            lacks.push(format!("conditional writes in {name}"));
        }
    }
    Role { role, lacks, beyond }
}
