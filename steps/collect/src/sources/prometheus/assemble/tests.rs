use contract::Span;
use proptest::prelude::*;

use super::*;
use crate::sources::prometheus::reply::Reply;

fn column(name: &str, entity: Option<&str>) -> Column {
    Column { name: name.to_owned(), labels: entity.map(str::to_owned).into_iter().collect() }
}

fn assembler(columns: &[Column], keep_leading_gaps: bool) -> Assembler<'static> {
    static ENTITY: std::sync::LazyLock<Entity> = std::sync::LazyLock::new(Entity::default);
    Assembler::new(columns.to_vec(), &ENTITY, keep_leading_gaps)
}

fn grid(first: i64, points: usize) -> Grid {
    Grid { first: Timestamp::from_ms(first), points, step: Span::from_ms(10) }
}

fn reply(series: Vec<Series>) -> Reply {
    Reply { series, ..Reply::default() }
}

#[test]
fn rows_are_in_order_of_time_and_then_of_entity_and_absent_points_are_gaps() {
    let queries = [column("a", Some("node")), column("b", Some("node"))];
    let mut assembler = assembler(&queries, false);
    let a = reply(vec![
        Series::new(&[("node", "y")], &[(0, 1.0), (10, 2.0)]),
        Series::new(&[("node", "x")], &[(10, 3.0), (15, 9.0), (30, 9.0)]),
    ]);
    let b = reply(vec![Series::new(&[("node", "x"), ("z", "")], &[(10, f64::INFINITY)])]);
    let rows = assembler.rows(Chunk::whole(grid(0, 3), vec![a, b])).unwrap();
    let times: Vec<i64> = rows.times.iter().map(|time| time.ms()).collect();
    assert_eq!(times, [0, 10, 10]);
    assert_eq!(rows.entities, ["y", "x", "y"]);
    assert_eq!(rows.columns[0], [Some(1.0), Some(3.0), Some(2.0)]);
    assert_eq!(rows.columns[1], [None, Some(f64::INFINITY), None]);
    assert_eq!(assembler.ignored_points, 2, "off the grid, and after its end");
}

#[test]
fn without_entities_a_time_without_values_has_a_row_of_gaps_once_there_was_a_value() {
    let queries = [column("a", None)];
    for (keep, expected) in [(false, 2), (true, 3)] {
        let mut assembler = assembler(&queries, keep);
        let a = reply(vec![Series::new(&[], &[(10, 1.0)])]);
        let rows = assembler.rows(Chunk::whole(grid(0, 3), vec![a])).unwrap();
        assert_eq!(rows.times.len(), expected);
    }
}

#[test]
fn the_label_of_a_row_is_that_of_the_first_query_that_has_one() {
    let queries = [column("a", Some("pod")), column("b", Some("pod"))];
    let mut made = assembler(&queries, false).with_label(Some("image"));
    let a = reply(vec![
        Series::new(&[("pod", "x")], &[(0, 1.0)]),
        Series::new(&[("pod", "y"), ("image", "nginx:1")], &[(0, 1.0), (10, 1.0)]),
    ]);
    let b = reply(vec![
        Series::new(&[("pod", "x"), ("image", "redis:7")], &[(0, 2.0)]),
        Series::new(&[("pod", "y"), ("image", "other")], &[(0, 2.0)]),
        Series::new(&[("pod", "z")], &[(0, 2.0)]),
    ]);
    let rows = made.rows(Chunk::whole(grid(0, 2), vec![a, b])).unwrap();
    assert_eq!(rows.entities, ["x", "y", "z", "y"]);
    assert_eq!(rows.labels, ["redis:7", "nginx:1", "", "nginx:1"]);
}

#[test]
fn texts_are_those_of_the_series_at_each_time_and_make_no_row_of_their_own() {
    let texts = [("role".to_owned(), "node_role".to_owned())].into();
    let entity = Entity { texts, ..Entity::default() };
    let queries = [column("a", Some("node")), column("b", Some("node"))];
    let mut made = Assembler::new(queries.to_vec(), &entity, false);
    let a = reply(vec![
        Series::new(&[("node", "x"), ("node_role", "worker")], &[(0, 1.0)]),
        Series::new(&[("node", "x"), ("node_role", "gpu")], &[(10, 1.0), (15, 9.0)]),
        Series::new(&[("node", "y")], &[(0, 1.0)]),
    ]);
    let b = reply(vec![
        Series::new(&[("node", "x"), ("node_role", "other")], &[(0, 2.0)]),
        Series::new(&[("node", "z"), ("node_role", "worker"), ("i", "1")], &[(0, 2.0)]),
        Series::new(&[("node", "z"), ("node_role", "worker"), ("i", "2")], &[(0, 2.0), (10, 3.0)]),
    ]);
    let rows = made.rows(Chunk::whole(grid(0, 2), vec![a, b])).unwrap();
    assert_eq!(rows.entities, ["x", "y", "x", "z"]);
    let expected = ["worker", "", "gpu", "worker"].map(text_number);
    assert_eq!(rows.columns[2], expected);
}

#[test]
fn several_series_need_an_entity_label() {
    let queries = [column("a", None)];
    let series = |node| Series::new(&[("job", "k"), ("node", node)], &[(0, 1.0)]);
    let mut made = assembler(&queries, false);
    let chunk = Chunk::whole(grid(0, 1), vec![reply(vec![series("x"), series("y")])]);
    let error = made.rows(chunk).unwrap_err();
    assert!(error.message.contains(r#"`{job="k", node="x"}` and `{job="k", node="y"}`"#));
    assert!(error.hint.unwrap().contains("`entity: node`"));
}

#[test]
fn a_series_that_changes_its_labels_is_one_column_with_a_warning() {
    let queries = [column("a", None)];
    let mut made = assembler(&queries, false);
    let mut values = Vec::new();
    for (first, node) in [(0, "x"), (10, "x"), (20, "y")] {
        let series = Series::new(&[("node", node)], &[(first, 1.0)]);
        let rows = made.rows(Chunk::whole(grid(first, 1), vec![reply(vec![series])]));
        values.extend(rows.unwrap().columns.remove(0));
    }
    assert_eq!(values, [Some(1.0); 3]);
    assert_eq!(made.warnings.len(), 1);
}

#[test]
fn times_with_two_series_of_an_entity_are_gaps_of_that_entity_alone() {
    let queries = [column("a", Some("node"))];
    let replies = || {
        vec![reply(vec![
            Series::new(&[("node", "x"), ("i", "1")], &[(0, 1.0), (10, 2.0), (20, 3.0), (30, 4.0)]),
            Series::new(&[("node", "x"), ("i", "2")], &[(20, 5.0), (30, 6.0), (40, 7.0)]),
            Series::new(&[("node", "y"), ("i", "3")], &[(20, 8.0)]),
        ])]
    };
    for scoring in [true, false] {
        let mut made = assembler(&queries, scoring);
        let rows = made.rows(Chunk::whole(grid(0, 5), replies())).unwrap();
        assert_eq!(rows.entities, ["x", "x", "y", "x"]);
        assert_eq!(rows.columns[0], [Some(1.0), Some(2.0), Some(8.0), Some(7.0)]);
        let gaps = made.gaps.take();
        assert_eq!(gaps.len(), 1);
        assert_eq!((gaps[0].first.ms(), gaps[0].last.ms()), (20, 30));
        assert_eq!(gaps[0].entity.as_deref(), Some("x"));
        assert!(gaps[0].reason.contains(r#"{i="1", node="x"}"#), "{}", gaps[0].reason);
    }
}

#[test]
fn a_training_refuses_a_query_that_is_ambiguous_most_of_the_time() {
    let queries = [column("a", Some("node"))];
    let series = |i| Series::new(&[("node", "x"), ("i", i)], &[(0, 1.0)]);
    let chunk = || Chunk::whole(grid(0, 1), vec![reply(vec![series("1"), series("2")])]);
    let error = assembler(&queries, false).rows(chunk()).unwrap_err();
    assert!(error.hint.unwrap().contains("sum by (node)"));
    assert!(assembler(&queries, true).rows(chunk()).is_ok());
}

#[test]
fn series_without_the_entity_label_are_left_out_and_refused_if_no_other_is_there() {
    let queries = [column("a", Some("node"))];
    let with = Series::new(&[("node", "x")], &[(0, 1.0)]);
    let without = Series::new(&[("cpu", "1")], &[(0, 2.0)]);
    let mut made = assembler(&queries, false);
    let replies = vec![reply(vec![with, without.clone()])];
    let rows = made.rows(Chunk::whole(grid(0, 1), replies)).unwrap();
    assert_eq!(rows.columns[0], [Some(1.0)]);
    assert!(made.warnings.first().unwrap().contains("without the entity label `node`"));
    let alone = Chunk::whole(grid(0, 1), vec![reply(vec![without])]);
    let error = assembler(&queries, false).rows(alone).unwrap_err();
    assert!(error.hint.unwrap().contains("sum by (node)"));
}

#[test]
fn two_values_at_one_time_are_refused() {
    let queries = [column("a", None)];
    let replies = vec![reply(vec![Series::new(&[], &[(0, 1.0), (0, 2.0)])])];
    assembler(&queries, false).rows(Chunk::whole(grid(0, 1), replies)).unwrap_err();
}

proptest! {
    #[test]
    fn rows_do_not_depend_on_how_time_is_cut(
        present in proptest::collection::vec(any::<[bool; 4]>(), 1..40), cut in 1_usize..40,
        by_entity: bool,
    ) {
        let label = by_entity.then_some("node");
        let queries = [column("a", label), column("b", label)];
        let rows_of = |size: usize| {
            let mut assembler = assembler(&queries, false);
            let mut all = (Vec::new(), Vec::new(), vec![Vec::new(); 2]);
            for from in (0..present.len()).step_by(size) {
                let to = (from + size).min(present.len());
                let series = |which: usize, name: &str| {
                    let points: Vec<(i64, f64)> = (from..to)
                        .filter(|i| present[*i][which])
                        .map(|i| (10 * i64::try_from(i).unwrap(), i as f64))
                        .collect();
                    Series::new(&[("node", name)], &points)
                };
                let mut replies = vec![
                    reply(vec![series(0, "x")]), reply(vec![series(1, "x")]),
                ];
                if by_entity {
                    replies[0].series.push(series(2, "y"));
                    replies[1].series.push(series(3, "y"));
                }
                let first = 10 * i64::try_from(from).unwrap();
                let rows =
                    assembler.rows(Chunk::whole(grid(first, to - from), replies)).unwrap();
                all.0.extend(rows.times);
                all.1.extend(rows.entities);
                all.2.iter_mut().zip(rows.columns).for_each(|(all, c)| all.extend(c));
            }
            all
        };
        prop_assert_eq!(rows_of(cut), rows_of(present.len()));
    }
}
