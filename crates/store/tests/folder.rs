//! The folder store does what every store must do, and keeps to its folder.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod conformance;

use fs_err as fs;
use store::{Condition, FolderStore, ObjectStore};

fn on_a_new_store(law: fn(&dyn ObjectStore) -> anyhow::Result<()>) {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(&temp.path().join("a/store")).unwrap();
    law(&store).unwrap();
}

#[test]
fn written_objects_are_read() {
    on_a_new_store(conformance::written_objects_are_read);
}

#[test]
fn many_new_objects_are_written_once_each() {
    on_a_new_store(conformance::many_new_objects_are_written_once_each);
}

#[test]
fn a_condition_that_does_not_hold_changes_nothing() {
    on_a_new_store(conformance::a_condition_that_does_not_hold_changes_nothing);
}

#[test]
fn one_of_many_concurrent_writers_wins() {
    on_a_new_store(conformance::one_of_many_concurrent_writers_wins);
}

#[test]
fn invalid_key_is_a_usage_error() {
    on_a_new_store(conformance::invalid_key_is_a_usage_error);
}

#[test]
fn files_go_in_and_out_whole() {
    on_a_new_store(conformance::files_go_in_and_out_whole);
}

#[test]
fn listing_a_dot_before_a_slash_is_sorted_by_bytes() {
    on_a_new_store(conformance::listing_a_dot_before_a_slash_is_sorted_by_bytes);
}

#[test]
fn folders_are_named_once_and_hold_something() {
    on_a_new_store(conformance::folders_are_named_once_and_hold_something);
}

#[test]
fn an_object_knows_when_it_was_written() {
    on_a_new_store(conformance::an_object_knows_when_it_was_written);
}

#[test]
fn owner_has_all_permissions_and_check_leaves_nothing() {
    on_a_new_store(conformance::owner_has_all_permissions_and_check_leaves_nothing);
}

#[test]
fn any_listing_is_a_part_of_the_sorted_keys() {
    on_a_new_store(|store| conformance::any_listing_is_a_part_of_the_sorted_keys(store, 200, true));
}

#[test]
fn hidden_and_foreign_files_are_not_listed() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(temp.path()).unwrap();
    assert_ne!(store.put("x/y", b"1", Condition::Any).unwrap(), store::Put::Conflict);
    fs::write(temp.path().join("x/.z"), b"").unwrap();
    fs::write(temp.path().join("x/not a key"), b"").unwrap();
    assert_eq!(store.list("", None, 9).unwrap(), ["x/y"]);
    let hidden = temp.path().join(".lynceus/partial");
    assert_eq!(fs::read_dir(hidden).unwrap().count(), 0, "nothing is left under way");
}

#[test]
fn a_place_that_cannot_be_a_folder_is_a_usage_error_naming_it() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, b"").unwrap();
    let store = FolderStore::open(&file).unwrap();
    let error = store.put("a", b"", Condition::Any).unwrap_err();
    assert_eq!(error.kind, contract::ErrorKind::Usage);
    assert!(error.message.contains(&store.describe()), "{error}");
    assert_eq!(store.get("a").unwrap(), None);
}
