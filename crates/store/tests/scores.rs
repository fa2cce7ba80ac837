//! Score objects, watermark and states.
#![expect(clippy::unwrap_used, reason = "a test may")]

use contract::score::WindowScore;
use contract::{ErrorKind, Span, Tensors, Timestamp};
use proptest::prelude::*;
use store::{Condition, FolderStore, ObjectStore as _, Put, Watermark, scores, state, watermark};

const PIPELINE: &str = "cluster";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(time: Timestamp, version: &str) -> WindowScore {
    WindowScore::new(PIPELINE, time, version, Vec::new())
}

fn times(
    store: &FolderStore,
    after: Option<Timestamp>,
    until: Timestamp,
) -> Result<Vec<Timestamp>, contract::StepError> {
    scores::read_after(store, PIPELINE, after, until).map(|score| Ok(score?.time)).collect()
}

#[test]
fn the_first_score_of_a_window_stays() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(temp.path()).unwrap();
    let at = time("2026-11-21T23:59:00Z");
    assert_eq!(scores::read(&store, PIPELINE, at).unwrap(), None);
    assert!(scores::write_once(&store, &window(at, "one")).unwrap());
    assert!(!scores::write_once(&store, &window(at, "two")).unwrap());
    assert_eq!(scores::read(&store, PIPELINE, at).unwrap(), Some(window(at, "one")));
    let keys = store.list("", None, 9).unwrap();
    assert_eq!(keys, ["scores/cluster/date=2026-11-21/20261121T235900Z.json"]);
}

#[test]
fn an_object_that_is_no_score_is_refused_by_name() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(temp.path()).unwrap();
    let at = time("2026-11-21T23:59:00Z");
    let key = scores::key(PIPELINE, at);
    let later = WindowScore { format: 99, ..window(at, "one") };
    for bytes in [b"{\"format\": 1".to_vec(), serde_json::to_vec(&later).unwrap()] {
        assert_ne!(store.put(&key, &bytes, Condition::Any).unwrap(), Put::Conflict);
        let error = times(&store, None, at).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.message.contains(&key), "{error}");
    }
}

#[test]
fn state_changes_only_with_the_current_etag() {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(temp.path()).unwrap();
    let mark = |seconds: i64| {
        let mut mark = Watermark::new(Timestamp::from_ms(seconds * 1000));
        mark.state = serde_json::json!({"version": "v1"});
        mark.tensors.insert_f64("recent", &[2], vec![0.1, 0.25]);
        mark
    };
    assert_eq!(watermark::read(&store, PIPELINE).unwrap(), None);
    let etag = watermark::write(&store, PIPELINE, &mark(60), None).unwrap();
    let read = watermark::read(&store, PIPELINE).unwrap().unwrap();
    assert_eq!((read.value, read.etag.as_str()), (mark(60), etag.as_str()));
    assert_eq!(watermark::scored_to(&store, PIPELINE).unwrap(), Some(mark(60).scored_to));
    watermark::write(&store, PIPELINE, &mark(120), Some(&etag)).unwrap();
    for stale in [None, Some(etag.as_str())] {
        let error = watermark::write(&store, PIPELINE, &mark(180), stale).unwrap_err();
        assert_eq!(error.kind, ErrorKind::LostRace);
    }
    let text = r#"{"format":2,"scored_to":"2026-11-21T23:59:00Z"}"#;
    let later = Tensors::default().encode_with(watermark::METADATA_KEY, text).unwrap();
    for bytes in [later, b"{}".to_vec()] {
        assert_ne!(
            store.put(&watermark::key(PIPELINE), &bytes, Condition::Any).unwrap(),
            Put::Conflict
        );
        let error = watermark::read(&store, PIPELINE).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.message.contains("state/cluster/watermark.safetensors"), "{error}");
    }
    assert_eq!(state::key(PIPELINE, "alerts"), "state/cluster/alerts.json");
}

/// Reads ranges of the windows that are `steps_ms` apart and compares them with the list of all.
fn read_ranges(steps_ms: &[i64], ranges: &[(usize, usize)]) {
    let temp = tempfile::tempdir().unwrap();
    let store = FolderStore::open(temp.path()).unwrap();
    let mut written = vec![time("2026-11-21T23:59:58Z")];
    for ms in steps_ms {
        written.push(written[written.len() - 1] + Span::from_ms(*ms));
    }
    for at in &written {
        assert!(scores::write_once(&store, &window(*at, "v")).unwrap());
    }
    let last = written[written.len() - 1];
    assert_eq!(times(&store, None, last).unwrap(), written);
    for (after, until) in ranges {
        let after = written.get(*after).copied();
        let until = written.get(*until).copied().unwrap_or(last);
        let due = |at: &&Timestamp| after.is_none_or(|after| **at > after) && **at <= until;
        let expected: Vec<_> = written.iter().filter(due).copied().collect();
        assert_eq!(times(&store, after, until).unwrap(), expected);
    }
}

#[test]
fn a_range_longer_than_a_page_is_read_whole() {
    read_ranges(&[1000; 1001], &[(0, 999), (499, 1001), (500, 1001), (501, 502), (1001, 1001)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Windows of any length, over the ends of seconds and days.
    #[test]
    fn a_range_is_read_in_order_and_once(
        steps_ms in prop::collection::vec(
            prop_oneof![Just(250_i64), Just(60_000), Just(40_000_000)], 0..40),
        ranges in prop::collection::vec((0..50_usize, 0..50_usize), 4),
    ) {
        read_ranges(&steps_ms, &ranges);
    }
}
