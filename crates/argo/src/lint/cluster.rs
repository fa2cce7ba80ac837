//! Checks permissions, documents and other objects that the workflows need in the namespace.

use std::path::Path;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::objects::{Objects, Texts, is_own};
use super::{Finding, Report, schema};
use crate::COMPONENT;
use crate::agent::{AGENT, ENFORCE};
use crate::cluster::{given, name_of};
use crate::workflow::WorkflowSpec;

/// Largest object that Kubernetes accepts, in bytes.
const OBJECT_BYTES: usize = 1 << 20;

/// Words in key names that a `ConfigMap` must not contain.
const SECRETS: [&str; 8] =
    ["secret", "password", "passwd", "token", "credential", "access_key", "api_key", "private_key"];

/// Checks objects by themselves.
pub(super) fn check(objects: &Objects, findings: &mut Vec<Finding>) {
    for (place, map) in &objects.config_maps {
        config_map(map, &mut Report { place, findings });
    }
    for (place, role) in &objects.roles {
        if !is_least(role.rules.as_deref().unwrap_or_default()) {
            let mut report = Report { place, findings };
            report.say(
                "rbac",
                "the role has to allow create and patch of workflowtaskresults, and nothing more",
            );
        }
    }
    cluster_roles(objects, findings);
    for (place, account) in &objects.service_accounts {
        let is_own = is_own(given(account.metadata.labels.as_ref()));
        if account.automount_service_account_token != Some(false) && is_own {
            Report { place, findings }.say("security", "pods get this account's token unasked");
        }
    }
    for (place, namespace) in &objects.namespaces {
        let labels = given(namespace.metadata.labels.as_ref());
        let (enforced, component) = (labels.get(ENFORCE), labels.get(COMPONENT));
        // The required Pod Security level of an agents' namespace depends on the agents' sources.
        let is_of_agents = component.is_some_and(|component| component == AGENT);
        if !is_of_agents && enforced.is_none_or(|level| level != "restricted") {
            let mut report = Report { place, findings };
            report.say("security", "the namespace does not enforce Pod Security `restricted`");
        }
    }
    for (place, secret) in &objects.token_secrets {
        let is_empty =
            given(secret.data.as_ref()).is_empty() && given(secret.string_data.as_ref()).is_empty();
        if !is_empty || secret.kind.as_deref() != Some("kubernetes.io/service-account-token") {
            Report { place, findings }
                .say("secret", "a manifest may hold no Secret but an empty one for a token");
        }
        let annotations = given(secret.metadata.annotations.as_ref());
        let account = annotations.get("kubernetes.io/service-account.name");
        if let Some(account) = account.filter(|account| is_missing(account, objects)) {
            Report { place, findings }
                .say("rbac", format!("there is no ServiceAccount `{account}`"));
        }
    }
}

/// Checks permissions in all namespaces: only those of the sink `kubernetes`, for an account that
/// exists.
fn cluster_roles(objects: &Objects, findings: &mut Vec<Finding>) {
    for (place, role) in &objects.cluster_roles {
        if !role.rules.iter().flatten().all(is_of_pods) {
            Report { place, findings }.say(
                "rbac",
                "a role of all namespaces may allow get and patch of pods and create of events, and nothing more",
            );
        }
    }
    for (place, binding) in &objects.cluster_role_bindings {
        let mut report = Report { place, findings };
        let name = &binding.role_ref.name;
        if !objects.cluster_roles.iter().any(|(_, role)| name_of(&role.metadata) == name) {
            report.say("rbac", format!("there is no ClusterRole `{name}`"));
        }
        for subject in binding.subjects.iter().flatten().filter(|it| is_missing(&it.name, objects))
        {
            report.say("rbac", format!("there is no ServiceAccount `{}`", subject.name));
        }
    }
}

fn is_of_pods(rule: &PolicyRule) -> bool {
    let allowed: &[&str] = match rule.resources.as_deref().unwrap_or_default() {
        [resource] if resource == "pods" => &["get", "patch"],
        [resource] if resource == "events" => &["create"],
        _ => return false,
    };
    rule.api_groups.as_ref().is_some_and(|groups| groups == &[""])
        && rule.verbs.iter().all(|verb| allowed.contains(&verb.as_str()))
}

/// Returns whether accounts were given, but not this one.
fn is_missing(account: &str, objects: &Objects) -> bool {
    let mut names = objects.service_accounts.iter().map(|(_, it)| name_of(&it.metadata));
    !objects.service_accounts.is_empty() && !names.any(|name| name == account)
}

fn config_map(map: &Texts, report: &mut Report<'_>) {
    let data = given(map.data.as_ref());
    let bytes: usize = data.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes >= OBJECT_BYTES {
        report
            .say("size", format!("{bytes} bytes are more than the {OBJECT_BYTES} of a ConfigMap"));
    }
    for (key, _) in data.iter().filter(|(key, value)| is_secret(key, value)) {
        report
            .say("secret", format!("`{key}` belongs into a Secret, whose values no manifest has"));
    }
    if let Some(text) = data.get("document.yaml") {
        match document::parse("document.yaml", text) {
            Ok(document) if !name_of(&map.metadata).contains(&document.name) => {
                report.say("document", format!("the document is that of `{}`", document.name));
            }
            Ok(_) => {}
            Err(error) => report.say("document", error.message),
        }
    }
}

/// Returns whether a text looks like a secret by its key; paths of files and files named after the
/// pipeline do not count.
fn is_secret(key: &str, value: &str) -> bool {
    let is_file = Path::new(key).extension().is_some();
    let key = key.to_lowercase().replace('-', "_");
    let is_named = SECRETS.iter().any(|word| key.contains(word));
    is_named && !is_file && !key.ends_with("_file") && !value.trim().is_empty()
}

fn is_least(rules: &[PolicyRule]) -> bool {
    let [rule] = rules else { return false };
    let mut verbs = rule.verbs.clone();
    verbs.sort();
    let is_only = |names: &Option<Vec<String>>, name: &str| {
        names.as_deref().is_some_and(|names| names == [name])
    };
    is_only(&rule.api_groups, "argoproj.io")
        && is_only(&rule.resources, "workflowtaskresults")
        && verbs == ["create", "patch"]
}

/// Checks the objects that a workflow references.
pub(super) fn workflow(spec: &WorkflowSpec, objects: &Objects, report: &mut Report<'_>) {
    accounts(spec, objects, report);
    for volume in &spec.volumes {
        let Some(map) = &volume.config_map else { continue };
        if !objects.config_maps.is_empty() && objects.config_map(&map.name).is_none() {
            report.say("reference", format!("there is no ConfigMap `{}`", map.name));
        }
    }
    match &spec.artifact_repository_ref {
        None => report.say(
            "artifact",
            "artifactRepositoryRef is missing: pods get the controller's default repository, whose Secret this \
             namespace may lack",
        ),
        Some(reference) if !objects.config_maps.is_empty() => {
            let map = objects.config_map(&reference.config_map);
            let text = map.and_then(|map| map.data.as_ref()?.get(&reference.key));
            let (map, key) = (&reference.config_map, &reference.key);
            let problems: Vec<String> = match text {
                Some(text) => schema::misfits("argo.ArtifactRepository", "repository", text)
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                None => vec!["it is not there".to_owned()],
            };
            for problem in problems {
                report
                    .say("artifact", format!("artifact repository `{key}` of `{map}`: {problem}"));
            }
        }
        _ => {}
    }
}

/// Returns whether a workflow passes artifacts, by inputs or outputs of any of its templates.
pub(super) fn has_artifacts(spec: &WorkflowSpec) -> bool {
    spec.templates.iter().any(|template| {
        [&template.inputs, &template.outputs]
            .into_iter()
            .flatten()
            .any(|arguments| !arguments.artifacts.is_empty())
    })
}

/// Checks that the accounts exist, and that the executor's account has its permission and its
/// token.
fn accounts(spec: &WorkflowSpec, objects: &Objects, report: &mut Report<'_>) {
    if objects.service_accounts.is_empty() {
        return;
    }
    let executor = spec.executor.as_ref().map(|executor| &executor.service_account_name);
    for name in spec.service_account_name.iter().chain(executor) {
        if is_missing(name, objects) {
            report.say("rbac", format!("there is no ServiceAccount `{name}`"));
        }
    }
    let Some(executor) = executor else { return };
    let bound = objects.role_bindings.iter().map(|(_, binding)| binding).any(|binding| {
        binding.subjects.iter().flatten().any(|s| s.kind == "ServiceAccount" && s.name == *executor)
            && objects
                .roles
                .iter()
                .any(|(_, role)| name_of(&role.metadata) == binding.role_ref.name)
    });
    if !bound {
        report.say("rbac", format!("`{executor}` has no role: Argo could not report results"));
    }
    let token = format!("{executor}.service-account-token");
    if !objects.token_secrets.iter().any(|(_, secret)| name_of(&secret.metadata) == token) {
        report.say("rbac", format!("there is no Secret `{token}`: Argo could not start a pod"));
    }
}
