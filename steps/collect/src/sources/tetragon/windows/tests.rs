use proptest::prelude::*;

use super::*;

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_ms(format!("{:.0}", 1000.0 * seconds).parse().unwrap())
}

fn event(seconds: f64, entity: &str, what: What) -> Event {
    Event { time: at(seconds), entity: entity.to_owned(), weight: 1.0, key: None, what }
}

fn exec(seconds: f64, program: u64) -> Event {
    let what = What::Exec { program, is_temporary: program == 9, in_container: false };
    Event { key: Some(seconds.to_bits() ^ program), ..event(seconds, "a", what) }
}

fn windows(lateness: i64, quiet: i64) -> Windows {
    let settings = TetragonSource {
        lateness: Span::from_seconds(lateness),
        quiet: Span::from_seconds(quiet),
        events: vec!["exit".to_owned()],
        ..TetragonSource::default()
    };
    Windows::new(&settings, Span::from_seconds(10))
}

fn empty() -> SampleRows {
    SampleRows { columns: vec![Vec::new(); 12], ..SampleRows::default() }
}

/// Seconds, entity and one column of each row.
fn shown(rows: &SampleRows, column: usize) -> Vec<(i64, &str, f64)> {
    let row = |row: usize| {
        let value = rows.columns[column][row].unwrap();
        (rows.times[row].ms() / 1000, rows.entities[row].as_str(), value)
    };
    (0..rows.times.len()).map(row).collect()
}

#[test]
fn a_window_is_closed_once_events_are_its_lateness_past_its_end() {
    let mut windows = windows(5, 300);
    let mut rows = empty();
    for (seconds, program) in [(1.0, 1), (12.0, 2), (9.0, 3), (14.9, 1)] {
        windows.add(exec(seconds, program));
        windows.close_done(&mut rows);
    }
    assert!(rows.times.is_empty());
    windows.add(exec(15.0, 1));
    windows.close_done(&mut rows);
    assert_eq!(shown(&rows, 0), [(10, "a", 2.0)]);
    windows.add(exec(10.0, 1));
    assert_eq!(windows.seen, Seen { events: 5, duplicates: 0, late: 1, incomplete: 1 });
}

#[test]
fn an_event_that_is_read_twice_counts_once() {
    let mut windows = windows(0, 300);
    let mut rows = empty();
    for seconds in [1.0, 2.0, 1.0] {
        windows.add(exec(seconds, 1));
    }
    windows.close(at(10.0), &mut rows);
    assert_eq!(shown(&rows, 0), [(10, "a", 2.0)]);
    assert_eq!(windows.seen.duplicates, 1);
}

#[test]
fn a_quiet_entity_has_zeros_for_a_while_and_then_no_rows() {
    let mut windows = windows(0, 20);
    let mut rows = empty();
    windows.add(exec(5.0, 1));
    windows.add(exec(95.0, 1));
    windows.close(at(100.0), &mut rows);
    let expected = [(10, "a", 1.0), (20, "a", 0.0), (30, "a", 0.0), (100, "a", 1.0)];
    assert_eq!(shown(&rows, 0), expected);
}

#[test]
fn program_entropy_is_in_bits() {
    let mut windows = windows(0, 300);
    let mut rows = empty();
    for (seconds, program) in [(1.0, 1), (2.0, 1), (3.0, 2), (4.0, 9)] {
        windows.add(exec(seconds, program));
    }
    windows.close(at(10.0), &mut rows);
    let values: Vec<f64> = rows.columns.iter().map(|it| it[0].unwrap()).collect();
    assert_eq!(format!("{:?}", &values[..4]), "[4.0, 3.0, 1.5, 1.0]");
    assert_eq!(Counts::new(0).entropy_bits().to_bits(), 0.0_f64.to_bits());
}

#[test]
fn connections_count_destinations_and_ports_and_events_their_columns() {
    let mut windows = windows(0, 300);
    let mut rows = empty();
    let connect = |destination, is_mining| What::Connect { destination, is_mining, column: None };
    for what in [
        connect(1, true),
        connect(1, true),
        connect(2, false),
        What::Other { column: Some(0) },
        What::Other { column: None },
    ] {
        windows.add(event(1.0, "a", what));
    }
    windows.close(at(10.0), &mut rows);
    let values: Vec<f64> = rows.columns.iter().map(|it| it[0].unwrap()).collect();
    assert_eq!(format!("{:?}", &values[5..]), "[3.0, 2.0, 2.0, 1.0, 1.0, 0.0, 1.0]");
}

#[test]
fn windows_with_left_out_events_are_incomplete() {
    let mut windows = windows(0, 300);
    let mut rows = empty();
    let throttle = |seconds, begins| event(seconds, "a", What::Throttled { group: 7, begins });
    for event in [
        exec(5.0, 1),
        exec(15.0, 1),
        event(25.0, "a", What::Dropped(40.0)),
        throttle(36.0, true),
        throttle(52.0, false),
        exec(65.0, 1),
    ] {
        windows.add(event);
        windows.close_done(&mut rows);
    }
    windows.close(at(70.0), &mut rows);
    let incomplete: Vec<f64> = shown(&rows, 11).iter().map(|row| row.2).collect();
    let expected = "[1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]";
    assert_eq!(format!("{incomplete:?}"), expected, "the first begins anywhere");
    assert_eq!(shown(&rows, 10)[2], (30, "a", 40.0));
}

#[test]
fn throttling_without_end_event_expires() {
    let mut windows = windows(0, 10_000);
    let mut rows = empty();
    windows.add(exec(1.0, 1));
    windows.add(event(12.0, "a", What::Throttled { group: 7, begins: true }));
    windows.close(at(1000.0), &mut rows);
    let incomplete = shown(&rows, 11).iter().filter(|row| row.2 > 0.0).count();
    assert_eq!(incomplete, 1 + 61);
}

proptest! {
    #[test]
    fn events_within_the_lateness_give_the_same_rows_in_any_order(
        times in proptest::collection::vec(0_i64..200_000, 1..80), lateness in 0_i64..40,
    ) {
        let rows_of = |times: &[i64]| {
            let mut windows = windows(lateness, 30);
            let mut rows = empty();
            for time in times {
                windows.add(exec(*time as f64 / 1e3, 1 + (*time % 5).unsigned_abs()));
                windows.close_done(&mut rows);
            }
            windows.close(at(300.0), &mut rows);
            (rows, windows.seen.late)
        };
        let mut sorted = times.clone();
        sorted.sort_unstable();
        // Each event is read at most `lateness` after one with a later time.
        let mut shuffled = sorted.clone();
        shuffled.sort_by_key(|time| (time + (time % 7) * lateness * 1000 / 7, *time));
        let (expected, none) = rows_of(&sorted);
        let (found, late) = rows_of(&shuffled);
        prop_assert_eq!((none, late), (0, 0));
        prop_assert_eq!(found.columns, expected.columns);
        prop_assert_eq!(found.times, expected.times);
    }

    #[test]
    fn each_event_is_counted_once_or_is_late(
        times in proptest::collection::vec(0_i64..100_000, 1..80), lateness in 0_i64..20,
    ) {
        let mut windows = windows(lateness, 10);
        let mut rows = empty();
        for (number, time) in times.iter().enumerate() {
            let program = number as u64;
            windows.add(Event { key: Some(program), ..exec(*time as f64 / 1e3, program) });
            windows.close_done(&mut rows);
        }
        windows.close(at(200.0), &mut rows);
        let counted: f64 = rows.columns[0].iter().flatten().sum();
        prop_assert!((counted + windows.seen.late as f64 - times.len() as f64).abs() < 1e-9);
        prop_assert!(rows.times.is_sorted());
    }
}
