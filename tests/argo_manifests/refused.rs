//! Manifests that are valid by themselves, but pass the wrong artifact or contain rejected values.

use argo::lint::File;
use pipelines::cli::manifest_findings;

use super::broken::{Break, CRON, POLICIES, SCORE, SEVERAL, TRAIN, every_one_is_found};

/// Artifacts, files and keys that belong to something else.
const BROKEN_WIRES: [Break; 12] = [
    (
        "outcome as the candidate",
        TRAIN,
        "{{tasks.train-adaptive.outputs.artifacts.candidate}}",
        "{{tasks.train-adaptive.outputs.artifacts.outcome}}",
        "artifact",
    ),
    (
        "findings as the data set",
        TRAIN,
        "{{tasks.collect-validate.outputs.artifacts.dataset}}",
        "{{tasks.collect-validate.outputs.artifacts.validation}}",
        "artifact",
    ),
    (
        "renamed key of the document",
        "cluster/document.yaml",
        "  document.yaml: |",
        "  doc.yaml: |",
        "reference",
    ),
    (
        "features that nothing writes",
        SCORE,
        "features.parquet\n          - --samples",
        "feature.parquet\n          - --samples",
        "path",
    ),
    (
        "samples as the features",
        SCORE,
        "/lynceus/feature/features.parquet\n          - --samples",
        "/lynceus/collect/samples.parquet\n          - --samples",
        "path",
    ),
    (
        "two outputs with one key",
        TRAIN,
        "{{workflow.uid}}/feature/outcome.json",
        "{{workflow.uid}}/collect/outcome.json",
        "artifact",
    ),
    (
        "key of another pipeline",
        TRAIN,
        "runs/cluster/{{workflow.uid}}/collect/samples",
        "runs/other/{{workflow.uid}}/collect/samples",
        "artifact",
    ),
    (
        "key that nothing writes",
        TRAIN,
        "key: runs/cluster/{{workflow.uid}}/\n",
        "key: runs/cluster/{{workflow.uid}}/run/\n",
        "artifact",
    ),
    (
        "model of another document",
        TRAIN,
        "- --model\n      - adaptive",
        "- --model\n      - z_score",
        "model",
    ),
    ("condition on another model", TRAIN, "'[ ,]adaptive[ ,]'", "'[ ,]adaptve[ ,]'", "model"),
    (
        "time that no step reads",
        SCORE,
        "value: \"{{workflow.scheduledTime}}\"",
        "value: \"{{workflow.creationTimestamp}}\"",
        "flags",
    ),
    (
        "time that the page does not read",
        TRAIN,
        "        value: \"{{workflow.creationTimestamp.RFC3339}}\"",
        "        value: \"{{workflow.creationTimestamp}}\"",
        "flags",
    ),
];

/// Values that the API server or Argo rejects, and references to missing objects.
const BROKEN_VALUES: [Break; 15] = [
    ("memory in no unit", TRAIN, "memory: 128Mi", "memory: 128MB", "value"),
    ("processor in no unit", TRAIN, "cpu: 100m", "cpu: 100mm", "value"),
    ("volume in no unit", TRAIN, "sizeLimit: 8Gi", "sizeLimit: 8GB", "value"),
    ("Argo's own memory in no unit", TRAIN, "memory: 512Mi", "memory: 512MB", "value"),
    (
        "request above the limit",
        TRAIN,
        "cpu: 100m\n          memory: 128Mi",
        "cpu: 100m\n          memory: 128Gi",
        "resources",
    ),
    ("wait in no unit", TRAIN, "duration: 10s", "duration: 10 secs", "value"),
    ("unknown time zone", CRON, "timezone: Etc/UTC", "timezone: Mars/Olympus", "value"),
    ("label with a space", TRAIN, "pipeline: cluster", "pipeline: a cluster", "value"),
    ("pod's label with a dash", SCORE, "component: score", "component: -score", "value"),
    (
        "lock of another workflow",
        SCORE,
        "- name: lynceus-cluster-score\n    podGC",
        "- name: lynceus-cluster-train\n    podGC",
        "mutex",
    ),
    (
        "secret in a ConfigMap",
        "store.yaml",
        "  AWS_REGION: us-east-1\n",
        "  AWS_REGION: us-east-1\n  AWS_SECRET_ACCESS_KEY: abc\n",
        "secret",
    ),
    (
        "misspelt Secret",
        TRAIN,
        "secretRef:\n            name: lynceus-trainer",
        "secretRef:\n            name: lynceus-trainr",
        "secret",
    ),
    (
        "misspelt account",
        TRAIN,
        "\n  serviceAccountName: lynceus-cluster-train",
        "\n  serviceAccountName: lynceus-cluster-trian",
        "rbac",
    ),
    (
        "token of a misspelt account",
        "executor.yaml",
        "service-account.name: lynceus-executor",
        "service-account.name: lynceus-executer",
        "rbac",
    ),
    (
        "template of another namespace",
        TRAIN,
        "  name: lynceus-cluster-train\nspec",
        "  name: lynceus-cluster-train\n  namespace: other\nspec",
        "template",
    ),
];

/// Errors that a real cluster rejects or runs wrongly without a message.
const BROKEN_CLUSTER: [Break; 6] = [
    (
        "volume of a single container",
        SCORE,
        "        - configMap:\n            name: lynceus-cluster-document\n          name: document\n",
        "        - configMap:\n            name: lynceus-cluster-document\n          name: other\n",
        "volume",
    ),
    (
        "another volume of the same name",
        SCORE,
        "        - configMap:\n            name: lynceus-cluster-document\n          name: document\n",
        "        - configMap:\n            name: other\n          name: document\n",
        "volume",
    ),
    (
        "patch that is none",
        SCORE,
        "podSpecPatch: |\n        volumes:",
        "podSpecPatch: |\n        volume:",
        "fields",
    ),
    ("clock without a wave", CRON, "sync-wave: \"1\"", "sync-wave: \"0\"", "order"),
    ("kustomize's own order", "kustomization.yaml", "order: fifo", "order: legacy", "order"),
    ("status before the end", SCORE, "{{workflow.failures}}", "{{workflow.failure}}", "reference"),
];

#[test]
fn lint_finds_what_a_cluster_refuses() -> anyhow::Result<()> {
    every_one_is_found(&SEVERAL, &BROKEN_CLUSTER)
}

#[test]
fn a_clock_before_its_template_in_one_stream_is_found() -> anyhow::Result<()> {
    let files = super::files(&[])?;
    let text = |name: &str| files.iter().find(|file| file.name == name).map(|it| it.text.clone());
    let (train, cron) = (text(TRAIN).unwrap_or_default(), text(CRON).unwrap_or_default());
    let found = |text: String| {
        let findings = manifest_findings(&[File { name: "stdin".to_owned(), text }]);
        findings.iter().any(|finding| finding.rule == "order")
    };
    assert!(!found(format!("{train}---\n{cron}")));
    assert!(found(format!("{cron}---\n{train}")));
    Ok(())
}

#[test]
fn wrong_artifact_kind_is_refused() -> anyhow::Result<()> {
    every_one_is_found(&SEVERAL, &BROKEN_WIRES)
}

#[test]
fn values_that_a_cluster_refuses_are_found() -> anyhow::Result<()> {
    every_one_is_found(&SEVERAL, &BROKEN_VALUES)
}

#[test]
fn a_prefix_that_is_longer_than_its_address_is_found() -> anyhow::Result<()> {
    let address = "sources.metrics.prometheus.url=http://10.1.2.3:9090";
    let anywhere = "sources.metrics.prometheus.in_cluster=null";
    every_one_is_found(
        &[address, anywhere],
        &[("prefix", POLICIES, "10.1.2.3/32", "10.1.2.3/33", "value")],
    )
}

#[test]
fn a_document_of_a_mebibyte_is_found() -> anyhow::Result<()> {
    let long = format!("description={}", "long ".repeat(210_000));
    let findings = manifest_findings(&super::files(&[&long])?);
    assert!(findings.iter().any(|finding| finding.rule == "size"), "{findings:?}");
    Ok(())
}
