//! Checks endpoints: secure pods; matching flags, ports, Services and autoscalers; and clients that
//! are allowed to connect.

use super::objects::Objects;
use super::{Finding, Programs, Report, security};
use crate::COMPONENT;
use crate::access::STORE;
use crate::pod::{Container, Labels, PodSecurityContext, Probe, Volume};
use crate::serving::{KSERVE_CONTAINER, LONGEST_NAME, SERVE};

/// The pods of an endpoint, from a Deployment or an `InferenceService`.
struct Pods<'a> {
    labels: &'a Labels,
    has_token: bool,
    security: &'a PodSecurityContext,
    containers: &'a [Container],
    volumes: &'a [Volume],
}

pub(super) fn check(objects: &Objects, programs: &Programs, findings: &mut Vec<Finding>) {
    for (place, deployment) in &objects.deployments {
        let spec = &deployment.spec;
        let mut report = Report { place, findings };
        let labels = &spec.template.metadata.labels;
        if !selects(&spec.selector.match_labels, labels) {
            report.say("reference", "the selector does not match the labels of the pods");
        }
        let pods = Pods {
            labels,
            has_token: spec.template.spec.automount_service_account_token,
            security: &spec.template.spec.security_context,
            containers: &spec.template.spec.containers,
            volumes: &spec.template.spec.volumes,
        };
        endpoint(&pods, objects, programs, &mut report);
    }
    for (place, service) in &objects.inference_services {
        let predictor = &service.spec.predictor;
        let mut report = Report { place, findings };
        let pods = Pods {
            labels: &predictor.labels,
            has_token: predictor.automount_service_account_token,
            security: &predictor.security_context,
            containers: &predictor.containers,
            volumes: &predictor.volumes,
        };
        endpoint(&pods, objects, programs, &mut report);
        bounds(predictor.min_replicas, predictor.max_replicas, &mut report);
        if predictor.containers.iter().all(|container| container.name != KSERVE_CONTAINER) {
            report.say("name", format!("KServe needs a container named `{KSERVE_CONTAINER}`"));
        }
        if service.metadata.name.len() > LONGEST_NAME {
            report.say(
                "name",
                format!(
                    "the name has more than {LONGEST_NAME} characters: the host \
                     name that KServe derives from it may be too long"
                ),
            );
        }
        if !["cpu", "memory"].contains(&predictor.scale_metric.as_str()) {
            let metric = &predictor.scale_metric;
            report.say(
                "value",
                format!(
                    "scaleMetric `{metric}` needs Knative; cpu and memory work in Standard mode"
                ),
            );
        }
    }
    services(objects, findings);
}

fn services(objects: &Objects, findings: &mut Vec<Finding>) {
    for (place, service) in &objects.services {
        let mut report = Report { place, findings };
        let selected = objects.deployments.iter().map(|(_, deployment)| &deployment.spec.template);
        let Some(pods) = selected
            .into_iter()
            .find(|pods| selects(&service.spec.selector, &pods.metadata.labels))
        else {
            report.say("reference", "the Service selects no pods");
            continue;
        };
        for port in &service.spec.ports {
            let mut ports = pods.spec.containers.iter().flat_map(|container| &container.ports);
            if !ports.any(|known| known.is_named(&port.target_port)) {
                let name = &port.target_port;
                report.say("reference", format!("the pods have no port named `{name}`"));
            }
        }
    }
    for (place, scaler) in &objects.autoscalers {
        let mut report = Report { place, findings };
        let target = &scaler.spec.scale_target_ref;
        let is_there = objects.deployments.iter().any(|(_, it)| it.metadata.name == target.name);
        if target.kind != "Deployment" || !is_there {
            report.say("reference", format!("there is no {} `{}`", target.kind, target.name));
        }
        bounds(scaler.spec.min_replicas, scaler.spec.max_replicas, &mut report);
    }
}

fn bounds(least: u32, most: u32, report: &mut Report<'_>) {
    if least == 0 {
        report.say("value", "minReplicas is 0: without Knative nothing starts a pod for a request");
    }
    if least > most {
        report.say("value", format!("minReplicas {least} is more than maxReplicas {most}"));
    }
}

fn endpoint(pods: &Pods<'_>, objects: &Objects, programs: &Programs, report: &mut Report<'_>) {
    if pods.security.run_as_non_root != Some(true) {
        report.say("security", "pods have to run as a user that is not root (securityContext)");
    }
    let profile = pods.security.seccomp_profile.as_ref();
    if profile.is_none_or(|profile| profile.kind != "RuntimeDefault") {
        report.say("security", "pods need the seccomp profile RuntimeDefault (securityContext)");
    }
    if pods.has_token {
        report.say("security", "the pods get a service account's token, and use none");
    }
    for container in pods.containers {
        security::own(&container.name, container, report);
        flags(container, pods.volumes, programs, report);
        for (what, probe) in
            [("readiness", &container.readiness_probe), ("liveness", &container.liveness_probe)]
        {
            probes(what, probe.as_ref(), container, report);
        }
    }
    if !objects.network_policies.is_empty() {
        reached(pods, objects, report);
    }
}

/// Checks that the flags parse, and that a volume provides the files they name.
fn flags(container: &Container, volumes: &[Volume], programs: &Programs, report: &mut Report<'_>) {
    let owner = &container.name;
    if container.command.first().is_none_or(|program| *program != format!("/{SERVE}")) {
        return report.say("command", format!("`{owner}`: the command is not `/{SERVE}`"));
    }
    let service = match (programs.serve)(&container.args) {
        Ok(service) => service,
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            return report.say("command", format!("`{owner}`: {first}"));
        }
    };
    if service.address.ip().is_loopback() {
        report.say(
            "command",
            format!(
                "`{owner}` listens on an address that only the pod itself \
                 can reach"
            ),
        );
    }
    let port = service.address.port();
    if container.ports.iter().all(|known| known.container_port != port) {
        report.say("command", format!("`{owner}` listens on port {port}, which `ports` lacks"));
    }
    let Some(file) = &service.token_file else {
        return report.say("security", format!("`{owner}` answers without a token (--token-file)"));
    };
    let mut mounts = container.volume_mounts.iter();
    let is_held = mounts.any(|mount| {
        let is_volume = |volume: &&Volume| volume.name == mount.name && volume.secret.is_some();
        file.starts_with(&mount.mount_path) && volumes.iter().any(|volume| is_volume(&volume))
    });
    if !is_held {
        let file = file.display();
        report.say("secret", format!("`{owner}`: no Secret is mounted that could hold `{file}`"));
    }
}

fn probes(what: &str, probe: Option<&Probe>, container: &Container, report: &mut Report<'_>) {
    let owner = &container.name;
    let Some(probe) = probe else {
        return report.say("settings", format!("`{owner}` has no {what} probe"));
    };
    let (path, port) = (&probe.http_get.path, &probe.http_get.port);
    if !path.starts_with("/v2/health/") {
        report.say("settings", format!("`{owner}`: {what}: `{path}` is not a health endpoint"));
    }
    if container.ports.iter().all(|known| !known.is_named(port)) {
        report.say("reference", format!("`{owner}`: {what}: there is no port named `{port}`"));
    }
}

/// Checks that policies allow clients to connect, and the pods to reach the store.
fn reached(pods: &Pods<'_>, objects: &Objects, report: &mut Report<'_>) {
    let selecting = objects.network_policies.iter().map(|(_, policy)| &policy.spec);
    let selecting: Vec<_> = selecting
        .filter(|policy| selects(&policy.pod_selector.match_labels, pods.labels))
        .collect();
    let numbers = pods.containers.iter().flat_map(|container| &container.ports);
    for number in numbers.map(|port| port.container_port) {
        let mut rules = selecting.iter().flat_map(|policy| &policy.ingress);
        if !rules.any(|rule| rule.ports.iter().any(|port| port.port == number)) {
            report.say("network", format!("no ingress rule allows TCP {number} of the endpoint"));
        }
    }
    let is_denied = selecting
        .iter()
        .any(|policy| policy.policy_types.iter().any(|direction| direction == "Egress"));
    let mut egress = selecting.iter().flat_map(|policy| &policy.egress);
    let is_store_known = objects.config_map(STORE).is_some();
    if is_store_known && is_denied && !egress.any(|rule| !rule.ports.is_empty()) {
        report.say("network", "the pods have no egress rule, not even for the store");
    }
    if pods.labels.get(COMPONENT).is_none_or(|component| component != SERVE) {
        report.say("value", format!("the pods have no label `{COMPONENT}: {SERVE}`"));
    }
}

pub(super) fn selects(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
