//! Checks Pod Security `restricted` for the containers of steps and of Argo, and a read-only root
//! file system.

use std::collections::BTreeMap;

use document::http::names_secret;
use k8s_openapi::api::core::v1::{Container, SecurityContext, Volume};

use super::{Report, containers, schema, values};
use crate::step::PodSpecPatch;
use crate::workflow::{Template, WorkflowSpec};
use crate::yaml;

/// The definition of the pod that patches change.
const POD: &str = "io.k8s.api.core.v1.PodSpec";

/// Kinds of volumes that Pod Security `restricted` allows.
const RESTRICTED_VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

pub(super) fn workflow(spec: &WorkflowSpec, report: &mut Report<'_>) {
    let pod = spec.security_context.clone().unwrap_or_default();
    if pod.run_as_non_root != Some(true) || pod.run_as_user.is_none_or(|user| user <= 0) {
        report.say("security", "pods have to run as a user that is not root (securityContext)");
    }
    if pod.seccomp_profile.is_none_or(|profile| profile.type_ != "RuntimeDefault") {
        report.say("security", "pods need the seccomp profile RuntimeDefault (securityContext)");
    }
    if pod.fs_group.is_none() {
        report.say("security", "without fsGroup the pods' user may not write to their volumes");
    }
    if spec.automount_service_account_token != Some(false) {
        report.say(
            "security",
            "steps get a service account's token: automountServiceAccountToken has to be false",
        );
    }
    if spec.executor.is_none() {
        report.say(
            "security",
            "without the steps' token Argo's own containers need executor.serviceAccountName",
        );
    }
    for volume in &spec.volumes {
        let name = &volume.name;
        for kind in kinds(volume).filter(|kind| !RESTRICTED_VOLUMES.contains(&kind.as_str())) {
            let message =
                format!("volume `{name}`: Pod Security `restricted` allows no volume of {kind}");
            report.say("security", message);
        }
        size(volume, report);
    }
    patch(spec, report);
}

/// Returns the kinds of a volume; a valid one has exactly one.
fn kinds(volume: &Volume) -> impl Iterator<Item = String> {
    let fields = serde_json::to_value(volume).ok();
    let fields = fields.as_ref().and_then(|fields| fields.as_object()).cloned();
    fields.into_iter().flatten().map(|(name, _)| name).filter(|name| name != "name")
}

/// Checks that a volume that is an empty folder has a limit of its size.
pub(super) fn size(volume: &Volume, report: &mut Report<'_>) {
    let Some(folder) = &volume.empty_dir else { return };
    let name = &volume.name;
    let Some(limit) = &folder.size_limit else {
        return report.say("resources", format!("volume `{name}` has no sizeLimit"));
    };
    if let Some(problem) = values::wrong_quantity(&limit.0) {
        report.say("value", format!("volume `{name}`: {problem}"));
    }
}

/// Checks the patch of Argo's own containers: without the settings of the steps' containers, a
/// namespace that enforces `restricted` rejects them.
fn patch(spec: &WorkflowSpec, report: &mut Report<'_>) {
    let Some(patch) = &spec.pod_spec_patch else {
        return report
            .say("security", "podSpecPatch has to secure Argo's containers `init` and `wait`");
    };
    for error in schema::misfits_of_patch(POD, patch) {
        report.say("fields", format!("podSpecPatch: {error}"));
    }
    let patch: PodSpecPatch = match yaml::read(patch) {
        Ok(patch) => patch,
        Err(error) => return report.say("security", format!("podSpecPatch: {error}")),
    };
    for (name, containers) in [("init", &patch.init_containers), ("wait", &patch.containers)] {
        match containers.iter().find(|container| container.name == name) {
            Some(container) => restricted(&format!("podSpecPatch/{name}"), container, report),
            None => report.say("security", format!("podSpecPatch does not contain `{name}`")),
        }
    }
}

pub(super) fn template(template: &Template, report: &mut Report<'_>) {
    let patch = template.pod_spec_patch.as_deref();
    for error in patch.into_iter().flat_map(|patch| schema::misfits_of_patch(POD, patch)) {
        report.say("fields", format!("`{}`: podSpecPatch: {error}", template.name));
    }
    for (name, container) in containers(template) {
        own(&format!("{}/{name}", template.name), container, report);
    }
}

/// Checks for every container of Lynceus.
pub(super) fn own(owner: &str, container: &Container, report: &mut Report<'_>) {
    on_node(owner, container, false, report);
}

/// The same, for a container that may be root because it reads files of root on its node.
pub(super) fn on_node(
    owner: &str,
    container: &Container,
    may_be_root: bool,
    report: &mut Report<'_>,
) {
    contained(owner, container, report);
    let context = container.security_context.clone().unwrap_or_default();
    let is_root = context.run_as_non_root == Some(false) || context.run_as_user == Some(0);
    if is_root && !may_be_root {
        report.say("security", format!("`{owner}` may not run as root"));
    }
    let sourced = container.env.iter().flatten().filter(|it| it.value_from.is_some());
    for variable in sourced.filter(|it| it.value.as_ref().is_some_and(|value| !value.is_empty())) {
        let name = &variable.name;
        report.say("value", format!("`{owner}`: `{name}` has a value and a source of its value"));
    }
    let named = container.env.iter().flatten().filter(|variable| names_secret(&variable.name));
    for variable in named.filter(|it| it.value.as_ref().is_some_and(|value| !value.is_empty())) {
        let name = &variable.name;
        report.say("secret", format!("`{owner}`: the value of `{name}` belongs into a Secret"));
    }
    let root = container.security_context.as_ref().and_then(|c| c.read_only_root_filesystem);
    if root != Some(true) {
        report.say("security", format!("`{owner}`: the root file system has to be read-only"));
    }
    if container.resources.as_ref().is_none_or(|resources| {
        ["cpu", "memory"].iter().any(|what| {
            let has = |amounts: &Option<BTreeMap<String, _>>| {
                amounts.as_ref().is_some_and(|amounts| amounts.contains_key(*what))
            };
            !has(&resources.requests) || !has(&resources.limits)
        })
    }) {
        report.say("resources", format!("`{owner}` needs requests and limits of cpu and memory"));
    }
}

/// Checks every container: Pod Security, and valid resource quantities.
fn restricted(owner: &str, container: &Container, report: &mut Report<'_>) {
    contained(owner, container, report);
    let context = container.security_context.clone().unwrap_or_default();
    // A field that the container does not set is taken from the pod.
    if context.run_as_non_root == Some(false) || context.run_as_user == Some(0) {
        report.say("security", format!("`{owner}` may not run as root"));
    }
}

/// Pod Security `restricted`, apart from the user.
fn contained(owner: &str, container: &Container, report: &mut Report<'_>) {
    if let Some(resources) = &container.resources {
        values::resources(owner, resources, report);
    }
    let context = container.security_context.clone().unwrap_or_default();
    let SecurityContext { allow_privilege_escalation, capabilities, .. } = &context;
    if *allow_privilege_escalation != Some(false) {
        report.say("security", format!("`{owner}`: allowPrivilegeEscalation has to be false"));
    }
    let capabilities = capabilities.clone().unwrap_or_default();
    let drops_all = capabilities.drop.iter().flatten().any(|name| name == "ALL");
    if !drops_all || capabilities.add.iter().flatten().next().is_some() {
        report
            .say("security", format!("`{owner}`: all capabilities have to be dropped, none added"));
    }
    if context.seccomp_profile.is_some_and(|profile| profile.type_ != "RuntimeDefault") {
        report.say("security", format!("`{owner}`: the seccomp profile has to be RuntimeDefault"));
    }
}
