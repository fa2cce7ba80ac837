use contract::catalog::Origin;
use contract::{ErrorKind, FeatureColumn, Span, Timestamp, artifact};

use super::*;
use crate::FolderStore;

fn contract(names: &[&str]) -> FeatureContract {
    let column = |name: &&str| FeatureColumn {
        name: (*name).to_owned(),
        unit: String::new(),
        formula: "sample".to_owned(),
    };
    FeatureContract {
        format: FeatureContract::FORMAT,
        step: Span::from_seconds(60),
        lookback: Span::ZERO,
        fill: "none".to_owned(),
        columns: names.iter().map(column).collect(),
    }
}

fn origin() -> Origin {
    Origin {
        pipeline: "node".to_owned(),
        run: "r".to_owned(),
        now: Timestamp::from_ms(0),
        document_sha256: "0".repeat(64),
    }
}

fn version(number: u32, names: &[&str]) -> GroupVersion {
    GroupVersion {
        format: GroupVersion::FORMAT,
        group: "golden".to_owned(),
        version: number,
        contract: contract(names),
        contract_sha256: contract(names).sha256().unwrap(),
        labelled: false,
        description: String::new(),
        owner: String::new(),
        tags: Vec::new(),
        why: "first".to_owned(),
        origin: origin(),
    }
}

/// Midnight of 2026-11-`day`.
fn day(day: i64) -> Timestamp {
    Timestamp::from_ms(1_793_491_200_000) + Span::from_seconds(86_400 * (day - 1))
}

fn part(number: i64, bytes: &[u8]) -> Part {
    Part {
        format: Part::FORMAT,
        date: day(number).date(),
        sha256: artifact::sha256(bytes),
        size_bytes: bytes.len() as u64,
        rows: 2,
        entities: 1,
        first: day(number),
        last: day(number) + Span::from_seconds(86_340),
        is_whole: true,
        origin: Some(origin()),
    }
}

fn publish(catalog: &Catalog<'_>, number: i64, bytes: &[u8]) -> Rows {
    let part = part(number, bytes);
    let rows = catalog.put_rows("golden", 1, &part.date, bytes).unwrap();
    if rows == Rows::There {
        let statistics = PartStatistics { format: 1, rows: 2, columns: Vec::new() };
        catalog.put_part("golden", 1, &part, &statistics).unwrap();
    }
    rows
}

#[test]
fn versions_sort_by_number_and_a_contract_finds_its_latest() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path()).unwrap();
    let catalog = Catalog::new(&store);
    for number in [1, 2, 10] {
        let names: &[&str] = if number == 2 { &["b"] } else { &["a"] };
        assert!(catalog.create(&version(number, names)).unwrap());
    }
    assert!(!catalog.create(&version(10, &["c"])).unwrap(), "a version is begun once");
    assert_eq!(catalog.versions("golden").unwrap(), [1, 2, 10]);
    assert_eq!(catalog.latest("golden").unwrap().contract, contract(&["a"]));
    let of = |names: &[&str], labelled| {
        let (found, latest) = catalog.with_contract("golden", &contract(names), labelled).unwrap();
        (found.map(|it| it.version), latest.map(|it| it.version))
    };
    assert_eq!(of(&["a"], false), (Some(10), Some(10)));
    assert_eq!(of(&["b"], false), (Some(2), Some(10)));
    assert_eq!(of(&["b"], true), (None, Some(10)), "labels are part of a version");
    let error = catalog.version("golden", 3).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert!(error.hint.unwrap().contains("1, 2, 10"));
    let error = catalog.latest("gold").unwrap_err();
    assert!(error.hint.unwrap().contains("golden"));
    assert_eq!(catalog.versions("../x").unwrap_err().kind, ErrorKind::Usage);
}

#[test]
fn day_published_twice_keeps_the_first_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path()).unwrap();
    let catalog = Catalog::new(&store);
    catalog.create(&version(1, &["a"])).unwrap();
    assert_eq!(publish(&catalog, 3, b"rows"), Rows::There);
    assert_eq!(publish(&catalog, 3, b"rows"), Rows::There);
    assert_eq!(publish(&catalog, 3, b"others"), Rows::Other(b"rows".to_vec()));
    let parts = catalog.parts("golden", 1).unwrap();
    assert_eq!(parts, [part(3, b"rows")]);
}

#[test]
fn killed_publication_is_no_part_until_another_one_completes_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path()).unwrap();
    let catalog = Catalog::new(&store);
    catalog.create(&version(1, &["a"])).unwrap();
    // Killed after the rows.
    catalog.put_rows("golden", 1, &day(2).date(), b"rows").unwrap();
    assert_eq!(catalog.parts("golden", 1).unwrap(), []);
    assert_eq!(catalog.pins("golden", 1, TimeRange { after: day(1), until: day(5) }).unwrap(), []);
    assert_eq!(publish(&catalog, 2, b"rows"), Rows::There);
    assert_eq!(catalog.parts("golden", 1).unwrap().len(), 1);
}

#[test]
fn pins_are_the_parts_of_a_range_and_a_changed_part_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = FolderStore::open(folder.path()).unwrap();
    let catalog = Catalog::new(&store);
    catalog.create(&version(1, &["a"])).unwrap();
    for number in [2, 3, 4, 6] {
        publish(&catalog, number, format!("rows of {number}").as_bytes());
    }
    let pins = |after, until| {
        let pins = catalog.pins("golden", 1, TimeRange { after, until }).unwrap();
        pins.into_iter().map(|pin| pin.date).collect::<Vec<_>>()
    };
    assert_eq!(pins(day(3), day(6)), ["2026-11-03", "2026-11-04", "2026-11-06"]);
    // The last row of the 3rd is not after the last minute of that day.
    assert_eq!(pins(day(4) - Span::from_seconds(60), day(5)), ["2026-11-04"]);
    assert_eq!(pins(day(7), day(9)), [""; 0]);
    let range = |after, until| TimeRange { after: day(after), until: day(until) };
    let error = catalog.pins("golden", 2, range(1, 2)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    let pin = catalog.pins("golden", 1, range(2, 3)).unwrap().remove(0);
    let path = folder.path().join("rows");
    catalog.fetch(&pin, &path).unwrap();
    assert_eq!(fs_err::read(&path).unwrap(), b"rows of 2");
    let key = key("golden", 1, &pin.date, ROWS);
    drop(store.put(&key, b"other", Condition::Any).unwrap());
    assert_eq!(catalog.fetch(&pin, &path).unwrap_err().kind, ErrorKind::Refused);
    store.delete(&key).unwrap();
    assert_eq!(catalog.fetch(&pin, &path).unwrap_err().kind, ErrorKind::Refused);
}
