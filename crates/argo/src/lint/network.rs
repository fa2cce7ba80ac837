//! Checks that the policies deny by default, and allow each pod the destinations that its steps
//! need.

use document::{Document, HttpUrl};

use super::objects::Objects;
use super::{Finding, Report, containers, values};
use crate::access::STORE;
use crate::cluster::{EgressRule, NetworkPolicy};
use crate::network::ways;
use crate::outside::{OUTSIDE, Outside};
use crate::pod::Labels;
use crate::workflow::{Template, WorkflowSpec};

pub(super) fn check(objects: &Objects, findings: &mut Vec<Finding>) {
    if objects.network_policies.is_empty() {
        return;
    }
    for (place, policy) in &objects.network_policies {
        values::policy(policy, &mut Report { place, findings });
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
    let policies: Vec<&NetworkPolicy> = objects
        .network_policies
        .iter()
        .map(|(_, policy)| policy)
        .filter(|policy| {
            let selector = &policy.spec.pod_selector.match_labels;
            selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        })
        .collect();
    for direction in ["Ingress", "Egress"] {
        let is_denied = policies
            .iter()
            .any(|policy| policy.spec.policy_types.iter().any(|other| other == direction));
        if !is_denied {
            report.say("network", format!("`{name}`: no policy denies {direction} by default"));
        }
    }
    let mut needs = vec![("names (DNS)", "UDP", 53_u16), ("names (DNS)", "TCP", 53)];
    needs.push(("the Kubernetes API", "TCP", 443));
    for (what, protocol, number) in needs {
        let allowed = rules(&policies).any(|rule| {
            rule.ports.iter().any(|port| port.protocol == protocol && port.port == number)
        });
        if !allowed {
            report.say("network", format!("`{name}` may not reach {what}: {protocol} {number}"));
        }
    }
    if let Some(number) = store_port(objects)
        && !rules(&policies).any(|rule| rule.ports.iter().any(|port| port.port == number))
    {
        report.say("network", format!("`{name}` may not reach the store: TCP {number}"));
    }
    let Some(document) = objects.document(spec) else { return };
    let programs = containers(template).into_iter().filter_map(|(_, it)| it.command.first());
    let programs: Vec<&str> = programs.map(|program| program.trim_start_matches('/')).collect();
    for outside in OUTSIDE {
        if programs.contains(&outside.stage.name()) {
            reaches(name, &policies, &document, outside, report);
        }
    }
}

fn rules<'a>(policies: &'a [&NetworkPolicy]) -> impl Iterator<Item = &'a EgressRule> {
    policies.iter().flat_map(|policy| &policy.spec.egress)
}

/// Returns the port of the store from the settings of the steps and of Argo's own containers.
fn store_port(objects: &Objects) -> Option<u16> {
    let settings = &objects.config_map(STORE)?.data;
    let url = settings.get("AWS_ENDPOINT_URL").map_or("https://s3.amazonaws.com", String::as_str);
    Some(url.parse::<HttpUrl>().ok()?.port())
}

/// Checks that the pod may reach the destinations that the extensions of a step need.
fn reaches(
    name: &str,
    policies: &[&NetworkPolicy],
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
            way.ports.iter().all(|port| rule.ports.contains(port))
                && (rule.to.is_empty() || rule.to == way.to)
        });
        if !allowed {
            let ports: Vec<String> = way.ports.iter().map(|port| port.port.to_string()).collect();
            let (what, ports) = (outside.what, ports.join(", "));
            report.say("network", format!("`{name}` may not reach {what}: TCP {ports}"));
        }
    }
}
