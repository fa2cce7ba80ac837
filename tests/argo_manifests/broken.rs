//! Manifests broken in one place each, and the rule of the lint that finds it.

use anyhow::{Context as _, ensure};
use argo::lint::Finding;
use pipelines::cli::manifest_findings;

use super::{TALKATIVE, files};

/// An error in a manifest: its name, the file, the original text, the replacement, and the rule
/// that finds it.
pub(super) type Break = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// A second model, so that a training has several pods.
pub(super) const SEVERAL: [&str; 1] = ["models.z_score={}"];

pub(super) const TRAIN: &str = "cluster/train.yaml";
pub(super) const SCORE: &str = "cluster/score.yaml";
/// The `CronWorkflows` of trainings, which reference a template.
pub(super) const CRON: &str = "cluster/retrain.yaml";
pub(super) const POLICIES: &str = "cluster/network-policies.yaml";

/// Fields, templates, tasks and their artifacts.
const BROKEN_GRAPHS: [Break; 19] = [
    ("misspelt field", TRAIN, "parallelism:", "paralelism:", "fields"),
    ("singular schedule", CRON, "schedules:\n  - 17 3 * * *", "schedule: 17 3 * * *", "fields"),
    ("wrong API", TRAIN, "argoproj.io/v1alpha1", "argoproj.io/v1", "kind"),
    ("unknown kind", TRAIN, "kind: WorkflowTemplate", "kind: WorkflowTemplte", "kind"),
    ("upper-case name", TRAIN, "name: lynceus-cluster-train", "name: Lynceus", "name"),
    ("underscore in a task", TRAIN, "- name: train-", "- name: train_", "name"),
    ("missing entrypoint", TRAIN, "entrypoint: training", "entrypoint: trainin", "template"),
    (
        "missing template",
        TRAIN,
        "template: collect-validate",
        "template: collect-validat",
        "template",
    ),
    (
        "missing WorkflowTemplate",
        CRON,
        "name: lynceus-cluster-train\n    arg",
        "name: other\n    arg",
        "template",
    ),
    (
        "two types of template",
        TRAIN,
        "    container:\n",
        "    dag: {tasks: []}\n    container:\n",
        "template",
    ),
    (
        "cycle",
        TRAIN,
        "template: collect-validate\n",
        "template: collect-validate\n        dependencies: [select-deploy]\n",
        "cycle",
    ),
    (
        "unknown dependency",
        TRAIN,
        "        - collect-validate\n",
        "        - collect-validat\n",
        "dependency",
    ),
    (
        "consumer does not wait",
        TRAIN,
        "        dependencies:\n        - collect-validate\n",
        "",
        "artifact",
    ),
    ("missing output", TRAIN, "artifacts.dataset}}", "artifacts.datset}}", "reference"),
    ("missing task", TRAIN, "{{tasks.collect-", "{{tasks.colect-", "reference"),
    (
        "missing argument",
        TRAIN,
        "- name: dataset\n            from",
        "- name: datset\n            from",
        "artifact",
    ),
    ("unknown parameter of a cron", CRON, "- name: now", "- name: today", "parameter"),
    (
        "unused parameter",
        TRAIN,
        "    - name: seed\n",
        "    - name: depth\n      value: \"3\"\n    - name: seed\n",
        "unused",
    ),
    (
        "container set out of order",
        SCORE,
        "          dependencies:\n          - 1-collect\n          - 2-feature\n",
        "",
        "dependency",
    ),
];

/// References, flags and ports.
const BROKEN_COMMANDS: [Break; 16] = [
    ("missing parameter", TRAIN, "workflow.parameters.tag", "workflow.parameters.tga", "reference"),
    (
        "missing input",
        TRAIN,
        "- \"{{inputs.parameters.seed}}\"",
        "- \"{{inputs.parameters.sed}}\"",
        "reference",
    ),
    (
        "no closing braces",
        TRAIN,
        "- \"{{inputs.parameters.now}}\"",
        "- \"{{inputs.parameters.now\"",
        "reference",
    ),
    (
        "scheduled time in a template",
        TRAIN,
        "{{workflow.creationTimestamp.RFC3339}}",
        "{{workflow.scheduledTime}}",
        "reference",
    ),
    (
        "unresolved default",
        TRAIN,
        "- \"{{inputs.parameters.now}}\"",
        "- \"{{workflow.parameters.now}}\"",
        "reference",
    ),
    ("renamed flag", TRAIN, "- --samples\n", "- --sample\n", "flags"),
    ("missing flag", TRAIN, "        - --bundle\n        - /lynceus/select/bundle\n", "", "flags"),
    ("seed that is not a number", TRAIN, "value: \"7\"", "value: seven", "flags"),
    ("store that is a folder", TRAIN, "value: s3://lynceus", "value: /store", "flags"),
    ("no command", TRAIN, "        command:\n        - /collect\n", "", "command"),
    ("image of another step", TRAIN, "images}}/collect:", "images}}/feature:", "command"),
    (
        "output outside the work folder",
        TRAIN,
        "- /lynceus/collect/samples.parquet",
        "- /tmp/samples.parquet",
        "path",
    ),
    (
        "artifact that no flag names",
        TRAIN,
        "path: /inputs/validate/dataset",
        "path: /inputs/dataset",
        "port",
    ),
    (
        "output that nothing keeps",
        TRAIN,
        "path: /lynceus/validate/validation.json",
        "path: /lynceus/validate/other.json",
        "port",
    ),
    (
        "packed artifact",
        TRAIN,
        "samples.parquet\n        archive:\n          none: {}\n",
        "samples.parquet\n",
        "artifact",
    ),
    (
        "same key for every run",
        TRAIN,
        "runs/cluster/{{workflow.uid}}/collect/samples",
        "runs/cluster/collect/samples",
        "artifact",
    ),
];

/// Permissions, secrets, times and the rest of the namespace.
const BROKEN_SURROUNDINGS: [Break; 30] = [
    (
        "value of a secret",
        TRAIN,
        "        envFrom:\n",
        "        env: [{name: API_TOKEN, value: abc}]\n        envFrom:\n",
        "secret",
    ),
    (
        "volume that Pod Security refuses",
        TRAIN,
        "- emptyDir:\n      sizeLimit: 8Gi\n",
        "- nfs: {server: a, path: /}\n",
        "security",
    ),
    ("retry on any failure", TRAIN, "      expression:", "      retryPolicy:", "retry"),
    (
        "misspelt field of the artifact repository",
        "store.yaml",
        "keyFormat:",
        "keyFromat:",
        "artifact",
    ),
    (
        "folder's key without a slash",
        TRAIN,
        "validate/dataset/\n",
        "validate/dataset\n",
        "artifact",
    ),
    (
        "root",
        TRAIN,
        "    runAsUser: 65532\n    seccomp",
        "    runAsUser: 0\n    seccomp",
        "security",
    ),
    (
        "writable root",
        SCORE,
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        "security",
    ),
    (
        "privilege escalation",
        SCORE,
        "            allowPrivilegeEscalation: false",
        "            allowPrivilegeEscalation: true",
        "security",
    ),
    (
        "capability kept",
        TRAIN,
        "        capabilities:\n          drop:\n          - ALL\n        readOnly",
        "        readOnly",
        "security",
    ),
    (
        "Argo's wait container unsecured",
        TRAIN,
        "    - name: wait\n",
        "    - name: main\n",
        "security",
    ),
    (
        "service account token",
        TRAIN,
        "automountServiceAccountToken: false",
        "automountServiceAccountToken: true",
        "security",
    ),
    (
        "host path",
        TRAIN,
        "- emptyDir:\n      sizeLimit: 8Gi\n",
        "- hostPath: {path: /}\n",
        "security",
    ),
    (
        "no limits",
        TRAIN,
        "        limits:\n          cpu: \"2\"\n",
        "        limits:\n",
        "resources",
    ),
    (
        "keys for a step without a store",
        TRAIN,
        "      - /train\n",
        "      - /train\n      envFrom: [{secretRef: {name: lynceus-trainer}}]\n",
        "secret",
    ),
    (
        "no keys for a step with a store",
        TRAIN,
        "        - secretRef:\n            name: lynceus-trainer\n",
        "",
        "secret",
    ),
    (
        "secret with a value",
        "executor.yaml",
        "kind: Secret\n",
        "kind: Secret\ndata: {token: c2VjcmV0}\n",
        "secret",
    ),
    ("too many rights", "executor.yaml", "  - patch\n", "  - patch\n  - delete\n", "rbac"),
    (
        "no role",
        "executor.yaml",
        "subjects:\n- kind: ServiceAccount\n  name: lynceus-executor",
        "subjects:\n- kind: ServiceAccount\n  name: default",
        "rbac",
    ),
    (
        "no default deny",
        "network-policies.yaml",
        "  policyTypes:\n  - Ingress\n  - Egress\n",
        "  policyTypes:\n  - Egress\n",
        "network",
    ),
    ("source is not allowed", POLICIES, "port: 9090", "port: 9091", "network"),
    ("no way to names", "network-policies.yaml", "protocol: UDP", "protocol: TCP", "network"),
    (
        "missing ConfigMap",
        TRAIN,
        "name: lynceus-cluster-document",
        "name: lynceus-document",
        "reference",
    ),
    (
        "broken document",
        "cluster/document.yaml",
        "    step: 1m\n",
        "    step: 1 minute\n",
        "document",
    ),
    (
        "deadline on a dag",
        TRAIN,
        "    dag:\n",
        "    activeDeadlineSeconds: 60\n    dag:\n",
        "deadline",
    ),
    ("no deadline", TRAIN, "    activeDeadlineSeconds: 3600\n", "", "deadline"),
    ("retry on refused data", TRAIN, "['4', '5']", "['3', '4', '5']", "retry"),
    (
        "overlapping trainings",
        TRAIN,
        "  synchronization:\n    mutexes:\n    - name: lynceus-cluster-train\n",
        "",
        "mutex",
    ),
    (
        "artifact repository of the controller",
        SCORE,
        "    artifactRepositoryRef:\n      configMap: lynceus-artifacts\n      key: repository\n",
        "",
        "artifact",
    ),
    ("overlapping scorings", SCORE, "Forbid", "Allow", "schedule"),
    ("late minute", SCORE, "startingDeadlineSeconds: 50", "startingDeadlineSeconds: 0", "schedule"),
];

/// Secrets, destinations and models of the document with one of each kind.
const BROKEN_TALKS: [Break; 9] = [
    ("no token of the source", TRAIN, "/etc/lynceus/source\n", "/etc/lynceus/sauce\n", "secret"),
    ("no token of a sink", SCORE, "/etc/lynceus/export\n", "/etc/lynceus/exit\n", "secret"),
    ("no password of a channel", SCORE, "/etc/lynceus/alert\n", "/etc/lynceus/alarm\n", "secret"),
    ("no variable of a channel", SCORE, "name: lynceus-cluster-alert\n", "name: other\n", "secret"),
    ("no way to a sink", POLICIES, "name: observability", "name: monitoring", "network"),
    ("channel is not allowed", POLICIES, "port: 587", "port: 25", "network"),
    ("way of other pods", SCORE, "lynceus/alert: allowed", "lynceus/alert: denied", "network"),
    ("store is not allowed", "network-policies.yaml", "port: 9000", "port: 9001", "network"),
    (
        "needs a model that may be skipped",
        TRAIN,
        "artifacts.candidate}}\"\n            optional: true\n",
        "artifacts.candidate}}\"\n",
        "artifact",
    ),
];

fn findings_of(sets: &[&str], (name, file, from, to, _): Break) -> anyhow::Result<Vec<Finding>> {
    let mut files = files(sets)?;
    ensure!(manifest_findings(&files).is_empty(), "whole, they have no finding at all");
    let broken = files.iter_mut().find(|other| other.name == file).context(file)?;
    ensure!(broken.text.contains(from), "{name}: `{from}` does not stand in {file}");
    broken.text = broken.text.replacen(from, to, 1);
    Ok(manifest_findings(&files))
}

pub(super) fn every_one_is_found(sets: &[&str], breaks: &[Break]) -> anyhow::Result<()> {
    for one in breaks {
        let (name, _, _, _, rule) = *one;
        let findings = findings_of(sets, *one)?;
        ensure!(
            findings.iter().any(|finding| finding.rule == rule),
            "{name}: expected [{rule}], found {findings:#?}"
        );
    }
    Ok(())
}

#[test]
fn broken_templates_tasks_and_artifacts_are_found() -> anyhow::Result<()> {
    every_one_is_found(&SEVERAL, &BROKEN_GRAPHS)
}

#[test]
fn broken_references_flags_and_ports_are_found() -> anyhow::Result<()> {
    every_one_is_found(&SEVERAL, &BROKEN_COMMANDS)
}

#[test]
fn broken_rights_times_and_networks_are_found() -> anyhow::Result<()> {
    every_one_is_found(&SEVERAL, &BROKEN_SURROUNDINGS)
}

#[test]
fn missing_secrets_and_closed_ways_are_found() -> anyhow::Result<()> {
    every_one_is_found(&TALKATIVE, &BROKEN_TALKS)
}
