//! Checks endpoints: secure pods; matching flags, ports, Services and autoscalers; and clients that
//! are allowed to connect.

use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodTemplateSpec, Probe, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::objects::Objects;
use super::{Finding, Programs, Report, network, security};
use crate::COMPONENT;
use crate::access::STORE;
use crate::cluster::{Labels, given, name_of, selected, text_of};
use crate::serving::{KSERVE_CONTAINER, LONGEST_NAME, SERVE};

/// The pods of an endpoint, from a Deployment or an `InferenceService`.
struct Pods<'a> {
    labels: &'a Labels,
    has_token: bool,
    security: Option<&'a PodSecurityContext>,
    containers: &'a [Container],
    volumes: &'a [Volume],
}

pub(super) fn check(objects: &Objects, programs: &Programs, findings: &mut Vec<Finding>) {
    for (place, deployment) in &objects.deployments {
        let spec = &deployment.spec;
        let pod = spec.template.spec.clone().unwrap_or_default();
        let mut report = Report { place, findings };
        let labels = labels_of(&spec.template);
        if !selects(selected(Some(&spec.selector)), labels) {
            report.say("reference", "the selector does not match the labels of the pods");
        }
        let pods = Pods {
            labels,
            has_token: pod.automount_service_account_token != Some(false),
            security: pod.security_context.as_ref(),
            containers: &pod.containers,
            volumes: pod.volumes.as_deref().unwrap_or_default(),
        };
        endpoint(&pods, objects, programs, &mut report);
    }
    for (place, service) in &objects.inference_services {
        let predictor = &service.spec.predictor;
        let mut report = Report { place, findings };
        let pods = Pods {
            labels: &predictor.labels,
            has_token: predictor.automount_service_account_token,
            security: Some(&predictor.security_context),
            containers: &predictor.containers,
            volumes: &predictor.volumes,
        };
        endpoint(&pods, objects, programs, &mut report);
        bounds(predictor.min_replicas, predictor.max_replicas, &mut report);
        if predictor.containers.iter().all(|container| container.name != KSERVE_CONTAINER) {
            report.say("name", format!("KServe needs a container named `{KSERVE_CONTAINER}`"));
        }
        if name_of(&service.metadata).len() > LONGEST_NAME {
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
        let spec = &service.spec;
        let mut pods = objects.deployments.iter().map(|(_, deployment)| &deployment.spec.template);
        let selector = given(spec.selector.as_ref());
        let Some(pods) = pods.find(|pods| selects(selector, labels_of(pods))) else {
            report.say("reference", "the Service selects no pods");
            continue;
        };
        let containers = pods.spec.iter().flat_map(|pod| &pod.containers);
        let containers: Vec<&Container> = containers.collect();
        for port in spec.ports.iter().flatten() {
            let target = port.target_port.clone().unwrap_or(IntOrString::Int(port.port));
            if !containers.iter().any(|container| has_port(container, &target)) {
                let name = text_of(&target);
                report.say("reference", format!("the pods have no port named `{name}`"));
            }
        }
    }
    for (place, scaler) in &objects.autoscalers {
        let mut report = Report { place, findings };
        let spec = &scaler.spec;
        let target = &spec.scale_target_ref;
        let is_there =
            objects.deployments.iter().any(|(_, it)| name_of(&it.metadata) == target.name);
        if target.kind != "Deployment" || !is_there {
            report.say("reference", format!("there is no {} `{}`", target.kind, target.name));
        }
        bounds(spec.min_replicas.unwrap_or(1), spec.max_replicas, &mut report);
    }
}

fn bounds(least: i32, most: i32, report: &mut Report<'_>) {
    if least == 0 {
        report.say("value", "minReplicas is 0: without Knative nothing starts a pod for a request");
    }
    if least > most {
        report.say("value", format!("minReplicas {least} is more than maxReplicas {most}"));
    }
}

fn endpoint(pods: &Pods<'_>, objects: &Objects, programs: &Programs, report: &mut Report<'_>) {
    if pods.security.and_then(|security| security.run_as_non_root) != Some(true) {
        report.say("security", "pods have to run as a user that is not root (securityContext)");
    }
    let profile = pods.security.and_then(|security| security.seccomp_profile.as_ref());
    if profile.is_none_or(|profile| profile.type_ != "RuntimeDefault") {
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
    if container.command.iter().flatten().next().is_none_or(|it| *it != format!("/{SERVE}")) {
        return report.say("command", format!("`{owner}`: the command is not `/{SERVE}`"));
    }
    let service = match (programs.serve)(container.args.as_deref().unwrap_or_default()) {
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
    listens(container, service.address.port(), report);
    let Some(file) = &service.token_file else {
        return report.say("security", format!("`{owner}` answers without a token (--token-file)"));
    };
    let mut mounts = container.volume_mounts.iter().flatten();
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
    let path = probed(what, probe, container, report);
    if !path.starts_with("/v2/health/") {
        report.say("settings", format!("`{owner}`: {what}: `{path}` is not a health endpoint"));
    }
}

/// Checks the port of a probe, and returns the path of its request.
pub(super) fn probed<'a>(
    what: &str,
    probe: &'a Probe,
    container: &Container,
    report: &mut Report<'_>,
) -> &'a str {
    let owner = &container.name;
    let Some(request) = &probe.http_get else { return "" };
    if !has_port(container, &request.port) {
        let port = text_of(&request.port);
        report.say("reference", format!("`{owner}`: {what}: there is no port named `{port}`"));
    }
    request.path.as_deref().unwrap_or("/")
}

/// Checks that a container names the port on which its program listens.
pub(super) fn listens(container: &Container, port: u16, report: &mut Report<'_>) {
    if !has_port(container, &IntOrString::Int(port.into())) {
        let owner = &container.name;
        report.say("command", format!("`{owner}` listens on port {port}, which `ports` lacks"));
    }
}

/// Returns whether a container has a port of this name or number.
fn has_port(container: &Container, port: &IntOrString) -> bool {
    container.ports.iter().flatten().any(|known| match port {
        IntOrString::Int(number) => known.container_port == *number,
        IntOrString::String(name) => known.name.as_ref() == Some(name),
    })
}

/// Checks that policies allow clients to connect, and the pods to reach the store.
fn reached(pods: &Pods<'_>, objects: &Objects, report: &mut Report<'_>) {
    let policies = network::selecting(objects, |selector| selects(selector, pods.labels));
    let numbers = pods.containers.iter().flat_map(|container| container.ports.iter().flatten());
    for number in numbers.map(|port| port.container_port) {
        if !network::lets_in(&policies, number) {
            report.say("network", format!("no ingress rule allows TCP {number} of the endpoint"));
        }
    }
    let is_denied = network::denies(&policies, "Egress");
    let mut ports = network::rules(&policies).flat_map(|rule| rule.ports.iter().flatten());
    let is_store_known = objects.config_map(STORE).is_some();
    if is_store_known && is_denied && ports.next().is_none() {
        report.say("network", "the pods have no egress rule, not even for the store");
    }
    if pods.labels.get(COMPONENT).is_none_or(|component| component != SERVE) {
        report.say("value", format!("the pods have no label `{COMPONENT}: {SERVE}`"));
    }
}

pub(super) fn selects(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Returns the labels of the pods of a template.
pub(super) fn labels_of(pods: &PodTemplateSpec) -> &Labels {
    given(pods.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref()))
}
