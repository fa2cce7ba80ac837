use super::*;

fn parse(rest: &str) -> Result<crate::Document, String> {
    let text = format!(
        "{{format: 1, name: w, step: 1m, range: 1d, features: [raw], models: {{z_score: {{}}}}, \
         vote: {{combine: votes, threshold: {{quantile: {{share: 0.9}}}}}}, {rest}}}"
    );
    crate::parse("test", &text).map_err(|error| error.to_string())
}

const TABLE: &str = "sources: {t: {table: {path: t, time: t}}}";

#[test]
fn document_without_shards_is_written_without_them() {
    let document = parse(TABLE).unwrap();
    assert_eq!(document.shards.all(), [None]);
    assert!(!serde_json::to_string(&document).unwrap().contains("shards"));
    let document = parse(&format!("{TABLE}, shards: {{count: 3}}")).unwrap();
    let names: Vec<String> =
        document.shards.all().into_iter().flatten().map(|shard| shard.to_string()).collect();
    assert_eq!(names, ["0/3", "1/3", "2/3"]);
}

#[test]
fn shards_that_cannot_be_are_refused_with_their_field() {
    for (rest, words) in [
        ("shards: {count: 0}", "expected 1 to 256"),
        ("shards: {count: 257}", "expected 1 to 256"),
        ("shards: {count: many}", "or `auto`"),
        ("shards: {by: zone}", "by"),
        ("shards: {by: label}", "needs the name of the label"),
        ("shards: {label: zone}", "is of `by: label`"),
        ("shards: {values: [a]}", "are of `by: label`"),
        ("shards: {count: 2, by: label, label: zone, values: [a]}", "too few for 2 shards"),
        ("shards: {count: 2, by: label, label: zone, values: [a, a]}", "named twice"),
    ] {
        let error = parse(&format!("{TABLE}, {rest}")).unwrap_err();
        assert!(error.contains(words) && error.contains("shards"), "{error}");
    }
    let tested = "sources: {t: {table: {path: t, time: t, test: u}}}, shards: {count: 2}";
    assert!(parse(tested).unwrap_err().contains("sources.t"));
}

#[test]
fn label_that_no_source_can_give_is_refused() {
    let by_zone = "shards: {count: 2, by: label, label: zone}";
    let exporter = "exporter: {endpoints: ['http://a:9100/metrics']}";
    for (source, words) in [
        ("table: {path: t, time: t, label: kind}", "already has one"),
        (exporter, "no source of the document"),
    ] {
        let error = parse(&format!("sources: {{t: {{{source}}}}}, {by_zone}")).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let mut document = parse(&format!("{TABLE}, {by_zone}")).unwrap();
    assert_eq!(document.shards.division().unwrap().label, "zone");
    assert_eq!(label_rows(&mut document.sources, "zone"), 1);
    let table = document.sources["t"].table.clone().unwrap();
    assert_eq!(table.label.as_deref(), Some("zone"));
}

#[test]
fn auto_is_kept_as_written_and_one_shard_until_it_is_settled() {
    let document = parse(&format!("{TABLE}, shards: {{count: auto}}")).unwrap();
    assert_eq!(document.shards.count, Count::Auto);
    assert_eq!(document.shards.all(), [None]);
    let text = crate::to_yaml(&document).unwrap();
    assert!(text.contains("count: auto"), "{text}");
}

#[test]
fn number_of_shards_follows_the_entities_and_stays_while_it_fits() {
    let fitting = |entities, live| Shards::default().fitting(entities, live);
    for (entities, expected) in [(0, 1), (250, 1), (251, 2), (1000, 4), (1_000_000, 256)] {
        assert_eq!(fitting(entities, None), expected, "{entities}");
    }
    for (entities, live, expected) in [
        (251, 1, 1),
        (375, 1, 1),
        (376, 1, 2),
        (250, 2, 2),
        (249, 2, 1),
        (1500, 4, 4),
        (1501, 4, 7),
    ] {
        assert_eq!(fitting(entities, Some(live)), expected, "{entities} {live}");
    }
}

#[test]
fn source_that_is_narrowed_to_a_shard_needs_listed_values() {
    let source = "postgres: {server: {url: 'postgresql://u@h/d'}, table: t, time: at, entity: node, narrow_to_shard: true}";
    let by_zone = "by: label, label: zone";
    let parse = |more: &str| {
        parse(&format!("sources: {{t: {{{source}}}}}, shards: {{count: 2, {by_zone}{more}}}"))
    };
    assert!(parse("").unwrap_err().contains("`narrow_to_shard`"));
    let shards = parse(", values: [a, b, c]").unwrap().shards;
    let values = |shard| shards.selection(shard).unwrap().values;
    assert_eq!(values(contract::Shard::new(0, 2)), ["a", "c"]);
    assert_eq!(values(contract::Shard::new(1, 2)), ["b"]);
    assert_eq!(values(None), ["a", "b", "c"]);
}

#[test]
fn sources_with_a_label_of_their_own_are_refused_and_others_take_that_of_the_shards() {
    let by_zone = "shards: {count: 2, by: label, label: zone}";
    let server = "postgres: {server: {url: 'postgresql://u@h/d'}, table: t, time: at, entity: node";
    for source in [
        format!("{server}, label: kind}}"),
        "table: {path: t, format: zeek_conn}".to_owned(),
        "features: {group: g, version: 1, labels: true}".to_owned(),
    ] {
        let error = parse(&format!("sources: {{t: {{{source}}}}}, {by_zone}")).unwrap_err();
        assert!(error.contains("already has one"), "{source}: {error}");
    }
    let mut document = parse(&format!("sources: {{t: {{{server}}}}}}}, {by_zone}")).unwrap();
    assert_eq!(label_rows(&mut document.sources, "zone"), 1);
    let postgres = document.sources["t"].postgres.clone().unwrap();
    assert_eq!(postgres.label.as_deref(), Some("zone"));
}

#[test]
fn selector_of_a_shard_names_its_values_as_a_regular_expression() {
    let source = "sources: {p: {prometheus: {url: 'http://p:9090'}, queries: \
                  [{name: a, promql: 'sum by (node, zone) (rate(a{$shard,job=\"x\"}[5m]))', entity: node}]}}";
    let error = parse(&format!("{source}, shards: {{count: 2}}")).unwrap_err();
    assert!(error.contains("none are named"), "{error}");
    let shards = "shards: {count: 2, by: label, label: zone, values: [eu.a, 'b\"c', d]}";
    let document = parse(&format!("{source}, {shards}")).unwrap();
    let query = &document.sources["p"].queries[0].promql;
    let selected = |shard| document.shards.select(query, shard);
    assert_eq!(
        selected(contract::Shard::new(0, 2)),
        r#"sum by (node, zone) (rate(a{zone=~"eu\\.a|d",job="x"}[5m]))"#
    );
    assert!(selected(contract::Shard::new(1, 2)).contains(r#"zone=~"b\\\"c","#));
    assert!(selected(None).contains(r#"zone=~"eu\\.a|b\\\"c|d""#), "{}", selected(None));
    assert_eq!(document.shards.fitting(5000, None), 3, "each shard has a value");
}
