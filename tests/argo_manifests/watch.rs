//! Do the dashboard and the rules query existing series, and do the rules fire correctly?

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, ensure};
use argo::lint::File;
use argo::{Options, RuleFormat, dashboard, rules, yaml};
use document::Document;
use pipelines::cli::manifest_findings;
use serde_json::Value;

/// The cluster pipeline with its scores sent to a server.
fn cluster() -> anyhow::Result<Document> {
    super::cluster(&[EXPORT])
}

const EXPORT: &str =
    "exports.prometheus.remote_write.url=http://prometheus-operated.monitoring:9090/api/v1/write";

/// Returns every metric of Lynceus that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("lynceus_")).collect()
}

fn expressions(document: &Document) -> anyhow::Result<Vec<String>> {
    let board: Value = serde_json::from_str(&dashboard::write(document)?)?;
    let panels = board["panels"].as_array().context("panels")?;
    let of_panel = |panel: &Value| Some(panel["targets"][0]["expr"].as_str()?.to_owned());
    Ok(panels.iter().filter_map(of_panel).collect())
}

#[test]
fn the_dashboard_asks_for_series_that_are_written_and_for_the_documents_queries()
-> anyhow::Result<()> {
    let document = cluster()?;
    let known: BTreeSet<&str> = export::metrics::METRICS.iter().map(|metric| metric.name).collect();
    let expressions = expressions(&document)?;
    let asked: BTreeSet<&str> = expressions.iter().flat_map(|text| named(text)).collect();
    let without_no_use: BTreeSet<&str> = known.iter().copied().collect();
    assert_eq!(asked, without_no_use, "every series has a place, and none is made up");
    assert!(named(&rules::write(&document)?).is_subset(&known));
    let own = expressions.iter().filter(|text| named(text).is_empty());
    let columns = document.columns().into_iter();
    let queries: Vec<String> = columns.map(|column| column.formula).collect();
    assert_eq!(own.cloned().collect::<Vec<_>>(), queries);
    Ok(())
}

#[test]
fn an_entity_can_be_chosen_where_there_are_some() -> anyhow::Result<()> {
    let mut document = cluster()?;
    assert!(!dashboard::write(&document)?.contains("$entity"));
    let source = document.sources.get_mut("metrics").context("the document has no `metrics`")?;
    source.queries[0].entity = Some("node".into());
    let board = dashboard::write(&document)?;
    assert!(board.contains("entity=~\\\"$entity\\\"") && board.contains("{{node}}"), "{board}");
    Ok(())
}

#[test]
fn without_metrics_there_is_no_dashboard() -> anyhow::Result<()> {
    let files = |sets: &[&str]| -> anyhow::Result<Vec<String>> {
        Ok(super::files(sets)?.into_iter().map(|file| file.name).collect())
    };
    assert!(files(&[EXPORT])?.contains(&"cluster/dashboard.yaml".to_owned()));
    let off = files(&[])?;
    assert!(
        !off.iter().any(|name| name.ends_with("dashboard.yaml") || name.ends_with("rules.yaml"))
    );
    Ok(())
}

#[test]
fn rules_for_the_operator_are_those_of_the_file() -> anyhow::Result<()> {
    let document = cluster()?;
    let options = Options { rules: RuleFormat::PrometheusRule, ..Options::default() };
    let manifests = argo::generate_with(std::slice::from_ref(&document), options)?;
    let named = manifests.iter().find(|manifest| manifest.path == "cluster/rules.yaml");
    let object: Value = yaml::read(&named.context("rules")?.text)?;
    assert_eq!(object["kind"], "PrometheusRule");
    assert_eq!(object["metadata"]["name"], "lynceus-cluster-rules");
    assert_eq!(object["spec"], yaml::read::<Value>(&rules::write(&document)?)?);
    let files: Vec<File> =
        manifests.into_iter().map(|m| File { name: m.path, text: m.text }).collect();
    assert_eq!(manifest_findings(&files), []);
    Ok(())
}

/// Input of promtool for the rules: minutes of series, and the expected alerts.
const PLAY: &str = r#"
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: lynceus_anomaly{pipeline="cluster", entity="node-1"}
        values: "0 1 0 1 1 1 0x60"
      - series: lynceus_anomaly{pipeline="cluster"}
        values: "0x40 1x30"
      - series: lynceus_no_data{pipeline="cluster", entity="node-1"}
        values: "0x30 1x30"
      - series: lynceus_windows_scored_total{pipeline="cluster"}
        values: "1+1x60 _x60"
      - series: lynceus_feature_drift{pipeline="cluster", feature="a"}
        values: "0.1 _x59 0.4 _x200"
    alert_rule_test:
      - {eval_time: 1m, alertname: LynceusAnomaly}
      - {eval_time: 3m, alertname: LynceusAnomaly}
      - eval_time: 5m
        alertname: LynceusAnomaly
        exp_alerts:
          - exp_labels: {severity: warning, pipeline: cluster, entity: node-1}
            exp_annotations: {summary: "`node-1` of cluster does not behave as usual"}
      - {eval_time: 6m, alertname: LynceusAnomaly}
      - {eval_time: 30m, alertname: LynceusNoData}
      - eval_time: 33m
        alertname: LynceusNoData
        exp_alerts:
          - exp_labels: {severity: warning, pipeline: cluster, entity: node-1}
            exp_annotations: {summary: "too much data of `node-1` of cluster is missing for a verdict"}
      - eval_time: 50m
        alertname: LynceusAnomaly
        exp_alerts:
          - exp_labels: {severity: warning, pipeline: cluster}
            exp_annotations: {summary: "cluster does not behave as usual"}
      - {eval_time: 60m, alertname: LynceusScoringStopped}
      - eval_time: 100m
        alertname: LynceusScoringStopped
        exp_alerts:
          - exp_labels: {severity: critical, pipeline: cluster}
            exp_annotations: {summary: "no window of cluster was scored for 15m"}
      - {eval_time: 59m, alertname: LynceusFeatureDrift}
      - eval_time: 90m
        alertname: LynceusFeatureDrift
        exp_alerts:
          - exp_labels: {severity: info, pipeline: cluster, feature: a}
            exp_annotations: {summary: "the last day of `a` is unlike the training data of cluster"}
"#;

#[test]
fn promtool_approves_of_the_rules_and_they_fire_when_they_should() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    fs_err::write(folder.path().join("rules.yaml"), rules::write(&cluster()?)?)?;
    fs_err::write(folder.path().join("play.yaml"), PLAY)?;
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "play.yaml"]] {
        let output = Command::new("promtool")
            .current_dir(folder.path())
            .args(arguments)
            .output()
            .context("cannot start `promtool`: apt-get install prometheus")?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }
    Ok(())
}

#[test]
fn a_sink_that_writes_into_the_cluster_has_an_account_that_may_do_no_more() -> anyhow::Result<()> {
    let sink = |settings: &str| {
        format!(
            "exports.pods.kubernetes={{url: 'https://kubernetes.default.svc', {settings}, \
             auth: {{bearer_token: {{file: /etc/lynceus/export/token}}}}, \
             tls: {{ca_file: /etc/lynceus/export/ca.crt}}}}"
        )
    };
    let account = |settings: &str| -> anyhow::Result<String> {
        let files = super::files(&[&sink(settings)])?;
        let findings = manifest_findings(&files);
        ensure!(findings.is_empty(), "{findings:?}");
        let file = files.into_iter().find(|file| file.name == "cluster/export-account.yaml");
        Ok(file.context("no account")?.text)
    };
    let both = account("events: true, annotations: true")?;
    let objects = yaml::documents(&both).into_iter().map(|(_, text)| yaml::read::<Value>(&text));
    let objects: Vec<Value> = objects.collect::<Result<_, _>>()?;
    let names: Vec<[&Value; 2]> =
        objects.iter().map(|object| [&object["kind"], &object["metadata"]["name"]]).collect();
    assert_eq!(
        names,
        [
            ["ServiceAccount", "lynceus-cluster-export"],
            ["Secret", "lynceus-cluster-export"],
            ["ClusterRole", "lynceus.lynceus.cluster.export"],
            ["ClusterRoleBinding", "lynceus.lynceus.cluster.export"],
        ]
    );
    assert_eq!(objects[1]["type"], "kubernetes.io/service-account-token");
    let account_of = &objects[1]["metadata"]["annotations"]["kubernetes.io/service-account.name"];
    assert_eq!(account_of, "lynceus-cluster-export");
    let rules = |text: &str| -> anyhow::Result<Value> {
        let role = text.split("---\n").find(|text| text.contains("kind: ClusterRole\n"));
        let role: Value =
            yaml::read(role.context("no role")?).map_err(|e| anyhow::anyhow!("{e}"))?;
        Ok(role["rules"].clone())
    };
    let rule = |resource: &str, verbs: &[&str]| serde_json::json!({"apiGroups": [""], "resources": [resource], "verbs": verbs});
    let expected = [rule("events", &["create"]), rule("pods", &["get", "patch"])];
    assert_eq!(rules(&both)?, Value::from(expected.to_vec()));
    assert_eq!(rules(&account("annotations: true")?)?, Value::from(vec![rule("pods", &["patch"])]));
    let files = super::files(&[EXPORT])?;
    assert!(files.iter().all(|file| !file.text.contains("ClusterRole")), "others have none");
    // A permission that the sink does not need is refused.
    let mut files = super::files(&[&sink("events: true")])?;
    for file in &mut files {
        file.text = file.text.replace("- create\n", "- delete\n");
    }
    let findings = manifest_findings(&files);
    assert!(
        findings.iter().any(|it| it.message.contains("all namespaces may allow")),
        "{findings:?}"
    );
    Ok(())
}
