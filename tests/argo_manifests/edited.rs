//! Manifests that people have changed: fields of Argo and Kubernetes that the generator never
//! writes, and objects of other projects.

use anyhow::{Context as _, Result};
use argo::lint::File;
use pipelines::cli::manifest_findings;

use super::broken::TRAIN;
use super::{files, repository};

/// Returns the findings of all manifests after a change of the training, which each begin with the
/// place.
fn changed(from: &str, to: &str) -> Result<Vec<String>> {
    let mut files = files(&[])?;
    let train = files.iter_mut().find(|file| file.name == TRAIN).context("the training")?;
    anyhow::ensure!(train.text.contains(from), "`{from}` does not stand there");
    train.text = train.text.replacen(from, to, 1);
    Ok(manifest_findings(&files).iter().map(ToString::to_string).collect())
}

fn findings(text: &str) -> Vec<String> {
    let file = File { name: "x.yaml".to_owned(), text: text.to_owned() };
    manifest_findings(&[file]).iter().map(ToString::to_string).collect()
}

#[test]
fn valid_fields_of_a_workflow_are_accepted() -> Result<()> {
    for (from, to) in [
        (
            "  parallelism: 4\n",
            "  parallelism: 4\n  nodeSelector: {disk: ssd}\n  priority: 5\n  imagePullSecrets: [{name: registry}]\n  \
             tolerations: [{key: batch, operator: Exists, effect: NoSchedule}]\n",
        ),
        ("      limit: 3\n", "      limit: \"3\"\n      retryPolicy: Always\n"),
        ("- emptyDir:\n      sizeLimit: 8Gi\n", "- persistentVolumeClaim: {claimName: work}\n"),
        ("        envFrom:\n", "        env: [{name: RUST_LOG, value: debug}]\n        envFrom:\n"),
        ("        envFrom:\n", "        imagePullPolicy: Always\n        envFrom:\n"),
        ("          cpu: 100m\n", "          cpu: 0.1\n"),
    ] {
        let found = changed(from, to)?;
        // Steps need an emptyDir for what they write, whatever a schema allows.
        let others: Vec<&String> = found
            .iter()
            .filter(|finding| !finding.ends_with("no writable volume [path]"))
            .collect();
        assert_eq!(others, [""; 0], "{to}");
    }
    Ok(())
}

#[test]
fn wrong_fields_of_a_workflow_have_their_line_and_a_hint() -> Result<()> {
    for (from, to, expected) in [
        (
            "      limit: 3\n",
            "      limt: 3\n",
            "unknown field `limt` (did you mean `limit`?) [fields]",
        ),
        (
            "  activeDeadlineSeconds: 14400\n",
            "  activeDeadlineSeconds: \"60\"\n",
            "`activeDeadlineSeconds` must be an integer, and `60` is a string (remove the quotes) [fields]",
        ),
        (
            "readOnlyRootFilesystem: true",
            "readOnlyRootFilesystem: 'true'",
            "`readOnlyRootFilesystem` must be true or false, and `true` is a string (remove the quotes) [fields]",
        ),
        ("    - name: wait\n", "    - nam: wait\n", "podSpecPatch: line"),
    ] {
        let found = changed(from, to)?;
        let text =
            files(&[])?.into_iter().find(|file| file.name == TRAIN).context("training")?.text;
        let line = text.split(from).next().unwrap_or_default().lines().count();
        let found = found.iter().find(|finding| finding.contains(expected));
        let found = found.with_context(|| format!("`{expected}`"))?;
        let number = found.split(':').nth(1).and_then(|number| number.parse::<usize>().ok());
        // A text in a patch has no line of the file.
        assert!(number.is_none_or(|number| [line, line + 1].contains(&number)), "{line}: {found}");
    }
    Ok(())
}

#[test]
fn workflows_of_others_are_checked_by_their_fields_alone() {
    let workflow = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {generateName: a-}\nspec:\n  \
                    entrypoint: main\n  templates:\n  - name: main\n    steps: [[{name: a, template: b}]]\n  - name: b\n    \
                    retryStrategy: {limit: 3}\n    script: {image: python, command: [python], source: print(1)}\n";
    assert_eq!(findings(workflow), [""; 0]);
    assert_eq!(
        findings(&workflow.replace("limit: 3", "limt: 3")),
        ["x.yaml:10:21: Workflow/: unknown field `limt` (did you mean `limit`?) [fields]"]
    );
}

#[test]
fn objects_that_overlays_add_are_accepted() -> Result<()> {
    let mut files = files(&[])?;
    for name in ["statefulset", "service", "network-policies", "setup"] {
        let path = repository().join(format!("minio/{name}.yaml"));
        let text = fs_err::read_to_string(&path)?;
        files.push(File { name: path.display().to_string(), text });
    }
    let added = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: a}\nspec: {minAvailable: 50%, \
                 selector: {matchLabels: {a: b}}}\n---\napiVersion: external-secrets.io/v1\nkind: ExternalSecret\n\
                 metadata: {name: keys}\nspec: {anything: [1]}\n---\napiVersion: kustomize.config.k8s.io/v1beta1\n\
                 kind: Kustomization\nsortOptions: {order: fifo}\nnamePrefix: a-\nimages: [{name: x, newTag: '1'}]\n\
                 configMapGenerator: [{name: a, literals: [b=c]}]\npatches: [{path: p.yaml, target: {kind: Pod}}]\n\
                 ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\nbinaryData:\n  a: |\n    AAAA\n    AAAA\n\
                 ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: other}\n\
                 rules: [{apiGroups: [''], resources: [pods], verbs: [list]}]\n";
    files.push(File { name: "added.yaml".to_owned(), text: added.to_owned() });
    assert_eq!(manifest_findings(&files), []);
    assert_eq!(
        findings(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nsortOptions: {order: fifo}\nresource: [a]\n"
        ),
        [
            "x.yaml:4:1: Kustomization/: unknown field `resource` (did you mean `resources`?) [fields]"
        ]
    );
    Ok(())
}

#[test]
fn patches_of_an_overlay_are_checked_by_the_kind_that_they_change() {
    let overlay = |kind: &str, field: &str| {
        findings(&format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nsortOptions: {{order: fifo}}\n\
             resources: [../base]\npatches:\n- patch: |-\n    apiVersion: argoproj.io/v1alpha1\n    kind: {kind}\n    \
             metadata: {{name: lynceus-cluster-score}}\n    spec:\n      {field}\n- target: {{kind: CronWorkflow}}\n  \
             patch: |-\n    - op: remove\n      path: /spec/timezone\n"
        ))
    };
    assert_eq!(overlay("CronWorkflow", "suspend: true"), [""; 0]);
    assert_eq!(
        overlay("CronWorkflow", "workflowSpec: {volumes: [{name: a, $patch: delete}]}"),
        [""; 0]
    );
    assert_eq!(
        overlay("CronWorkflow", "suspnd: true"),
        [
            "x.yaml: Kustomization/: patch of CronWorkflow: line 5, column 3: unknown field `suspnd` (did you mean \
          `suspend`?) [fields]"
        ]
    );
    assert_eq!(
        overlay("CronWorkflo", "suspend: true"),
        [
            "x.yaml: Kustomization/: patch: `argoproj.io/v1alpha1` has no `CronWorkflo` (did you mean `CronWorkflow`?) [kind]"
        ]
    );
}
