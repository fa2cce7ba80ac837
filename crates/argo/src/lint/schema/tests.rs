//! Fields of valid and of broken objects.

use super::*;

const WORKFLOW: &str = "io.argoproj.workflow.v1alpha1.Workflow";
const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

fn said(definition: &str, text: &str) -> Vec<String> {
    let line = |misfit: Misfit| match misfit.place {
        Some((line, column)) => format!("{line}:{column}: {}", misfit.message),
        None => misfit.message,
    };
    misfits(definition, "x.yaml", text).into_iter().map(line).collect()
}

fn of_template(lines: &str) -> Vec<String> {
    said(WORKFLOW, &format!("metadata: {{}}\nspec:\n  templates:\n  - name: a\n{lines}"))
}

#[test]
fn every_reference_of_the_schemas_is_defined() {
    fn references<'a>(schema: &'a Schema, found: &mut Vec<&'a str>) {
        found.extend(schema.reference.as_deref());
        let inner = schema.properties.iter().flat_map(BTreeMap::values);
        let inner = inner.chain(schema.items.as_deref());
        inner.chain(schema.additional_properties.as_deref()).for_each(|it| {
            references(it, found);
        });
    }
    let mut found: Vec<&str> = PUBLISHED.kinds.values().map(String::as_str).collect();
    PUBLISHED.definitions.values().for_each(|it| references(it, &mut found));
    assert!(found.len() > 500, "{}", found.len());
    for name in found {
        assert!(PUBLISHED.definitions.contains_key(name), "{name}");
    }
}

#[test]
fn misspelt_field_has_its_place_and_the_meant_name() {
    assert_eq!(
        of_template("    retryStrategy: {limt: 3}\n"),
        ["5:21: unknown field `limt` (did you mean `limit`?)"]
    );
    assert_eq!(
        of_template("    onExt: b\n    retryStrategy: {times: 3}\n"),
        [
            "5:5: unknown field `onExt` (`Template` of Argo Workflows 4.1 has none of a similar name)",
            "6:21: unknown field `times` (known are affinity, backoff, expression, limit, retryPolicy)"
        ]
    );
}

#[test]
fn value_of_another_type_has_its_place_and_a_hint() {
    let spec =
        "metadata: {}\nspec:\n  activeDeadlineSeconds: \"60\"\n  suspend: 'yes'\n  priority: 1.5\n";
    assert_eq!(
        said(WORKFLOW, spec),
        [
            "3:26: `activeDeadlineSeconds` must be an integer, and `60` is a string (remove the quotes)",
            "4:12: `suspend` must be true or false, and `yes` is a string (remove the quotes)",
            "5:13: `priority` must be an integer, and `1.5` is a number"
        ]
    );
    assert_eq!(
        of_template("    container: {image: 3, command: sh, env: [{name: a, value: on}]}\n"),
        [
            "5:24: `image` must be a string, and `3` is an integer (put it in quotes)",
            "5:36: `command` must be a list, and `sh` is a string",
            "5:63: `value` must be a string, and `on` is a boolean (put it in quotes)"
        ]
    );
}

#[test]
fn valid_fields_that_the_generator_never_writes_are_accepted() {
    let template = "    nodeSelector: {disk: ssd}\n    tolerations: [{key: a, operator: Exists}]\n    \
         activeDeadlineSeconds: \"{{inputs.parameters.seconds}}\"\n    \
         retryStrategy: {limit: \"3\", retryPolicy: OnError}\n    \
         inputs: {parameters: [{name: b, value: 5}]}\n    \
         container:\n      image: x\n      resources: {limits: {cpu: 2, memory: 1Gi}}\n      \
         readinessProbe: {httpGet: {port: 8080}}\n      lifecycle: {preStop: {exec: {command: [a]}}}\n";
    assert_eq!(of_template(template), [""; 0]);
}

#[test]
fn text_in_quotes_that_is_not_indented_is_accepted_as_by_kubernetes() {
    let container =
        "    container:\n      args: [\"\n        a\n      \"]\n      image: x\n    onExt: b\n";
    assert_eq!(
        of_template(container),
        ["unknown field `onExt` (`Template` of Argo Workflows 4.1 has none of a similar name)"]
    );
}

#[test]
fn required_field_that_is_missing_or_null_is_an_error() {
    let text = "spec:\n  selector: {}\n  template:\n    spec:\n      containers:\n      - name:\n";
    assert_eq!(
        said(DEPLOYMENT, text),
        ["6:9: field `name` is missing (`Container` of Kubernetes 1.34)"]
    );
    let patch = misfits_of_patch("io.k8s.api.core.v1.PodSpec", "containers: [{imag: a}]\n");
    assert_eq!(patch.len(), 1, "{patch:?}");
}

#[test]
fn kinds_of_other_projects_are_foreign_and_similar_names_are_not() {
    for (version, kind, expected) in [
        ("argoproj.io/v1alpha1", "WorkflowTemplate", "described"),
        ("argoproj.io/v1alpha1", "WorkflowTemplte", "meant WorkflowTemplate"),
        ("argoproj.io/v1alpha1", "Rollout", "foreign"),
        ("external-secrets.io/v1", "ExternalSecret", "foreign"),
        ("apps/v1beta1", "Deployment", "elsewhere"),
        ("v1", "Pood", "meant Pod"),
        ("v1", "Fleet", "unknown"),
        ("apps/v1", "StatefulSet", "described"),
    ] {
        let found = match known(version, kind) {
            Known::Described(_) => "described".to_owned(),
            Known::Elsewhere(_) => "elsewhere".to_owned(),
            Known::Unknown(Some(meant)) => format!("meant {meant}"),
            Known::Unknown(None) => "unknown".to_owned(),
            Known::Foreign => "foreign".to_owned(),
        };
        assert_eq!(found, expected, "{version} {kind}");
    }
}

#[test]
fn plain_texts_have_the_types_that_kubectl_reads() {
    for (text, expected) in [
        ("yes", Found::Boolean),
        ("Off", Found::Boolean),
        ("TRUE", Found::Boolean),
        ("yES", Found::String),
        ("0644", Found::Integer),
        ("-1_000", Found::Integer),
        ("0x1F", Found::Integer),
        ("1.5", Found::Number),
        ("1e3", Found::Number),
        (".5", Found::Number),
        (".inf", Found::Number),
        ("1Gi", Found::String),
        ("10s", Found::String),
        ("infinity", Found::String),
        ("2026-11-21", Found::String),
        ("12:30", Found::String),
        ("-", Found::String),
    ] {
        assert_eq!(plain(text), expected, "{text}");
    }
}
