//! Do the policies deny by default, and let each pod reach what its steps need?

use contract::Stage;

use super::objects::Objects;
use super::{Finding, Report, containers};
use crate::argo::cluster::{EgressRule, NetworkPolicy};
use crate::argo::network::destination;
use crate::argo::pod::Labels;
use crate::argo::workflow::{Template, WorkflowSpec};

pub(super) fn check(objects: &Objects, findings: &mut Vec<Finding>) {
    if objects.network_policies.is_empty() {
        return;
    }
    for (place, template) in &objects.workflow_templates {
        for part in template.spec.templates.iter().filter(|part| part.dag.is_none()) {
            let mut report = Report { place, findings };
            pod(&template.spec, part, objects, &mut report);
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
    let mut needs = vec![("names (DNS)", "UDP", 53), ("names (DNS)", "TCP", 53)];
    needs.push(("the Kubernetes API", "TCP", 443));
    for (what, protocol, number) in needs {
        let allowed = rules(&policies).any(|rule| {
            rule.ports.iter().any(|port| port.protocol == protocol && port.port == number)
        });
        if !allowed {
            report.say("network", format!("`{name}` may not reach {what}: {protocol} {number}"));
        }
    }
    let stages: Vec<&str> = containers(template)
        .into_iter()
        .filter_map(|(_, container)| Some(container.command.first()?.trim_start_matches('/')))
        .collect();
    if stages.contains(&Stage::Collect.name()) {
        source(name, spec, &policies, objects, report);
    }
}

fn rules<'a>(policies: &'a [&NetworkPolicy]) -> impl Iterator<Item = &'a EgressRule> {
    policies.iter().flat_map(|policy| &policy.spec.egress)
}

/// The pod may reach the source that its document names.
fn source(
    name: &str,
    spec: &WorkflowSpec,
    policies: &[&NetworkPolicy],
    objects: &Objects,
    report: &mut Report<'_>,
) {
    let maps = spec.volumes.iter().filter_map(|volume| volume.config_map.as_ref());
    let texts = maps.filter_map(|map| objects.config_map(&map.name)?.data.get("document.yaml"));
    let mut documents = texts.filter_map(|text| document::parse("document.yaml", text).ok());
    let Some(source) = documents.next().and_then(|document| document.source.prometheus) else {
        return;
    };
    match destination(&source.url) {
        Err(error) => report.say("network", error.message),
        Ok(needed) => {
            let allowed = rules(policies).any(|rule| {
                needed.ports.iter().all(|port| rule.ports.contains(port))
                    && (rule.to.is_empty() || rule.to == needed.to)
            });
            if !allowed {
                report
                    .say("network", format!("`{name}` may not reach its source `{}`", source.url));
            }
        }
    }
}
