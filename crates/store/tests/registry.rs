//! Versions, aliases and their history.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::Path;

use contract::bundle::{BundleManifest, DiagnosisMember, FileRecord};
use contract::{ErrorKind, Span, StepError, Timestamp};
use fs_err as fs;
use store::{Change, Condition, FolderStore, Object, ObjectStore, Put, Registry};
use support::{PIPELINE, time, write_bundle};

const START: &str = "2026-11-21T08:36:00Z";

fn minute(number: i64) -> Timestamp {
    time(START) + Span::from_seconds(60 * number)
}

fn change(version: &str, now: Timestamp) -> Change<'_> {
    Change { alias: "live", version, now, by: "test", why: "because" }
}

/// Registers `count` versions, oldest first.
fn versions(registry: &Registry<'_>, temp: &Path, count: i64) -> Vec<String> {
    let put = |number: i64| {
        let folder = temp.join(format!("bundle{number}"));
        let bytes = number.to_le_bytes();
        registry.put_version(&write_bundle(&folder, minute(number), &bytes).unwrap()).unwrap()
    };
    (0..count).map(put).collect()
}

/// A store in which the process dies before it writes below a prefix.
#[derive(Debug)]
struct DiesAt<'a>(&'a FolderStore, &'static str);

impl ObjectStore for DiesAt<'_> {
    fn describe(&self) -> String {
        self.0.describe()
    }
    fn get(&self, key: &str) -> Result<Option<Object>, StepError> {
        self.0.get(key)
    }
    fn put(&self, key: &str, bytes: &[u8], condition: Condition<'_>) -> Result<Put, StepError> {
        if key.contains(self.1) {
            return Err(StepError::unavailable("dead"));
        }
        self.0.put(key, bytes, condition)
    }
    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, StepError> {
        self.0.list(prefix, after, limit)
    }
    fn folders(&self, folder: &str) -> Result<Vec<String>, StepError> {
        self.0.folders(folder)
    }
    fn modified(&self, keys: &[String]) -> Result<Vec<Option<Timestamp>>, StepError> {
        self.0.modified(keys)
    }
    fn delete(&self, key: &str) -> Result<(), StepError> {
        self.0.delete(key)
    }
    fn put_file(&self, key: &str, path: &Path) -> Result<String, StepError> {
        self.0.put_file(key, path)
    }
    fn get_file(&self, key: &str, path: &Path) -> Result<bool, StepError> {
        self.0.get_file(key, path)
    }
}

#[test]
fn a_version_is_named_by_its_bytes_and_comes_back_verified() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    assert!(registry.versions().unwrap().is_empty());
    let bundle = write_bundle(&temp.path().join("b"), time(START), b"weights").unwrap();
    let version = registry.put_version(&bundle).unwrap();
    assert!(version.starts_with("20261121T083600Z-"), "{version}");
    assert_eq!(registry.put_version(&bundle).unwrap(), version, "again changes nothing");
    assert_eq!(registry.versions().unwrap(), [version.as_str()]);
    assert_eq!(registry.manifest(&version).unwrap().members[0].kind, "z_score");
    let files = registry.fetch(&version, None).unwrap();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["bundle.json", "reference.json", "z_score.safetensors"]
    );
    assert_eq!(files["z_score.safetensors"], b"weights");
}

#[test]
fn every_file_that_a_manifest_names_is_registered_and_only_wanted_ones_are_fetched() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    let bundle = write_bundle(&temp.path().join("b"), time(START), b"weights").unwrap();
    let record = |file: &str| {
        fs::write(bundle.join(file), file).unwrap();
        FileRecord { file: file.to_owned(), sha256: hash(file.as_bytes()) }
    };
    let path = bundle.join(BundleManifest::FILE);
    let mut manifest: BundleManifest = contract::read_json(&path).unwrap();
    manifest.memory = Some(record("memory.safetensors"));
    manifest.memory_before_test = Some(record("memory-before-test.safetensors"));
    manifest.diagnosis = Some(DiagnosisMember {
        model: record("diagnosis.safetensors"),
        seed: 1,
        parameters: serde_json::Value::Null,
        kinds: vec!["cpu".to_owned()],
        cross_validation: None,
    });
    contract::write_json(&path, &manifest).unwrap();
    let version = registry.put_version(&bundle).unwrap();
    let names = ["bundle.json", "diagnosis.safetensors", "memory-before-test.safetensors"];
    let rest = ["memory.safetensors", "reference.json", "z_score.safetensors"];
    let files = registry.fetch(&version, None).unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), [&names[..], &rest[..]].concat());
    let wanted = |_: &BundleManifest, record: &FileRecord| !record.file.starts_with("memory");
    let files = registry.fetch_where(&version, None, wanted).unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), [&names[..2], &rest[1..]].concat());
}

#[test]
fn a_version_without_its_manifest_does_not_exist() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    let bundle = write_bundle(&temp.path().join("b"), time(START), b"weights").unwrap();
    let dying = DiesAt(&store, "bundle.json");
    assert_eq!(
        Registry::new(&dying, PIPELINE).put_version(&bundle).unwrap_err().kind,
        ErrorKind::Unavailable
    );
    let registry = Registry::new(&store, PIPELINE);
    assert!(registry.versions().unwrap().is_empty());
    let version = registry.put_version(&bundle).unwrap();
    assert_eq!(registry.fetch(&version, None).unwrap().len(), 3);
}

#[test]
fn changed_bytes_are_refused_naming_the_file_and_both_hashes() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("store");
    let store = FolderStore::open(&root).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    let bundle = write_bundle(&temp.path().join("b"), time(START), b"weights").unwrap();
    let version = registry.put_version(&bundle).unwrap();
    let stored = |file: &str| root.join(format!("models/cluster/versions/{version}/{file}"));

    fs::write(stored("z_score.safetensors"), b"Weights").unwrap();
    let error = registry.fetch(&version, None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    for words in ["z_score.safetensors", &hash(b"Weights"), &hash(b"weights")] {
        assert!(error.message.contains(words), "{error}");
    }
    assert_eq!(registry.put_version(&bundle).unwrap_err().kind, ErrorKind::Refused, "immutable");
    fs::remove_file(stored("z_score.safetensors")).unwrap();
    assert_eq!(registry.fetch(&version, None).unwrap_err().kind, ErrorKind::Refused);

    let manifest = fs::read_to_string(stored(BundleManifest::FILE)).unwrap();
    fs::write(stored(BundleManifest::FILE), manifest.replace("\"seed\": 7", "\"seed\": 8"))
        .unwrap();
    let error = registry.fetch(&version, None).unwrap_err();
    assert!(error.message.contains(&version) && error.message.contains("bundle.json"), "{error}");

    fs::write(bundle.join("reference.json"), b"{\"x\":1}\n").unwrap();
    let error = registry.put_version(&bundle).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("reference.json"), "{error}");
}

#[test]
fn the_latest_versions_are_those_that_are_whole() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    assert_eq!(registry.latest_versions(2).unwrap(), (Vec::new(), false));
    let versions = versions(&registry, temp.path(), 5);
    let latest = |limit| registry.latest_versions(limit).unwrap();
    assert_eq!(latest(2), (versions[3..].to_vec(), true));
    assert_eq!(latest(5), (versions.clone(), false));
    assert_eq!(latest(9), (versions.clone(), false));
    assert_eq!(latest(0), (Vec::new(), true));
    for unfinished in [&versions[4], &versions[2]] {
        store.delete(&format!("models/cluster/versions/{unfinished}/bundle.json")).unwrap();
    }
    assert_eq!(latest(1), (versions[3..4].to_vec(), true));
    assert_eq!(latest(2), ([0, 1, 3].map(|n| versions[n].clone())[1..].to_vec(), true));
    assert_eq!(latest(3), ([0, 1, 3].map(|n| versions[n].clone()).to_vec(), false));
}

fn hash(bytes: &[u8]) -> String {
    contract::artifact::sha256(bytes)
}

#[test]
fn a_manifest_cannot_name_files_outside_its_folder() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    let bundle = write_bundle(&temp.path().join("b"), time(START), b"weights").unwrap();
    let path = bundle.join(BundleManifest::FILE);
    let manifest = fs::read_to_string(&path).unwrap();
    for name in ["../secret", "/etc/hostname", ".hidden", "a/b"] {
        fs::write(&path, manifest.replace("z_score.safetensors", name)).unwrap();
        let error = Registry::new(&store, PIPELINE).put_version(&bundle).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "{name}: {error}");
    }
    let error = Registry::new(&store, "other").put_version(&bundle).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
}

#[test]
fn a_cache_spares_the_store_and_is_verified_again() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("store");
    let store = FolderStore::open(&root).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    let version = versions(&registry, temp.path(), 1).remove(0);
    let cache = temp.path().join("cache");
    let files = registry.fetch(&version, Some(&cache)).unwrap();
    fs::rename(&root, temp.path().join("gone")).unwrap();
    assert_eq!(registry.fetch(&version, Some(&cache)).unwrap(), files, "from the cache alone");
    let cached = cache.join(format!("models/cluster/versions/{version}/reference.json"));
    fs::write(&cached, b"broken").unwrap();
    registry.fetch(&version, Some(&cache)).unwrap_err();
    fs::rename(temp.path().join("gone"), &root).unwrap();
    assert_eq!(registry.fetch(&version, Some(&cache)).unwrap(), files, "fetched again");
    assert_eq!(fs::read(&cached).unwrap(), files["reference.json"], "and kept again");
}

#[test]
fn alias_changes_only_with_its_current_version() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    let versions = versions(&registry, temp.path(), 3);
    assert_eq!(registry.alias("live").unwrap(), None);
    let unknown = registry.promote(&change("20261121T083600Z-000000000000", minute(9)), None);
    assert_eq!(unknown.unwrap_err().kind, ErrorKind::Refused);

    let first = registry.promote(&change(&versions[0], minute(10)), None).unwrap();
    assert_eq!(registry.alias("live").unwrap().as_ref(), Some(&first));
    let again = registry.promote(&change(&versions[1], minute(11)), None).unwrap_err();
    assert_eq!(again.kind, ErrorKind::LostRace);
    let second = registry.promote(&change(&versions[1], minute(11)), Some(&first)).unwrap();
    assert_eq!(second.previous.as_ref(), Some(&versions[0]));
    let stale = registry.promote(&change(&versions[2], minute(12)), Some(&first)).unwrap_err();
    assert_eq!(stale.kind, ErrorKind::LostRace);
    assert_eq!(live(&registry), [&versions[0], &versions[1]].map(String::clone));
}

fn live(registry: &Registry<'_>) -> Vec<String> {
    registry.history("live").unwrap().into_iter().map(|entry| entry.version).collect()
}

#[test]
fn a_value_that_came_back_is_not_taken_for_an_unchanged_one() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    let versions = versions(&registry, temp.path(), 2);
    let now = minute(10);
    let first = registry.promote(&change(&versions[0], now), None).unwrap();
    let second = registry.promote(&change(&versions[1], now), Some(&first)).unwrap();
    let third = registry.promote(&change(&versions[0], now), Some(&second)).unwrap();
    let fourth = registry.promote(&change(&versions[1], now), Some(&third)).unwrap();
    assert_ne!(second.etag, fourth.etag);
    let stale = registry.promote(&change(&versions[0], now), Some(&second)).unwrap_err();
    assert_eq!(stale.kind, ErrorKind::LostRace);
    assert_eq!(live(&registry).len(), 4, "changes of the same moment are all kept");
}

#[test]
fn rollback_goes_back_one_version_at_a_time() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    let versions = versions(&registry, temp.path(), 3);
    let back = |number| registry.rollback("live", minute(number), "ada", Some("slow"));
    assert_eq!(back(5).unwrap_err().kind, ErrorKind::Refused, "no alias");
    let mut current = None;
    for (version, number) in versions.iter().zip(10..) {
        let promoted = registry.promote(&change(version, minute(number)), current.as_ref());
        current = Some(promoted.unwrap());
    }
    let record = back(20).unwrap();
    assert_eq!((&record.version, record.by.as_str()), (&versions[1], "ada"));
    assert_eq!(record.why, format!("rolled back from `{}`: slow", versions[2]));
    assert_eq!(back(21).unwrap().version, versions[0]);
    let error = back(22).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.hint.is_some());
    let order = [0, 1, 2, 1, 0].map(|index| versions[index].clone());
    assert_eq!(live(&registry), order);
}

#[test]
fn repeated_promotion_keeps_the_rollback_target() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    let versions = versions(&registry, temp.path(), 2);
    let mut current = None;
    for (index, number) in [0, 0, 1, 1].into_iter().zip(10..) {
        let change = change(&versions[index], minute(number));
        let promoted = registry.promote(&change, current.as_ref());
        current = Some(promoted.unwrap());
    }
    let back = |number| registry.rollback("live", minute(number), "ada", None);
    assert_eq!(back(20).unwrap().version, versions[0]);
    assert_eq!(back(21).unwrap_err().kind, ErrorKind::Refused, "there is no other before it");
    assert_eq!(live(&registry), [0, 0, 1, 1, 0].map(|index| versions[index].clone()));
}

#[test]
fn history_survives_a_crash_between_alias_and_history() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("store")).unwrap();
    let registry = Registry::new(&store, PIPELINE);
    let versions = versions(&registry, temp.path(), 3);
    let first = registry.promote(&change(&versions[0], minute(10)), None).unwrap();
    let dying = DiesAt(&store, "/history/live/20261121T084700Z");
    let died = Registry::new(&dying, PIPELINE)
        .promote(&change(&versions[1], minute(11)), Some(&first))
        .unwrap_err();
    assert_eq!(died.message, "dead");
    let listed = || store.list("models/cluster/history/live/", None, 9).unwrap().len();
    assert_eq!(listed(), 1, "the entry was not written");
    assert_eq!(live(&registry), versions[..2], "and the caller learns of it");
    let current = registry.alias("live").unwrap().unwrap();
    registry.promote(&change(&versions[2], minute(12)), Some(&current)).unwrap();
    assert_eq!(listed(), 3, "the next change has added it");
    assert_eq!(live(&registry), versions);
}
