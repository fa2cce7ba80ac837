use contract::Outcome;
use proptest::prelude::*;

use super::*;

/// Seconds, entity and value of each row; blocks of `size` rows.
struct Rows {
    list: Vec<(i64, &'static str, f64)>,
    size: usize,
    fails: bool,
}

impl Source for Rows {
    fn columns(&self) -> Vec<String> {
        vec!["x".to_owned()]
    }

    fn rows(&mut self, each: &mut Each<'_>) -> Result<(), Stop> {
        for block in self.list.chunks(self.size) {
            each(SampleRows {
                times: block.iter().map(|row| seconds(row.0)).collect(),
                entities: block.iter().map(|row| row.1.to_owned()).collect(),
                columns: vec![block.iter().map(|row| Some(row.2)).collect()],
                ..SampleRows::default()
            })?;
        }
        if self.fails { Err(StepError::unavailable("gone").into()) } else { Ok(()) }
    }

    fn finish(&mut self, _: &mut Outcome) -> Result<(), StepError> {
        Ok(())
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_ms(1000 * seconds)
}

fn source(rows: &[(i64, &'static str, f64)], tolerance: i64) -> Joined<'static> {
    Joined {
        source: Box::new(Rows { list: rows.to_vec(), size: 2, fails: false }),
        name: "x".to_owned(),
        tolerance: Span::from_seconds(tolerance),
        is_broadcast: false,
        describes: false,
    }
}

type Row = (i64, String, Vec<Option<f64>>);

fn joined(mut sources: Vec<Joined<'_>>, due: Option<Due>) -> (Vec<Row>, Vec<usize>) {
    let windows = Windows { step: Span::from_seconds(10), due };
    let mut all = Vec::new();
    let seen = join(&mut sources, windows, &mut |rows| {
        for row in 0..rows.times.len() {
            let values = rows.columns.iter().map(|column| column[row]).collect();
            all.push((rows.times[row].ms() / 1000, rows.entities[row].clone(), values));
        }
        Ok(())
    });
    (all, seen.unwrap().between_windows)
}

fn row(time: i64, entity: &str, values: [Option<f64>; 2]) -> Row {
    (time, entity.to_owned(), values.to_vec())
}

#[test]
fn rows_of_one_time_and_entity_are_one_row_and_gaps_stay_gaps() {
    let one = source(&[(10, "a", 1.0), (10, "b", 2.0), (20, "b", 3.0)], 0);
    let two = source(&[(10, "b", 20.0), (20, "c", 30.0)], 0);
    let (rows, between) = joined(vec![one, two], None);
    let expected = [
        row(10, "a", [Some(1.0), None]),
        row(10, "b", [Some(2.0), Some(20.0)]),
        row(20, "b", [Some(3.0), None]),
        row(20, "c", [None, Some(30.0)]),
    ];
    assert_eq!((rows.as_slice(), between), (&expected[..], vec![0, 0]));
}

#[test]
fn a_window_takes_the_last_row_within_the_tolerance_and_never_a_later_one() {
    let fast = source(&[(10, "a", 1.0), (20, "a", 2.0), (30, "a", 3.0), (40, "a", 4.0)], 0);
    // This source has a row every 25 s, with a tolerance of 25 s.
    let slow = source(&[(9, "a", 10.0), (34, "a", 11.0)], 25);
    let (rows, between) = joined(vec![fast, slow], None);
    let values: Vec<Option<f64>> = rows.iter().map(|(_, _, values)| values[1]).collect();
    assert_eq!(values, [Some(10.0), Some(10.0), Some(10.0), Some(11.0)]);
    assert_eq!(between, [0, 0]);
}

#[test]
fn a_row_between_two_windows_is_left_out_and_counted_without_a_tolerance() {
    let one = source(&[(10, "a", 1.0), (20, "a", 2.0)], 0);
    let two = source(&[(13, "a", 9.0)], 0);
    let (rows, between) = joined(vec![one, two], None);
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|(_, _, values)| values[1].is_none()));
    assert_eq!(between, [0, 1]);
}

#[test]
fn carried_values_alone_make_no_row() {
    let one = source(&[(10, "a", 1.0), (50, "b", 2.0)], 0);
    let (rows, _) = joined(vec![one, source(&[(10, "a", 7.0)], 60)], None);
    assert_eq!(rows, [row(10, "a", [Some(1.0), Some(7.0)]), row(50, "b", [Some(2.0), None])]);
}

#[test]
fn a_source_without_entities_is_joined_to_all_where_it_is_broadcast() {
    let nodes = source(&[(10, "a", 1.0), (10, "b", 2.0)], 0);
    let mut whole = source(&[(10, "", 5.0), (20, "", 6.0)], 0);
    whole.is_broadcast = true;
    let (rows, _) = joined(vec![nodes, whole], None);
    let expected = [row(10, "a", [Some(1.0), Some(5.0)]), row(10, "b", [Some(2.0), Some(5.0)])];
    assert_eq!(rows, expected);
}

#[test]
fn windows_outside_the_range_have_no_row_but_are_looked_back_on() {
    let one = source(&[(10, "a", 1.0), (20, "a", 2.0)], 0);
    let due = Due { after: seconds(10), end: seconds(20), scored_to: seconds(10) };
    let (rows, _) = joined(vec![one, source(&[(8, "a", 3.0)], 20)], Some(due));
    assert_eq!(rows, [row(20, "a", [Some(2.0), Some(3.0)])]);
}

#[test]
fn a_source_that_fails_ends_the_join_with_its_error() {
    let windows = Windows { step: Span::from_seconds(10), due: None };
    let failing = Rows { list: vec![(10, "a", 1.0)], size: 1, fails: true };
    let mut sources = [source(&[(10, "a", 1.0)], 0), source(&[], 0)];
    sources[1].source = Box::new(failing);
    let Err(Stop::Error(error)) = join(&mut sources, windows, &mut |_| Ok(())) else {
        panic!("it failed");
    };
    assert_eq!(error.message, "gone");
}

#[test]
fn a_join_whose_rows_cannot_be_written_ends_its_sources() {
    let windows = Windows { step: Span::from_seconds(1), due: None };
    let many: Vec<(i64, &str, f64)> = (0..40_000).map(|time| (time, "a", 1.0)).collect();
    let mut sources = [source(&many, 0), source(&many, 0)];
    let full = join(&mut sources, windows, &mut |_| Err(StepError::unavailable("full")));
    assert!(matches!(full, Err(Stop::Error(error)) if error.message == "full"));
}

proptest! {
    #[test]
    fn rows_do_not_depend_on_how_they_come_in_blocks(
        times in proptest::collection::vec((0_i64..200, 0_usize..3), 0..60),
        tolerance in 0_i64..40, size in 1_usize..9,
    ) {
        let mut rows: Vec<(i64, &'static str, f64)> =
            times.iter().map(|(time, entity)| (*time, ["a", "b", "c"][*entity], 1.5)).collect();
        rows.sort_by_key(|row| row.0);
        let all = |size: usize| {
            let mut one = source(&[], tolerance);
            one.source = Box::new(Rows { list: rows.clone(), size, fails: false });
            joined(vec![one, source(&[(50, "a", 2.0)], 100)], None)
        };
        prop_assert_eq!(all(size), all(1000));
    }
}
