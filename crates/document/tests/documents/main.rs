//! Documents as users write them: right ones, changed ones, and wrong ones with what is said.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod broken;
mod overlays;

use std::path::Path;

use document::{Changes, Document};

const SMALL: &str = r#"
format: 1
name: small
step: 1m
range: 1d
sources:
  metrics:
    prometheus: {url: "http://localhost:9090"}
    queries: [{name: requests, unit: per_second, promql: 'sum(rate(requests_total[$rate_window]))'}]
features:
  - raw
models:
  z_score: {threshold: 3}
  isolation_forest: {trees: 10}
vote:
  combine: votes
  weights: {isolation_forest: 0.6, z_score: 0.3}
  alarm_at: 0.9
  threshold:
    quantile: {share: 0.99}
profiles:
  strict:
    vote: {alarm_at: 0.6}
"#;

fn read(text: &str, overlay: Option<&str>, sets: &[&str]) -> Result<Document, String> {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("small.yaml"), text).unwrap();
    let over = folder.path().join("over.yaml");
    let overlays: Vec<&Path> = overlay.iter().map(|_| over.as_path()).collect();
    fs_err::write(&over, overlay.unwrap_or_default()).unwrap();
    let changes = Changes { overlays, sets: sets.to_vec() };
    document::read_with(&folder.path().join("small.yaml"), &changes).map_err(|error| {
        assert_eq!(error.kind, contract::ErrorKind::Usage);
        error.to_string().replace(&format!("{}/", folder.path().display()), "")
    })
}

fn refusal(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    read(&SMALL.replacen(from, to, 1), None, &[]).unwrap_err()
}

#[test]
fn every_document_of_the_repository_is_read_and_comes_back_from_what_is_written() {
    let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let mut read = 0;
    for entry in fs_err::read_dir(&pipelines).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let document = document::read(&path).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let copy = folder.path().join("copy.yaml");
            document::write(&copy, &document).unwrap();
            assert_eq!(document::read(&copy).unwrap(), document, "{}", path.display());
            read += 1;
        }
    }
    assert!(read > 0);
}

#[test]
fn every_document_of_the_repository_fits_the_schema_that_editors_get() {
    let schema = document::schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let mut checked = 0;
    for entry in fs_err::read_dir(&pipelines).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs_err::read_to_string(&path).unwrap();
            let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            let errors: Vec<String> = validator
                .iter_errors(&value)
                .map(|e| format!("{}: {e}", e.instance_path()))
                .collect();
            assert_eq!(errors, [""; 0], "{}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 0);
    let misspelt = serde_json::json!({"format": 1, "nmae": "x"});
    assert!(!validator.is_valid(&misspelt));
}

#[test]
fn weights_are_exact_and_a_rule_without_fields_takes_the_defaults() {
    let document = read(SMALL, None, &[]).unwrap();
    let sum: contract::Decimal = document.vote.weights.values().copied().sum();
    assert_eq!(sum, document.vote.alarm_at);
    assert_eq!(
        document.features,
        [document::features::FeatureRule::Raw(document::features::Columns {
            columns: vec!["*".into()]
        })]
    );
}

#[test]
fn no_password_of_a_url_is_ever_repeated() {
    for url in ["HTTP://me:hunter2@h", "me:hunter2@h:9090", "http://me:hunter2@h"] {
        let said = refusal("http://localhost:9090", url);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn misspelt_field_is_named_with_place_and_suggestion() {
    assert_eq!(
        refusal("  isolation_forest: {trees: 10}", "  isolation_forest: {treees: 10}"),
        "small.yaml:14:22: `models.isolation_forest`: unknown field `treees`\nhint: did you mean `trees`?"
    );
    assert_eq!(
        refusal("combine: votes", "combine: vots"),
        "small.yaml:16:12: `vote.combine`: unknown value `vots`\nhint: did you mean `votes`?"
    );
    assert_eq!(
        refusal("  z_score: {threshold: 3}", "  z_scores: {threshold: 3}"),
        "small.yaml:13:3: `models`: unknown field `z_scores`\nhint: did you mean `z_score`?"
    );
    assert_eq!(
        refusal("{isolation_forest: 0.6,", "{isolation_forrest: 0.6,"),
        "small.yaml:17:32: `vote.weights.isolation_forrest`: the document trains no model `isolation_forrest`\nhint: did you mean `isolation_forest`?"
    );
}

#[test]
fn wrong_types_and_units_are_named_with_place_and_correction() {
    assert_eq!(
        refusal("step: 1m", "step: 60"),
        "small.yaml:4:7: `step`: `60` is not a duration; write a number and a unit such as 10d, 5m, 30s or 250ms (units: w, d, h, m, s, ms)"
    );
    assert_eq!(
        refusal("{trees: 10}", "{trees: many}"),
        "small.yaml:14:29: `models.isolation_forest.trees`: expected a whole number, 0 or more, found `many`"
    );
    assert_eq!(
        refusal("alarm_at: 0.9", "alarm_at: nine"),
        "small.yaml:18:13: `vote.alarm_at`: `nine` is not a decimal number such as 0.6 (at most 9 places)"
    );
    assert_eq!(
        refusal("features:\n  - raw", "features: raw"),
        "small.yaml:10:11: `features`: expected a list, found `raw`"
    );
    assert_eq!(refusal("name: small\n", ""), "small.yaml:2:1: field `name` is missing");
}

#[test]
fn a_wrong_field_on_the_command_line_is_named_as_such() {
    let of = |set: &str| read(SMALL, None, &[set]).unwrap_err();
    assert_eq!(
        of("models.z_score.treshold=2"),
        "--set models.z_score.treshold: `models.z_score`: unknown field `treshold`\nhint: did you mean `threshold`?"
    );
    assert_eq!(of("seed=-1"), "--set seed: `seed`: expected a whole number, 0 or more, found `-1`");
    assert!(of("seed").contains("has no `field=value`"));
    assert_eq!(
        of("profile=strickt"),
        "--set profile: unknown profile `strickt`\nhint: did you mean `strict`?"
    );
}

#[test]
fn contradictory_settings_are_refused() {
    for (from, to, words) in [
        ("alarm_at: 0.9", "alarm_at: 0.91", "cannot be reached: all weights add up to `0.9`"),
        ("range: 1d", "range: 30s", "is shorter than one step"),
        ("  - raw", "  - raw: {columns: [request]}", "no sample column is named `request`"),
        (
            "  - raw",
            "  - rolling: {window: 90s, statistics: [mean]}",
            "is not a whole number of steps of `1m`",
        ),
        (
            "http://localhost:9090",
            "http://me:secret@localhost:9090",
            "must not hold a user or a password",
        ),
        ("http://localhost:9090", "localhost:9090", "does not begin with http://"),
        (
            "url: \"http://localhost:9090\"",
            "url: \"http://h\", headers: {Authorization: Bearer x}",
            "`Authorization` contains credentials, which must not be in a document",
        ),
        ("range: 1d", "range: 99999999d", "`99999999d` is longer than"),
        ("step: 1m\nrange: 1d", "step: 1s\nrange: 3000d", "has more than 50000000 steps"),
        ("features:", "labels: {normal: []}\nfeatures:", "without a normal label"),
        ("share: 0.99", "share: 99", "is not between 0 and 1"),
        ("name: small", "name: Small", "is not a pipeline name"),
        ("name: small", "name: small\nname: other", "field `name` occurs twice, first in line 3"),
        ("format: 1", "format: 2", "reads format 1"),
        (
            "quantile: {share: 0.99}",
            "quantile: {share: 0.99}\n    trailing: {}",
            "expected one of quantile, trailing, false_alarms, found quantile and trailing",
        ),
    ] {
        let said = refusal(from, to);
        assert!(said.contains(words), "{to}: {said}");
        assert!(said.starts_with("small.yaml:"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn an_expectation_that_nothing_can_meet_is_refused() {
    for (expectation, words) in [
        ("row_count: {min: 9, max: 3}", "0.row_count`: min `9` is above max `3`"),
        ("range: {min: 9, max: 3}", "0.range`: min `9` is above max `3`"),
        ("allowed_values: {columns: ['*'], values: []}", "0.allowed_values.values`: is empty"),
    ] {
        let said = read(SMALL, None, &[&format!("expectations=[{{{expectation}}}]")]).unwrap_err();
        assert!(said.ends_with(words), "{said}");
    }
}

#[test]
fn invalid_delimiter_is_refused() {
    let read = |delimiter: &str| {
        let table = format!("{{path: x.csv, time: t, delimiter: {delimiter}}}");
        read(
            SMALL,
            None,
            &[&format!("sources.metrics={{prometheus: null, queries: null, table: {table}}}")],
        )
    };
    for right in ["';'", r"'\t'", r#""\t""#, "'|'"] {
        read(right).unwrap();
    }
    for wrong in [r#"'"'"#, r#""\n""#, r#""\r""#, "''", "';;'", "'é'"] {
        let said = read(wrong).unwrap_err();
        assert!(said.contains("is not a single ASCII character"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_parameter_of_a_model_out_of_its_range_is_refused_at_its_place() {
    for (model, field, value) in [
        ("adaptive", "cap", "0"),
        ("adaptive", "stay_rows", "1441"),
        ("adaptive", "folds", "1"),
        ("adaptive", "gate_share", "1.1"),
        ("adaptive", "stay_gate_share", "-0.1"),
        ("adaptive", "window_rows", "[1]"),
        ("autoencoder", "layers", "[]"),
        ("autoencoder", "layers", "[8, 0]"),
        ("autoencoder", "epochs", "0"),
        ("autoencoder", "batch", "0"),
        ("autoencoder", "learning_rate", "1.5"),
        ("autoencoder", "noise", "-0.1"),
        ("autoencoder", "search.trials", "0"),
        ("decision_tree", "max_depth", "0"),
        ("decision_tree", "min_leaf_rows", "0"),
        ("diagnose", "random_forest.trees", "0"),
        ("diagnose", "min_probability", "1.01"),
        ("diagnose", "min_likeness", "-2"),
        ("diagnose", "likeness_weight", "-1"),
        ("gradient_boosting", "rounds", "0"),
        ("gradient_boosting", "learning_rate", "0"),
        ("isolation_forest", "trees", "0"),
        ("isolation_forest", "samples", "1"),
        ("mahalanobis", "ridge", "-1"),
        ("mahalanobis", "min_std", "-0.1"),
        ("one_class_svm", "nu", "0"),
        ("one_class_svm", "nu", "1.5"),
        ("one_class_svm", "gamma", "0"),
        ("one_class_svm", "tolerance", "1"),
        ("one_class_svm", "cache_mib", "0"),
        ("one_class_svm", "max_exact_rows", "1"),
        ("random_forest", "trees", "10001"),
        ("random_forest", "max_depth", "65"),
        ("random_forest", "split_columns", "0"),
        ("z_score", "threshold", "-3"),
        ("z_score", "search.trials", "10001"),
    ] {
        let fields: Vec<&str> = field.split('.').collect();
        let (inner, close) = (fields.join(": {"), "}".repeat(fields.len() - 1));
        let other = if model == "z_score" { "mahalanobis" } else { "z_score" };
        let text = SMALL.replace(
            "  z_score: {threshold: 3}\n  isolation_forest: {trees: 10}\n",
            &format!("  {model}:\n    {inner}: {value}{close}\n  {other}: {{}}\n"),
        );
        let said = read(&text, None, &[]).unwrap_err();
        let place = format!("`models.{model}.{field}`: expected ");
        assert!(said.starts_with("small.yaml:14:") && said.contains(&place), "{said}");
    }
}

#[test]
fn the_hash_of_a_stage_changes_with_its_sections_alone() {
    use contract::Stage;
    let hash = |sets: &[&str], stage, model| {
        document::sections::sha256(&read(SMALL, None, sets).unwrap(), stage, model).unwrap()
    };
    let forest = Some("isolation_forest");
    assert_eq!(
        hash(&[], Stage::Train, forest),
        hash(&["alerts.for=3", "models.z_score.threshold=2"], Stage::Train, forest)
    );
    assert_ne!(
        hash(&[], Stage::Train, forest),
        hash(&["models.isolation_forest.trees=11"], Stage::Train, forest)
    );
    assert_ne!(hash(&[], Stage::Alert, None), hash(&["alerts.for=3"], Stage::Alert, None));
}

#[test]
fn lint_reports_all_mistakes_of_a_document_at_once() {
    let text = SMALL
        .replace("name: small", "name: Small")
        .replace("range: 1d", "rangee: 1d\nrange: 1d\nscoring: {every: soon}")
        .replace("{name: requests,", "{name: 9,")
        .replace("  - raw", "  - raw: {columns: [nothing]}\n  - difference: {lag: 90s}")
        .replace("z_score: {threshold: 3}", "z_score: {threshold: -3}")
        .replace("alarm_at: 0.9", "alarm_at: 9");
    let found = document::problems_in("small.yaml", &text);
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    for (line, part) in [
        (5, "unknown field `rangee`"),
        (7, "`scoring.every`"),
        (3, "not a pipeline name"),
        (11, "`9` is not a column name"),
        (13, "no sample column is named `nothing`"),
        (14, "not a whole number of steps"),
        (16, "models.z_score"),
        (21, "cannot be reached"),
    ] {
        let place = format!("small.yaml:{line}:");
        let is_there = all.iter().any(|it| it.starts_with(&place) && it.contains(part));
        assert!(is_there, "{place} {part}: {all:#?}");
    }
    assert_eq!(all.len(), 8, "{all:#?}");
    // A required field that is taken out because of its value is not missing as well.
    let found = document::problems_in("small.yaml", &SMALL.replace("step: 1m", "step: 60"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(document::problems_in("small.yaml", SMALL).is_empty());
}
