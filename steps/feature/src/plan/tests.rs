use contract::Span;

use super::*;

fn text(features: &str) -> String {
    format!(
        "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {{main: {{recording: {{path: r}}, \
         queries: [{{name: cpu, unit: cores, promql: 'rate(cpu[$rate_window])'}}, \
         {{name: requests, promql: requests_total}}]}}}}\n\
         features: {features}\nmodels: {{z_score: {{}}}}\n\
         vote: {{combine: votes, weights: {{z_score: 1}}, alarm_at: 1, \
         threshold: {{quantile: {{share: 0.99}}}}}}\n"
    )
}

fn document(features: &str) -> Sections {
    document::parse("x.yaml", &text(features)).unwrap().into()
}

fn planned(features: &str) -> Result<Plan, StepError> {
    plan(&document(features), &["cpu", "requests"])
}

#[test]
fn columns_follow_the_rules_with_their_names_units_and_formulas() {
    let plan = planned(
        "[{raw: {columns: [cpu]}}, \
         {rolling: {columns: [cpu], window: 5m, statistics: [mean, {quantile: 0.9}]}}, \
         {difference: {columns: [cpu], lag: 1m}}, {rate: {columns: [requests]}}, \
         {ratio: {name: cpu_ratio, numerator: cpu, denominator: requests}}, \
         {calendar: {hour_of_day: true}}]",
    )
    .unwrap();
    let columns: Vec<_> = plan
        .contract
        .columns
        .iter()
        .map(|c| (c.name.as_str(), c.unit.as_str(), c.formula.as_str()))
        .collect();
    assert_eq!(
        columns,
        [
            ("cpu", "cores", "rate(cpu[5m])"),
            ("cpu_mean_5m", "cores", "mean(cpu, 5m)"),
            ("cpu_q90_5m", "cores", "quantile(0.9, cpu, 5m)"),
            ("cpu_difference_1m", "cores", "difference(cpu, 1m)"),
            ("requests_per_second", "per_second", "rate(requests) where requests = requests_total"),
            ("cpu_ratio", "ratio", "cpu / requests where requests = requests_total"),
            ("hour_of_day_sine", "", "sine(hour_of_day)"),
            ("hour_of_day_cosine", "", "cosine(hour_of_day)"),
        ]
    );
    assert_eq!(plan.contract.lookback, Span::from_seconds(240));
    assert_eq!(plan.sample_columns, ["cpu", "requests"]);
}

#[test]
fn peer_deviations_are_named_after_their_column_and_say_all_their_settings() {
    let of = |rule: &str| {
        let plan = planned(&format!("[{{peers: {rule}}}]")).unwrap();
        (plan.contract.columns[0].name.clone(), plan.contract.columns[0].formula.clone())
    };
    let (name, formula) = of("{columns: [cpu], window: 5m}");
    assert_eq!(name, "cpu_peer_deviation");
    assert!(formula.starts_with("peer_deviation(cpu, 5m)"), "{formula}");
    for other in [
        "{columns: [cpu], window: 6m}",
        "{columns: [cpu], window: 5m, min_entities: 4}",
        "{columns: [cpu], window: 5m, clip: 5}",
        "{columns: [cpu], window: 5m, min_spread_ratio: 0.5}",
        "{columns: [cpu], window: 5m, groups: [['a*'], ['*']]}",
        "{columns: [cpu], window: 5m, group_by: requests}",
    ] {
        assert_ne!(of(other).1, formula, "{other}");
    }
}

#[test]
fn column_of_texts_is_read_for_groups_and_no_other_rule_means_it() {
    let text = text("[raw, {peers: {window: 5m, group_by: role}}]");
    let text =
        text.replace("requests_total}]", "requests_total}], entity: {texts: {role: node_role}}");
    let document = document::parse("x.yaml", &text).unwrap().into();
    let plan = plan(&document, &["cpu", "requests", "role"]).unwrap();
    let names = plan.contract.names();
    let expected = ["cpu", "requests", "cpu_peer_deviation", "requests_peer_deviation"];
    assert_eq!(names, expected);
    assert_eq!(plan.sample_columns, ["cpu", "requests", "role"]);
    assert_eq!(plan.texts, ["role"]);
    let formula = &plan.contract.columns[2].formula;
    assert!(formula.ends_with("grouped by role where role = text(node_role)"), "{formula}");
}

#[test]
fn two_features_of_one_name_are_a_usage_error() {
    let error = planned("[{raw: {columns: [cpu]}}, {raw: {}}]").unwrap_err();
    assert_eq!(error.kind, contract::ErrorKind::Usage);
    assert_eq!(error.message, "feature rule 2: feature `cpu` is computed twice, first by rule 1");
}

#[test]
fn a_column_that_is_not_there_is_a_usage_error_with_a_guess() {
    let error = plan(&document("[{raw: {columns: [cpu]}}]"), &["cpus"]).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean `cpus`?"));
    let error = planned("[{raw: {columns: ['!*']}}]").unwrap_err();
    assert!(error.message.contains("give no feature"), "{error}");
}

#[test]
fn reserved_names_are_refused() {
    let document = document("[{calendar: {hour_of_day: true}}, {raw: {columns: ['*']}}]");
    let error = plan(&document, &["warm_up"]).unwrap_err();
    assert!(error.message.contains("`warm_up` is a reserved column"), "{error}");
}

#[test]
fn another_query_is_another_contract_even_where_only_its_statistics_are_features() {
    let rules = "[{rolling: {window: 5m, statistics: [mean]}}]";
    let mut changed = document(rules);
    changed.columns[0].formula = "rate(other[5m])".into();
    let available = ["cpu", "requests"];
    let [one, other] = [document(rules), changed].map(|d| plan(&d, &available).unwrap().contract);
    assert!(one.first_difference(&other).is_some());
}

#[test]
fn quantiles_are_named_by_their_percentage() {
    for (quantile, name) in [
        (0.9, "90"),
        (0.5, "50"),
        (0.999, "99_9"),
        (0.05, "5"),
        (1.0, "100"),
        (0.0, "0"),
        (0.005, "0_5"),
    ] {
        assert_eq!(percent(quantile), name);
    }
}
