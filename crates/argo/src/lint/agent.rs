//! Checks agents: their single node folder is read-only, and flags, volumes, probe and policies are
//! correct.

use super::objects::Objects;
use super::{Finding, Programs, Report, security, values};
use crate::agent::objects::DaemonSet;
use crate::agent::{AGENT, ENFORCE, HEALTH, NODE_NAME, PROGRAM};
use crate::cluster::NetworkPolicySpec;
use crate::pod::{Container, Volume};
use crate::serving::objects::PodSpec;
use crate::{COMPONENT, PIPELINE};

pub(super) fn check(objects: &Objects, programs: &Programs, findings: &mut Vec<Finding>) {
    for (place, agent) in &objects.daemon_sets {
        let mut report = Report { place, findings };
        let pod = &agent.spec.template.spec;
        let labels = &agent.spec.template.metadata.labels;
        if !super::serving::selects(&agent.spec.selector.match_labels, labels) {
            report.say("reference", "the selector does not match the labels of the pods");
        }
        if labels.get(COMPONENT).is_none_or(|component| component != AGENT) {
            report.say("value", format!("the pods have no label `{COMPONENT}: {AGENT}`"));
        }
        if pod.automount_service_account_token {
            report.say("security", "the pods get a service account's token, and use none");
        }
        volumes(pod, &mut report);
        let is_on_node = pod.volumes.iter().any(|volume| volume.host_path.is_some());
        for container in &pod.containers {
            security::on_node(&container.name, container, is_on_node, &mut report);
            mounts(container, &pod.volumes, &mut report);
            flags(container, programs, &mut report);
            probe(container, &mut report);
        }
        namespace(agent, is_on_node, objects, &mut report);
        network(agent, objects, &mut report);
    }
}

/// Checks that a pod mounts at most one folder of its node.
fn volumes(pod: &PodSpec, report: &mut Report<'_>) {
    let of_node: Vec<&Volume> =
        pod.volumes.iter().filter(|volume| volume.host_path.is_some()).collect();
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
    for volume in &pod.volumes {
        let Some(folder) = &volume.empty_dir else { continue };
        match folder.size_limit.as_deref() {
            None => report.say("resources", format!("volume `{}` has no sizeLimit", volume.name)),
            Some(size) => {
                if let Some(problem) = values::wrong_quantity(size) {
                    report.say("value", format!("volume `{}`: {problem}", volume.name));
                }
            }
        }
    }
}

fn mounts(container: &Container, volumes: &[Volume], report: &mut Report<'_>) {
    let owner = &container.name;
    for mount in &container.volume_mounts {
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
    if container.command != [format!("/{PROGRAM}")] {
        return report.say("command", format!("`{owner}`: the command is not `/{PROGRAM}`"));
    }
    let is_set = |name: &str| container.env.iter().any(|variable| variable.name == name);
    let named = container.args.iter().flat_map(|text| text.split("$(").skip(1));
    for name in named.filter_map(|rest| rest.split_once(')')).map(|(name, _)| name) {
        if !is_set(name) {
            report.say("reference", format!("`{owner}`: there is no variable `{name}`"));
        }
    }
    // The node's name may also be a flag.
    let mut flags = container.args.clone();
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
    if container.ports.iter().all(|known| known.container_port != port) {
        report.say("command", format!("`{owner}` listens on port {port}, which `ports` lacks"));
    }
}

fn probe(container: &Container, report: &mut Report<'_>) {
    let owner = &container.name;
    let Some(probe) = &container.liveness_probe else {
        return report.say("settings", format!("`{owner}` has no liveness probe"));
    };
    let (path, port) = (&probe.http_get.path, &probe.http_get.port);
    if path != HEALTH {
        report.say("settings", format!("`{owner}`: liveness: `{path}` is not `{HEALTH}`"));
    }
    if container.ports.iter().all(|known| !known.is_named(port)) {
        report.say("reference", format!("`{owner}`: liveness: there is no port named `{port}`"));
    }
}

/// Checks that the namespace admits the pods, and that its Pod Security level is no weaker than
/// necessary.
fn namespace(agent: &DaemonSet, is_on_node: bool, objects: &Objects, report: &mut Report<'_>) {
    let own = |labels: &crate::pod::Labels| {
        labels.get(COMPONENT).is_some_and(|component| component == AGENT)
            && labels.get(PIPELINE) == agent.metadata.labels.get(PIPELINE)
    };
    let namespaces = objects.namespaces.iter().map(|(_, namespace)| &namespace.metadata);
    let Some(namespace) = namespaces.into_iter().find(|metadata| own(&metadata.labels)) else {
        return;
    };
    let needed = if is_on_node { "privileged" } else { "restricted" };
    if namespace.labels.get(ENFORCE).is_none_or(|level| level != needed) {
        let name = &namespace.name;
        report.say(
            "security",
            format!("the namespace `{name}` has to enforce Pod Security `{needed}`"),
        );
    }
}

/// Checks that policies deny by default, and allow Prometheus to scrape and the agent to use DNS.
fn network(agent: &DaemonSet, objects: &Objects, report: &mut Report<'_>) {
    if objects.network_policies.is_empty() {
        return;
    }
    let template = &agent.spec.template;
    let selecting: Vec<&NetworkPolicySpec> = objects
        .network_policies
        .iter()
        .map(|(_, policy)| &policy.spec)
        .filter(|policy| {
            super::serving::selects(&policy.pod_selector.match_labels, &template.metadata.labels)
        })
        .collect();
    for direction in ["Ingress", "Egress"] {
        let mut types = selecting.iter().flat_map(|policy| &policy.policy_types);
        if !types.any(|other| other == direction) {
            report.say("network", format!("no policy denies {direction} by default"));
        }
    }
    let ports = template.spec.containers.iter().flat_map(|container| &container.ports);
    for number in ports.map(|port| port.container_port) {
        let mut rules = selecting.iter().flat_map(|policy| &policy.ingress);
        if !rules.any(|rule| rule.ports.iter().any(|port| port.port == number)) {
            report.say("network", format!("no ingress rule allows TCP {number} of the metrics"));
        }
    }
    let mut egress = selecting.iter().flat_map(|policy| &policy.egress);
    if !egress
        .any(|rule| rule.ports.iter().any(|port| port.port == 53_u16 && port.protocol == "UDP"))
    {
        report.say("network", "the pods may not reach DNS: UDP 53");
    }
}
