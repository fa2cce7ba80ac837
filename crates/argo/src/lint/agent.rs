//! Checks agents: their single node folder is read-only, and flags, volumes, probe and policies are
//! correct.

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::objects::Objects;
use super::{Finding, Programs, Report, network, security, serving};
use crate::agent::{AGENT, ENFORCE, HEALTH, NODE_NAME, PROGRAM};
use crate::cluster::{Labels, given, name_of, selected};
use crate::{COMPONENT, PIPELINE};

pub(super) fn check(objects: &Objects, programs: &Programs, findings: &mut Vec<Finding>) {
    for (place, agent) in &objects.daemon_sets {
        let mut report = Report { place, findings };
        let spec = &agent.spec;
        let pod = spec.template.spec.clone().unwrap_or_default();
        let labels = serving::labels_of(&spec.template);
        if !serving::selects(selected(Some(&spec.selector)), labels) {
            report.say("reference", "the selector does not match the labels of the pods");
        }
        if labels.get(COMPONENT).is_none_or(|component| component != AGENT) {
            report.say("value", format!("the pods have no label `{COMPONENT}: {AGENT}`"));
        }
        if pod.automount_service_account_token != Some(false) {
            report.say("security", "the pods get a service account's token, and use none");
        }
        let own = pod.volumes.as_deref().unwrap_or_default();
        volumes(own, &mut report);
        let is_on_node = own.iter().any(|volume| volume.host_path.is_some());
        for container in &pod.containers {
            security::on_node(&container.name, container, is_on_node, &mut report);
            mounts(container, own, &mut report);
            flags(container, programs, &mut report);
            probe(container, &mut report);
        }
        namespace(&agent.metadata, is_on_node, objects, &mut report);
        policies(labels, &pod, objects, &mut report);
    }
}

/// Checks that a pod mounts at most one folder of its node.
fn volumes(volumes: &[Volume], report: &mut Report<'_>) {
    let of_node: Vec<&Volume> =
        volumes.iter().filter(|volume| volume.host_path.is_some()).collect();
    if of_node.len() > 1 {
        report.say("security", "the pods see more than one folder of their node (hostPath)");
    }
    for volume in of_node {
        let path = volume.host_path.as_ref().map_or("", |host| host.path.as_str());
        if !path.starts_with("/var/log/") {
            let message =
                format!("volume `{}`: `{path}` is not a folder below /var/log", volume.name);
            report.say("security", message);
        }
    }
    volumes.iter().for_each(|volume| security::size(volume, report));
}

fn mounts(container: &Container, volumes: &[Volume], report: &mut Report<'_>) {
    let owner = &container.name;
    for mount in container.volume_mounts.iter().flatten() {
        let name = &mount.name;
        match volumes.iter().find(|volume| volume.name == *name) {
            None => report.say("reference", format!("`{owner}`: there is no volume `{name}`")),
            Some(volume) if volume.host_path.is_some() && mount.read_only != Some(true) => report
                .say("security", format!("`{owner}`: the node's folder `{name}` is not read-only")),
            Some(_) => {}
        }
    }
}

/// Checks that the program has the flags, and that their variables exist.
fn flags(container: &Container, programs: &Programs, report: &mut Report<'_>) {
    let owner = &container.name;
    if container.command != Some(vec![format!("/{PROGRAM}")]) {
        return report.say("command", format!("`{owner}`: the command is not `/{PROGRAM}`"));
    }
    let is_set = |name: &str| container.env.iter().flatten().any(|variable| variable.name == name);
    let named = container.args.iter().flatten().flat_map(|text| text.split("$(").skip(1));
    for name in named.filter_map(|rest| rest.split_once(')')).map(|(name, _)| name) {
        if !is_set(name) {
            report.say("reference", format!("`{owner}`: there is no variable `{name}`"));
        }
    }
    // The node's name may also be a flag.
    let mut flags = container.args.clone().unwrap_or_default();
    if is_set(NODE_NAME) {
        flags.push("--node=NODE".to_owned());
    }
    let listen = match (programs.agent)(&flags) {
        Ok(service) => service.address,
        Err(error) => {
            let text = error.to_string();
            let lines: Vec<&str> = text.lines().take(2).map(str::trim).collect();
            return report.say("command", format!("`{owner}`: {}", lines.join(" ")));
        }
    };
    let port = listen.port();
    if listen.ip().is_loopback() {
        report.say(
            "command",
            format!(
                "`{owner}` listens on an address that only the pod itself \
                 can reach"
            ),
        );
    }
    serving::listens(container, port, report);
}

fn probe(container: &Container, report: &mut Report<'_>) {
    let owner = &container.name;
    let Some(probe) = &container.liveness_probe else {
        return report.say("settings", format!("`{owner}` has no liveness probe"));
    };
    let path = serving::probed("liveness", probe, container, report);
    if path != HEALTH {
        report.say("settings", format!("`{owner}`: liveness: `{path}` is not `{HEALTH}`"));
    }
}

/// Checks that the namespace admits the pods, and that its Pod Security level is no weaker than
/// necessary.
fn namespace(agent: &ObjectMeta, is_on_node: bool, objects: &Objects, report: &mut Report<'_>) {
    let own = |labels: &Labels| {
        labels.get(COMPONENT).is_some_and(|component| component == AGENT)
            && labels.get(PIPELINE) == given(agent.labels.as_ref()).get(PIPELINE)
    };
    let namespaces = objects.namespaces.iter().map(|(_, namespace)| &namespace.metadata);
    let Some(namespace) = namespaces.into_iter().find(|it| own(given(it.labels.as_ref()))) else {
        return;
    };
    let needed = if is_on_node { "privileged" } else { "restricted" };
    if given(namespace.labels.as_ref()).get(ENFORCE).is_none_or(|level| level != needed) {
        let name = name_of(namespace);
        report.say(
            "security",
            format!("the namespace `{name}` has to enforce Pod Security `{needed}`"),
        );
    }
}

/// Checks that policies deny by default, and allow Prometheus to scrape and the agent to use DNS.
fn policies(labels: &Labels, pod: &PodSpec, objects: &Objects, report: &mut Report<'_>) {
    if objects.network_policies.is_empty() {
        return;
    }
    let policies = network::selecting(objects, |selector| serving::selects(selector, labels));
    for direction in ["Ingress", "Egress"] {
        if !network::denies(&policies, direction) {
            report.say("network", format!("no policy denies {direction} by default"));
        }
    }
    let ports = pod.containers.iter().flat_map(|container| container.ports.iter().flatten());
    for number in ports.map(|port| port.container_port) {
        if !network::lets_in(&policies, number) {
            report.say("network", format!("no ingress rule allows TCP {number} of the metrics"));
        }
    }
    let mut ports = network::rules(&policies).flat_map(|rule| rule.ports.iter().flatten());
    if !ports.any(|port| network::is_port(port, 53) && network::protocol_of(port) == "UDP") {
        report.say("network", "the pods may not reach DNS: UDP 53");
    }
}
