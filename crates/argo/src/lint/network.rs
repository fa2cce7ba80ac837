//! Checks that the policies deny by default, and allow each pod the destinations that its steps
//! need.

use document::{Document, HttpUrl};
use k8s_openapi::api::networking::v1::{
    NetworkPolicyEgressRule, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::objects::Objects;
use super::{Finding, Report, containers, values};
use crate::access::STORE;
use crate::cluster::{Labels, given, selected, text_of};
use crate::network::ways;
use crate::outside::{OUTSIDE, Outside};
use crate::workflow::{Template, WorkflowSpec};

pub(super) fn check(objects: &Objects, findings: &mut Vec<Finding>) {
    if objects.network_policies.is_empty() {
        return;
    }
    for (place, policy) in &objects.network_policies {
        values::policy(&policy.spec, &mut Report { place, findings });
    }
    for held in objects.workflows() {
        for part in held.spec.templates.iter().filter(|part| part.dag.is_none()) {
            let mut report = Report { place: held.place, findings };
            pod(held.spec, part, objects, &mut report);
        }
    }
}

fn pod(spec: &WorkflowSpec, template: &Template, objects: &Objects, report: &mut Report<'_>) {
    let name = &template.name;
    let mut labels = Labels::new();
    for metadata in spec.pod_metadata.iter().chain(&template.metadata) {
        labels.extend(metadata.labels.clone());
    }
    let policies = selecting(objects, |selector| {
        selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    });
    for direction in ["Ingress", "Egress"] {
        if !denies(&policies, direction) {
            report.say("network", format!("`{name}`: no policy denies {direction} by default"));
        }
    }
    let mut needs = vec![("names (DNS)", "UDP", 53_u16), ("names (DNS)", "TCP", 53)];
    needs.push(("the Kubernetes API", "TCP", 443));
    for (what, protocol, number) in needs {
        let allowed = rules(&policies).any(|rule| {
            rule.ports.iter().flatten().any(|it| protocol_of(it) == protocol && is_port(it, number))
        });
        if !allowed {
            report.say("network", format!("`{name}` may not reach {what}: {protocol} {number}"));
        }
    }
    if let Some(number) = store_port(objects)
        && !rules(&policies).any(|rule| rule.ports.iter().flatten().any(|it| is_port(it, number)))
    {
        report.say("network", format!("`{name}` may not reach the store: TCP {number}"));
    }
    let Some(document) = objects.document(spec) else { return };
    let programs =
        containers(template).into_iter().filter_map(|(_, it)| it.command.as_ref()?.first());
    let programs: Vec<&str> = programs.map(|program| program.trim_start_matches('/')).collect();
    for outside in OUTSIDE {
        if programs.contains(&outside.stage.name()) {
            reaches(name, &policies, &document, outside, report);
        }
    }
}

/// Returns the policies whose pod selector, by its labels, is one of these.
pub(super) fn selecting(
    objects: &Objects,
    is_one: impl Fn(&Labels) -> bool,
) -> Vec<&NetworkPolicySpec> {
    let specs = objects.network_policies.iter().map(|(_, policy)| &policy.spec);
    specs.filter(|spec| is_one(selected(spec.pod_selector.as_ref()))).collect()
}

/// Returns whether policies deny a direction, `Ingress` or `Egress`, where no rule allows it.
pub(super) fn denies(policies: &[&NetworkPolicySpec], direction: &str) -> bool {
    let mut types = policies.iter().flat_map(|policy| policy.policy_types.iter().flatten());
    types.any(|other| other == direction)
}

/// Returns whether policies allow connections to a port of their pods.
pub(super) fn lets_in(policies: &[&NetworkPolicySpec], number: i32) -> bool {
    let rules = policies.iter().flat_map(|policy| policy.ingress.iter().flatten());
    let mut ports = rules.flat_map(|rule| rule.ports.iter().flatten());
    ports.any(|port| port.port == Some(IntOrString::Int(number)))
}

/// Returns the rules for connections that pods make.
pub(super) fn rules<'a>(
    policies: &'a [&NetworkPolicySpec],
) -> impl Iterator<Item = &'a NetworkPolicyEgressRule> {
    policies.iter().flat_map(|policy| policy.egress.iter().flatten())
}

pub(super) fn is_port(port: &NetworkPolicyPort, number: u16) -> bool {
    port.port == Some(IntOrString::Int(number.into()))
}

/// Returns a port's protocol, or the one that Kubernetes assumes.
pub(super) fn protocol_of(port: &NetworkPolicyPort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

/// Returns the port of the store from the settings of the steps and of Argo's own containers.
fn store_port(objects: &Objects) -> Option<u16> {
    let settings = given(objects.config_map(STORE)?.data.as_ref());
    let url = settings.get("AWS_ENDPOINT_URL").map_or("https://s3.amazonaws.com", String::as_str);
    Some(url.parse::<HttpUrl>().ok()?.port())
}

/// Checks that the pod may reach the destinations that the extensions of a step need.
fn reaches(
    name: &str,
    policies: &[&NetworkPolicySpec],
    document: &Document,
    outside: Outside,
    report: &mut Report<'_>,
) {
    let needed = match ways(document, outside.stage) {
        Ok(needed) => needed,
        Err(error) => return report.say("network", error.message),
    };
    for way in needed {
        let allowed = rules(policies).any(|rule| {
            let is_open = |port: &NetworkPolicyPort| {
                let mut open = rule.ports.iter().flatten();
                open.any(|it| it.port == port.port && protocol_of(it) == protocol_of(port))
            };
            way.ports.iter().flatten().all(is_open)
                && (rule.to.iter().flatten().next().is_none() || rule.to == way.to)
        });
        if !allowed {
            let ports = way.ports.iter().flatten().filter_map(|it| it.port.as_ref().map(text_of));
            let ports: Vec<String> = ports.collect();
            let (what, ports) = (outside.what, ports.join(", "));
            report.say("network", format!("`{name}` may not reach {what}: TCP {ports}"));
        }
    }
}
