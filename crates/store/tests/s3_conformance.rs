//! The store in a bucket does what every store must do, on every server.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod conformance;
mod s3_servers;

use s3_servers::on_every_server;
use store::ObjectStore;

fn on_a_new_store(name: &str, law: fn(&dyn ObjectStore) -> anyhow::Result<()>) {
    on_every_server(|server| law(&server.store(name)?)).unwrap();
}

#[test]
fn written_objects_are_read() {
    on_a_new_store("a", conformance::written_objects_are_read);
}

#[test]
fn many_new_objects_are_written_once_each() {
    on_a_new_store("l", conformance::many_new_objects_are_written_once_each);
}

#[test]
fn a_condition_that_does_not_hold_changes_nothing() {
    on_a_new_store("b/c", conformance::a_condition_that_does_not_hold_changes_nothing);
}

#[test]
fn one_of_many_concurrent_writers_wins() {
    on_a_new_store("d", conformance::one_of_many_concurrent_writers_wins);
}

#[test]
fn invalid_key_is_a_usage_error() {
    on_a_new_store("e", conformance::invalid_key_is_a_usage_error);
}

#[test]
fn files_go_in_and_out_whole() {
    on_a_new_store("f", conformance::files_go_in_and_out_whole);
}

#[test]
fn listing_a_dot_before_a_slash_is_sorted_by_bytes() {
    on_a_new_store("g", conformance::listing_a_dot_before_a_slash_is_sorted_by_bytes);
}

#[test]
fn folders_are_named_once_and_hold_something() {
    on_a_new_store("i", conformance::folders_are_named_once_and_hold_something);
}

#[test]
fn an_object_knows_when_it_was_written() {
    on_a_new_store("j", conformance::an_object_knows_when_it_was_written);
}

#[test]
fn owner_has_all_permissions_and_check_leaves_nothing() {
    on_a_new_store("k", conformance::owner_has_all_permissions_and_check_leaves_nothing);
}

#[test]
fn any_listing_is_a_part_of_the_sorted_keys() {
    on_a_new_store("h", |store| {
        conformance::any_listing_is_a_part_of_the_sorted_keys(store, 40, false)
    });
}
