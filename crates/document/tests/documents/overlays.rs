//! What is laid over a document: profiles, overlays, and fields of the command line.

use std::path::Path;

use super::{SMALL, read};

#[test]
fn profile_then_overlay_then_fields_are_laid_over() {
    let strict =
        read(SMALL, Some("profile: strict\nstep: 30s"), &["models.z_score.threshold=2", "seed=9"])
            .unwrap();
    assert_eq!(strict.vote.alarm_at.to_string(), "0.6");
    assert_eq!(strict.step.to_string(), "30s");
    assert_eq!(strict.models.z_score.unwrap().threshold.to_string(), "2");
    assert_eq!(strict.seed, 9);
    assert!(strict.profiles.is_empty(), "applied, and out of the way");
    let other = read(SMALL, Some("profile: strict\nvote: {alarm_at: 0.3}"), &[]).unwrap();
    assert_eq!(other.vote.alarm_at.to_string(), "0.3", "an overlay lies over the profile it names");
}

#[test]
fn part_of_an_overlay_for_a_profile_comes_after_the_rest_of_it() {
    let over = "step: 30s\nprofiles: {strict: {step: 1m}, other: {seed: 8}}";
    let plain = read(SMALL, Some(over), &[]).unwrap();
    assert_eq!((plain.step.to_string().as_str(), plain.seed), ("30s", 0));
    let strict = read(SMALL, Some(over), &["profile=strict"]).unwrap();
    assert_eq!((strict.step.to_string().as_str(), strict.seed), ("1m", 0));
    assert_eq!(strict.vote.alarm_at.to_string(), "0.6", "the document's own part counts, too");
}

#[test]
fn null_takes_a_field_out() {
    let over = "sources: {metrics: {prometheus: null, recording: {path: replies}}}";
    let document = read(SMALL, Some(over), &[]).unwrap();
    assert!(document.sources["metrics"].prometheus.is_none());
    assert_eq!(document.sources["metrics"].data().unwrap(), Path::new("replies"));
}

#[test]
fn profile_removing_absent_field_changes_nothing() {
    let text = SMALL.replace(
        "vote: {alarm_at: 0.6}",
        "gate: {max_regression: null, max_false_alarm_ratio: 0.5}",
    );
    let document = read(&text, None, &["profile=strict"]).unwrap();
    assert!((document.gate.max_false_alarm_ratio - 0.5).abs() < 1e-12);
    let said = read(SMALL, None, &["profile=[strict]"]).unwrap_err();
    assert!(said.contains("expected the name of one profile"), "{said}");
}

#[test]
fn an_item_of_a_list_is_set_by_its_number() {
    let document = read(SMALL, None, &["sources.metrics.queries.0.promql=up"]).unwrap();
    let queries = &document.sources["metrics"].queries;
    assert_eq!((queries[0].promql.as_str(), queries.len()), ("up", 1));
}

#[test]
fn an_item_that_a_list_does_not_have_is_named_with_how_many_it_has() {
    let of = |set: &str| read(SMALL, None, &[set]).unwrap_err();
    assert_eq!(
        of("sources.metrics.queries.1.promql=up"),
        "--set sources.metrics.queries.1.promql: `sources.metrics.queries`: no item `1`: the list has 1 item, numbered from 0"
    );
    let said = of("features.1={rolling: {}}");
    assert!(said.contains("`features`: no item `1`: the list has 1 item"), "{said}");
    let said =
        read(SMALL, Some("sources:\n  metrics:\n    queries: {0: {unit: x},\n      2: null}"), &[]);
    assert_eq!(
        said.unwrap_err(),
        "over.yaml:4:7: `sources.metrics.queries`: no item `2`: the list has 1 item, numbered from 0"
    );
    for wrong in ["{}", "{first: raw}", "{0: raw, first: raw}"] {
        let said = of(&format!("features={wrong}"));
        assert_eq!(said, "--set features: `features`: expected a list, found a mapping");
    }
}

#[test]
fn null_takes_an_item_of_a_list_out_and_a_field_of_an_item() {
    let list = "expectations=[{row_count: {min: 1}}, {constant: {}}, {time_unique: {}}]";
    let names = |sets: &[&str]| {
        let document = read(SMALL, None, &[[list].as_slice(), sets].concat()).unwrap();
        let value = serde_json::to_value(&document.expectations).unwrap();
        let name = |item: &serde_json::Value| item.as_object().unwrap().keys().next().cloned();
        value.as_array().unwrap().iter().filter_map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&["expectations.0=null"]), ["constant", "time_unique"]);
    assert_eq!(names(&["expectations={0: null, 2: null}"]), ["constant"]);
    assert_eq!(names(&["expectations={2: null, 0: null}"]), ["constant"]);
    let both = "expectations={0: null, 1: {constant: {columns: [requests]}}}";
    assert_eq!(names(&[both]), ["constant", "time_unique"], "a number means the list as it was");
    let twice = ["expectations.0=null", "expectations.0=null"];
    assert_eq!(names(&twice), ["constant", "time_unique"], "the same item");
    assert_eq!(names(&["expectations.0=null", "expectations.1=null"]), ["time_unique"]);
    assert_eq!(names(&["expectations.1=null", "expectations.0=null"]), ["time_unique"]);
    let document = read(SMALL, None, &["sources.metrics.queries.0.unit=null"]).unwrap();
    let queries = &document.sources["metrics"].queries;
    assert_eq!((queries[0].unit.as_str(), queries.len()), ("", 1));
}

#[test]
fn named_item_of_a_list_is_changed_and_taken_out_by_its_name() {
    let two = "sources.metrics.queries=[{name: requests, promql: up}, {name: errors, promql: up}]";
    let names = |sets: &[&str]| {
        let document = read(SMALL, None, &[[two].as_slice(), sets].concat())?;
        let queries = &document.sources["metrics"].queries;
        Ok::<_, String>(queries.iter().map(|it| (it.name.clone(), it.promql.clone())).collect())
    };
    let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, query)| ((*name).to_owned(), (*query).to_owned())).collect()
    };
    let changed = names(&["sources.metrics.queries.errors.promql=vector(1)"]);
    assert_eq!(changed, Ok(of(&[("requests", "up"), ("errors", "vector(1)")])));
    let out = names(&[
        "sources.metrics.queries.requests=null",
        "sources.metrics.queries.errors.promql=vector(2)",
    ]);
    assert_eq!(out, Ok(of(&[("errors", "vector(2)")])));
    let by_number =
        names(&["sources.metrics.queries.0=null", "sources.metrics.queries.1.promql=vector(3)"]);
    assert_eq!(by_number, Ok(of(&[("errors", "vector(3)")])), "a number means the list as it was");
    let said = names(&["sources.metrics.queries.error=null"]).unwrap_err();
    assert!(
        said.ends_with("`sources.metrics.queries`: no item `error`: did you mean `errors`?"),
        "{said}"
    );
    let said = names(&["sources.metrics.queries.zzzzzzzz=null"]).unwrap_err();
    assert!(said.ends_with("numbered from 0, and named requests, errors"), "{said}");
}

#[test]
fn an_overlay_or_a_profile_without_content_changes_nothing() {
    let document = read(SMALL, None, &[]).unwrap();
    for overlay in ["", "# step: 5m\n", "---\n", "null"] {
        assert_eq!(read(SMALL, Some(overlay), &[]).as_ref(), Ok(&document), "{overlay:?}");
    }
    let text = SMALL.replace("    vote: {alarm_at: 0.6}\n", "");
    assert_eq!(read(&text, None, &["profile=strict"]), Ok(document));
}
