//! Network policies of the pods: egress to the store, DNS, Argo, and the destinations of their
//! steps' extensions; no ingress.

use std::net::IpAddr;

use contract::{Stage, StepError};
use document::Document;
use document::extension::Destination;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::cluster::{Labels, selector};
use super::outside::OUTSIDE;
use super::{label, labels, metadata, part_of, text};

const NAMESPACE: &str = "kubernetes.io/metadata.name";

/// Makes the policies of all pods.
pub(super) fn shared() -> Result<Vec<String>, StepError> {
    let policy = |name: &str, egress: Option<_>| {
        policy(name, None, part_of(), egress.map(|rule| vec![rule]))
    };
    let mut deny = policy("lynceus-deny", None);
    if let Some(types) = deny.spec.as_mut().and_then(|spec| spec.policy_types.as_mut()) {
        types.insert(0, "Ingress".to_owned());
    }
    // Argo's own container reports results there. The address differs for each cluster: the
    // production overlay shows how to set it.
    let kubernetes = egress(Vec::new(), vec![port("TCP", 443), port("TCP", 6443)]);
    Ok(vec![
        text(&deny)?,
        text(&policy("lynceus-names", Some(names())))?,
        text(&policy("lynceus-kubernetes", Some(kubernetes)))?,
        text(&policy("lynceus-store", Some(store(false))))?,
    ])
}

/// Returns the egress rule for the cluster's DNS.
pub(super) fn names() -> NetworkPolicyEgressRule {
    let pods = NetworkPolicyPeer {
        pod_selector: Some(selector([label("k8s-app", "kube-dns")].into())),
        ..namespace("kube-system")
    };
    egress(vec![pods], vec![port("UDP", 53), port("TCP", 53)])
}

/// Returns the egress rule for the store, in the pods' own namespace or in any namespace.
pub(super) fn store(is_elsewhere: bool) -> NetworkPolicyEgressRule {
    let pods = NetworkPolicyPeer {
        namespace_selector: is_elsewhere.then(LabelSelector::default),
        pod_selector: Some(selector([label("app.kubernetes.io/name", "minio")].into())),
        ..NetworkPolicyPeer::default()
    };
    egress(vec![pods], vec![port("TCP", 9000)])
}

/// Makes the network policies of a pipeline's pods, by the labels of the pods.
pub(super) fn of_pipeline(document: &Document) -> Result<Vec<String>, StepError> {
    let mut policies = Vec::new();
    for outside in OUTSIDE {
        let rules = ways(document, outside.stage)?;
        if !rules.is_empty() {
            let mut pods = labels(document);
            pods.extend([outside.label()]);
            let name = format!("lynceus-{}-{}", document.name, outside.name);
            policies.push(text(&policy(&name, Some(document), pods, Some(rules)))?);
        }
    }
    Ok(policies)
}

/// Returns the egress rules of a step's extensions, without duplicates; the rules for DNS, the
/// store and Kubernetes are not among them.
pub(super) fn ways(
    document: &Document,
    stage: Stage,
) -> Result<Vec<NetworkPolicyEgressRule>, StepError> {
    let mut rules: Vec<NetworkPolicyEgressRule> = Vec::new();
    for to in document.needs(stage).destinations {
        let rule = destination(&to)?;
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    Ok(rules)
}

fn policy(
    name: &str,
    document: Option<&Document>,
    pods: Labels,
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(name, document),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(pods)),
            policy_types: Some(vec!["Egress".to_owned()]),
            egress,
            ingress: None,
        }),
    }
}

pub(super) fn port(protocol: &str, port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(port.into())),
        end_port: None,
    }
}

/// Makes a rule for these destinations; without peers, for all of them.
pub(super) fn egress(
    to: Vec<NetworkPolicyPeer>,
    ports: Vec<NetworkPolicyPort>,
) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: (!to.is_empty()).then_some(to), ports: Some(ports) }
}

/// Returns the rule that lets pods reach a destination: the pods that the document names, a
/// Service's namespace, an address, or for any other host its port on any address.
///
/// `prometheus.monitoring` and `example.com` have the same form, so a name of two parts does not
/// show whether the host is in the cluster. The rule is then the wider one: it always works, and
/// `in_cluster` narrows it.
fn destination(to: &Destination) -> Result<NetworkPolicyEgressRule, StepError> {
    let Destination { host, port: number, in_cluster } = to;
    let address = host.parse::<IpAddr>().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return Err(StepError::usage(format!(
            "`{host}:{number}` is not a host that a pod can reach"
        ))
        .hint(
            "use a Service or a host in the cluster's document or its overlay; in a pod, \
                   localhost is the pod itself",
        ));
    }
    if let Some(pods) = in_cluster {
        let labels = pods.pod_labels.clone();
        let pod_selector = (!labels.is_empty()).then(|| selector(labels.into_iter().collect()));
        let peer = NetworkPolicyPeer { pod_selector, ..namespace(&pods.namespace) };
        return Ok(egress(vec![peer], vec![port("TCP", pods.port.unwrap_or(*number))]));
    }
    let parts: Vec<&str> = host.split('.').collect();
    let peer = match (address, parts.as_slice()) {
        (Some(address), _) => {
            let cidr = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
            let ip_block = Some(IPBlock { cidr, except: None });
            Some(NetworkPolicyPeer { ip_block, ..NetworkPolicyPeer::default() })
        }
        // A Service of the pods' own namespace.
        (None, [_]) => Some(all_pods()),
        (None, [_, name, "svc"] | [_, name, "svc", "cluster", "local"]) => Some(namespace(name)),
        (None, _) => None,
    };
    Ok(egress(peer.into_iter().collect(), vec![port("TCP", *number)]))
}

/// Returns all pods of the namespace.
pub(super) fn all_pods() -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    }
}

/// Returns all pods of namespaces with a label.
pub(super) fn namespaces(name: &str, value: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(selector([label(name, value)].into())),
        ..NetworkPolicyPeer::default()
    }
}

fn namespace(name: &str) -> NetworkPolicyPeer {
    namespaces(NAMESPACE, name)
}

#[cfg(test)]
mod tests {
    use document::http::InCluster;

    use super::*;

    fn to(host: &str, port: u16) -> Destination {
        Destination { host: host.to_owned(), port, in_cluster: None }
    }

    fn address(rule: &NetworkPolicyEgressRule) -> &str {
        &rule.to.as_ref().unwrap()[0].ip_block.as_ref().unwrap().cidr
    }

    #[test]
    fn network_policy_selects_service_by_namespace_and_address_by_block() {
        let of = |host: &str| destination(&to(host, 9090)).unwrap();
        let service = of("prometheus.monitoring.svc");
        assert_eq!(service, egress(vec![namespace("monitoring")], vec![port("TCP", 9090)]));
        assert_eq!(of("p.monitoring.svc.cluster.local"), service);
        assert_eq!(address(&of("10.1.2.3")), "10.1.2.3/32");
        assert_eq!(address(&of("2001:db8::1")), "2001:db8::1/128");
        assert_eq!(of("prometheus").to, Some(vec![all_pods()]));
    }

    #[test]
    fn host_that_may_be_outside_the_cluster_is_reached_on_its_port_alone() {
        for host in ["metrics.example.com", "prometheus.monitoring", "p.dev.svc.example.org"] {
            let rule = destination(&to(host, 443)).unwrap();
            assert_eq!(rule, egress(Vec::new(), vec![port("TCP", 443)]), "{host}");
        }
    }

    #[test]
    fn pods_that_the_document_names_are_the_only_ones() {
        let pods = InCluster {
            namespace: "monitoring".to_owned(),
            pod_labels: [("app".to_owned(), "prometheus".to_owned())].into(),
            port: Some(9091),
        };
        let named = Destination { in_cluster: Some(pods), ..to("prometheus.monitoring", 80) };
        let rule = destination(&named).unwrap();
        let pod_selector = Some(selector([label("app", "prometheus")].into()));
        let peer = NetworkPolicyPeer { pod_selector, ..namespace("monitoring") };
        assert_eq!(rule, egress(vec![peer], vec![port("TCP", 9091)]));
    }

    #[test]
    fn each_way_to_a_channel_is_open_once_and_no_other() {
        let document = document::parse(
            "x",
            "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {main: {recording: {path: r}, \
             queries: [{name: load, promql: node_load1}]}}\nfeatures: [raw]\nmodels: {z_score: {}}\n\
             vote: {combine: votes, threshold: {quantile: {share: 0.99}}}\nalerts:\n  channels:\n\
             \x20   - stdout\n    - telegram: {chat: '1', token: {env: T}}\n    - slack: {webhook: {env: S}}\n\
             \x20   - alertmanager: {url: 'http://alertmanager.monitoring.svc:9093'}\n\
             \x20   - email: {host: 10.1.2.3, from: a@b, to: [c@d]}\n",
        );
        let rules = ways(&document.unwrap(), Stage::Alert).unwrap();
        let ports: Vec<_> = rules.iter().filter_map(|rule| rule.ports.clone()).collect();
        assert_eq!(ports, [443, 9093, 587].map(|number| vec![port("TCP", number)]));
        assert_eq!(rules[1].to, Some(vec![namespace("monitoring")]));
        assert_eq!(address(&rules[2]), "10.1.2.3/32");
    }

    #[test]
    fn pods_own_address_is_refused() {
        for host in ["localhost", "::1", "127.0.0.1"] {
            assert!(destination(&to(host, 9090)).is_err(), "{host}");
        }
    }
}
