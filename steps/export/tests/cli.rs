//! The program as pods run it.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use support::{Place, minute};

#[test]
fn export_without_sinks_writes_its_output_alone() {
    let place = Place::new("  {}\n", 100);
    place.score(101..=101, &[]);
    assert_eq!(place.export(101), [""; 0]);
    assert_eq!(place.exported().sinks, []);
}

#[test]
fn store_that_does_not_exist_is_a_usage_error() {
    let place = Place::new("  {}\n", 100);
    let mut args = place.args(minute(100));
    args.store = "ftp://host/store".into();
    assert_eq!(place.output(&args).status.code(), Some(2));
    assert!(!place.path("exported.json").exists());
}
