//! Shards of a pipeline: keys of their own, and parts of one version.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::bundle::BundleManifest;
use contract::score::{EntityScore, Verdict, WindowScore};
use contract::{ErrorKind, Shard, Span, Timestamp};
use fs_err as fs;
use store::garbage::{self, Kind, Retention};
use store::{
    Condition, FolderStore, ObjectStore, Put, Registry, Watermark, Whole, open_shard, scores,
    shard, state, watermark,
};
use support::{PIPELINE, time, write_bundle};

fn minute(number: i64) -> Timestamp {
    time("2026-11-21T08:36:00Z") + Span::from_seconds(60 * number)
}

/// A folder with a store, as it is and as each of two shards sees it.
struct Place {
    temp: tempfile::TempDir,
    whole: FolderStore,
    shards: Vec<Box<dyn ObjectStore>>,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("store");
        let whole = FolderStore::open(&folder).unwrap();
        let shards = Shard::all(2);
        let shards = shards.into_iter().map(|shard| open(&folder, Some(shard))).collect();
        Self { temp, whole, shards }
    }

    fn open(&self, shard: Option<Shard>) -> Box<dyn ObjectStore> {
        open(&self.temp.path().join("store"), shard)
    }
}

fn open(folder: &Path, shard: Option<Shard>) -> Box<dyn ObjectStore> {
    open_shard(folder.to_str().unwrap(), shard).unwrap()
}

fn write(store: &dyn ObjectStore, key: &str, bytes: &[u8]) {
    assert_ne!(store.put(key, bytes, Condition::Any).unwrap(), Put::Conflict);
}

fn entity(name: &str) -> EntityScore {
    let text = format!(
        r#"{{"entity": "{name}", "verdict": "normal", "completeness": 1.0, "votes": "0", "members": [], "causes": []}}"#
    );
    let entity: EntityScore = serde_json::from_str(&text).unwrap();
    assert_eq!(entity.verdict, Verdict::Normal);
    entity
}

fn window(number: i64, entities: &[&str]) -> WindowScore {
    let entities = entities.iter().map(|name| entity(name)).collect();
    WindowScore::new(PIPELINE, minute(number), "v", entities)
}

#[test]
fn shard_has_states_and_scores_of_its_own_and_shares_all_else() {
    let place = Place::new();
    for (number, store) in place.shards.iter().enumerate() {
        let end = minute(i64::try_from(number).unwrap());
        watermark::write(store.as_ref(), PIPELINE, &Watermark::new(end), None).unwrap();
        state::write(store.as_ref(), PIPELINE, "alerts", &number, None).unwrap();
        assert!(scores::write_once(store.as_ref(), &window(0, &["a"])).unwrap());
    }
    let mut keys = place.whole.list("", None, 99).unwrap();
    keys.retain(|key| !key.starts_with("models/"));
    let of = |shard: &str| {
        [
            format!("scores/cluster/{shard}/date=2026-11-21/20261121T083600Z.json"),
            format!("state/cluster/{shard}/alerts.json"),
            format!("state/cluster/{shard}/watermark.safetensors"),
        ]
    };
    let mut expected = [of("shard=0-of-2"), of("shard=1-of-2")].concat();
    expected.sort();
    assert_eq!(keys, expected);
    for (number, store) in place.shards.iter().enumerate() {
        let end = watermark::scored_to(store.as_ref(), PIPELINE).unwrap();
        assert_eq!(end, Some(minute(i64::try_from(number).unwrap())));
        let alerts = state::read::<usize>(store.as_ref(), PIPELINE, "alerts").unwrap();
        assert_eq!(alerts.map(|stored| stored.value), Some(number));
        // It sees the keys as a pipeline without shards does.
        let listed = store.list("scores/cluster/", None, 9).unwrap();
        assert_eq!(listed, ["scores/cluster/date=2026-11-21/20261121T083600Z.json"]);
        assert!(store.list("scores/cluster/", Some(&listed[0]), 9).unwrap().is_empty());
        assert_eq!(store.folders("scores/cluster/").unwrap(), ["date=2026-11-21"]);
        let key = format!("models/{PIPELINE}/x.json");
        write(store.as_ref(), &key, b"{}");
        assert!(place.whole.get(&key).unwrap().is_some());
        store.delete(&listed[0]).unwrap();
    }
    assert!(place.whole.list("scores/", None, 9).unwrap().is_empty());
    assert_eq!(shard::of_pipeline(&place.whole, PIPELINE).unwrap(), Shard::all(2));
}

#[test]
fn window_of_the_whole_has_the_entities_of_all_shards() {
    let place = Place::new();
    let [first, second] = [place.shards[0].as_ref(), place.shards[1].as_ref()];
    // Before it had shards, the pipeline was scored as a whole.
    scores::write_once(&place.whole, &window(0, &["a", "b", "c"])).unwrap();
    for number in 1..4 {
        scores::write_once(first, &window(number, &["b"])).unwrap();
    }
    for number in [1, 3] {
        scores::write_once(second, &window(number, &["a", "c"])).unwrap();
    }
    watermark::write(first, PIPELINE, &Watermark::new(minute(3)), None).unwrap();
    watermark::write(second, PIPELINE, &Watermark::new(minute(2)), None).unwrap();

    let whole = Whole::open(&place.whole, PIPELINE).unwrap();
    let read = |after: Option<i64>, until: i64| -> Vec<(Timestamp, String)> {
        let windows = whole.read_after(after.map(minute), minute(until));
        let names = |window: WindowScore| {
            window.entities.into_iter().map(|entity| entity.entity).collect::<String>()
        };
        windows.map(|window| window.unwrap()).map(|it| (it.time, names(it))).collect()
    };
    let all = [(0, "abc"), (1, "abc"), (2, "b"), (3, "abc")];
    let all: Vec<_> = all.iter().map(|(at, names)| (minute(*at), (*names).to_owned())).collect();
    assert_eq!(read(None, 9), all);
    assert_eq!(read(Some(0), 2), all[1..3]);
    assert_eq!(whole.scored_to().unwrap(), Some(minute(3)));
    assert_eq!(whole.read(minute(3)).unwrap().map(|it| it.entities.len()), Some(3));
    assert!(whole.read(minute(4)).unwrap().is_none());

    let broken = "scores/cluster/shard=1-of-2/date=2026-11-21/20261121T083900Z.json";
    write(&place.whole, broken, b"{");
    let mut windows = whole.read_after(Some(minute(2)), minute(9));
    assert!(windows.next().unwrap().unwrap_err().message.contains(broken));
    assert!(windows.next().is_none());
}

/// Registers bundles of two shards.
fn register(place: &Place) -> String {
    let write = |number: usize| -> PathBuf {
        let folder = place.temp.path().join(format!("bundle{number}"));
        write_bundle(&folder, minute(9), &number.to_le_bytes()).unwrap()
    };
    let metrics = contract::deployment::Figures::from([(
        "test".to_owned(),
        BTreeMap::from([("rows".to_owned(), 7.0)]),
    )]);
    let registry = Registry::new(&place.whole, PIPELINE);
    registry.put_parts(&[write(0), write(1)], metrics).unwrap()
}

#[test]
fn version_has_a_part_for_each_shard() {
    let place = Place::new();
    let version = register(&place);
    assert_eq!(register(&place), version, "registering it again changes nothing");
    let registry = Registry::new(&place.whole, PIPELINE);
    assert_eq!(registry.versions().unwrap(), [version.as_str()]);
    let manifest = registry.manifest(&version).unwrap();
    assert_eq!(manifest.parts.len(), 2);
    assert!((manifest.metrics["test"]["rows"] - 7.0).abs() < f64::EPSILON);
    let cache = place.temp.path().join("cache");
    for (number, store) in place.shards.iter().enumerate() {
        let registry = Registry::new(store.as_ref(), PIPELINE);
        for _ in 0..2 {
            let files = registry.fetch(&version, Some(&cache)).unwrap();
            let own = place.temp.path().join(format!("bundle{number}"));
            for (name, bytes) in &files {
                assert_eq!(*bytes, fs::read(own.join(name)).unwrap(), "{name}");
            }
            assert!(files.contains_key(BundleManifest::FILE));
            assert!(files.contains_key("z_score.safetensors"));
        }
    }
}

#[test]
fn version_of_another_number_of_shards_is_refused_with_both_numbers() {
    let place = Place::new();
    let version = register(&place);
    for (shard, words) in [
        (None, "was trained with 2 shards, and is to be used without shards"),
        (Shard::new(0, 3), "was trained with 2 shards, and is to be used with 3 shards"),
    ] {
        let store = place.open(shard);
        let error = Registry::new(store.as_ref(), PIPELINE).fetch(&version, None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.message.contains(words), "{error}");
    }
    let bundle = write_bundle(&place.temp.path().join("whole"), minute(3), b"x").unwrap();
    let registry = Registry::new(&place.whole, PIPELINE);
    let version = registry.put_version(&bundle).unwrap();
    registry.fetch(&version, None).unwrap();
    let of_shard = Registry::new(place.shards[0].as_ref(), PIPELINE);
    let error = of_shard.fetch(&version, None).unwrap_err();
    assert!(error.message.contains("was trained without shards"), "{error}");
}

#[test]
fn part_that_is_not_what_its_version_vouches_for_is_refused() {
    let place = Place::new();
    let version = register(&place);
    let folder = place.temp.path().join("store/models/cluster/versions").join(&version);
    let fetch =
        |shard: usize| Registry::new(place.shards[shard].as_ref(), PIPELINE).fetch(&version, None);
    fs::write(folder.join("shard-1/z_score.safetensors"), b"other").unwrap();
    assert!(fetch(1).unwrap_err().message.contains("shard-1/z_score.safetensors"));
    fs::write(folder.join("shard-1/bundle.json"), b"{}").unwrap();
    assert!(fetch(1).unwrap_err().message.contains("shard-1/bundle.json"));
    fetch(0).unwrap();
}

#[test]
fn old_scores_of_shards_are_garbage_as_those_of_a_whole_are() {
    let place = Place::new();
    let now = minute(0);
    for key in [
        "scores/cluster/shard=0-of-2/date=2025-01-01/20250101T000000Z.json",
        "messages/cluster/shard=1-of-2/date=2025-01-01/x.json",
        "scores/cluster/shard=0-of-2/date=2026-11-21/20261121T083600Z.json",
        "scores/cluster/date=2025-01-01/20250101T000000Z.json",
    ] {
        write(&place.whole, key, b"{}");
    }
    let days = Span::from_seconds(86_400 * 30);
    let retention =
        Retention { now, keep: days, keep_scores: days, untouched: Span::from_seconds(60) };
    let found = garbage::find(&place.whole, retention).unwrap();
    let kinds: Vec<(Kind, &str)> = found.iter().map(|it| (it.kind, it.name.as_str())).collect();
    let day = "2025-01-01";
    assert_eq!(kinds, [(Kind::Scores, day), (Kind::Scores, day), (Kind::Messages, day)]);
    for garbage in &found {
        assert!(garbage::remove(&place.whole, garbage).unwrap());
    }
    let left = place.whole.list("scores/", None, 9).unwrap();
    assert_eq!(left, ["scores/cluster/shard=0-of-2/date=2026-11-21/20261121T083600Z.json"]);
}
