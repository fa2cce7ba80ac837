//! What the pods may talk to: the source, the store, the alert channels, names and Argo; nothing
//! may talk to them.

use std::net::IpAddr;

use contract::{Stage, StepError};
use document::Document;
use document::alerts::Channel;

use super::cluster::{
    EgressRule, IpBlock, NetworkPolicy, NetworkPolicySpec, Object, Peer, PolicyPort, Selector,
};
use super::pod::Labels;
use super::{ALERT, METRICS, SOURCE, label, labels, metadata, part_of, text};

const NAMESPACE: &str = "kubernetes.io/metadata.name";

/// Makes the policies of all pods.
pub(super) fn shared() -> Result<Vec<String>, StepError> {
    let policy = |name: &str, egress| policy(name, None, part_of(), egress);
    let mut deny = policy("lynceus-deny", Vec::new());
    deny.spec.policy_types.insert(0, "Ingress".to_owned());
    let names = EgressRule {
        to: vec![Peer {
            namespace_selector: Some(selector([label(NAMESPACE, "kube-system")].into())),
            pod_selector: Some(selector([label("k8s-app", "kube-dns")].into())),
            ip_block: None,
        }],
        ports: vec![port("UDP", 53), port("TCP", 53)],
    };
    // Argo's own container reports results there. Its address is each cluster's own: the production
    // overlay shows how to name it.
    let kubernetes =
        EgressRule { to: Vec::new(), ports: vec![port("TCP", 443), port("TCP", 6443)] };
    let store = EgressRule {
        to: vec![Peer {
            pod_selector: Some(selector([label("app.kubernetes.io/name", "minio")].into())),
            ..Peer::default()
        }],
        ports: vec![port("TCP", 9000)],
    };
    Ok(vec![
        text(&deny)?,
        text(&policy("lynceus-names", vec![names]))?,
        text(&policy("lynceus-kubernetes", vec![kubernetes]))?,
        text(&policy("lynceus-store", vec![store]))?,
    ])
}

/// Makes the policies of a pipeline's pods: which steps reach what, by the labels of their pods.
pub(super) fn of_pipeline(document: &Document) -> Result<Vec<String>, StepError> {
    let mut policies = Vec::new();
    for (what, grant, stage) in [
        ("source", SOURCE, Stage::Collect),
        ("metrics", METRICS, Stage::Score),
        ("alert", ALERT, Stage::Alert),
    ] {
        let rules = ways(document, stage)?;
        if !rules.is_empty() {
            let mut pods = labels(document);
            pods.extend([label(grant, "allowed")]);
            let name = format!("lynceus-{}-{what}", document.name);
            policies.push(text(&policy(&name, Some(document), pods, rules))?);
        }
    }
    Ok(policies)
}

/// Returns the ways that a step needs besides those to names, store and Kubernetes, each once.
pub(super) fn ways(document: &Document, stage: Stage) -> Result<Vec<EgressRule>, StepError> {
    let metrics = document.scoring.metrics.remote_write.as_ref().map(|server| server.url.as_str());
    let urls = match stage {
        Stage::Collect => document.source_urls(),
        Stage::Score => metrics.into_iter().collect(),
        Stage::Alert => return channels(document),
        _ => Vec::new(),
    };
    let mut rules: Vec<EgressRule> = Vec::new();
    for url in urls {
        let rule = destination(url)?;
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    Ok(rules)
}

/// Returns the ways to the alert channels, each once.
fn channels(document: &Document) -> Result<Vec<EgressRule>, StepError> {
    let mut rules: Vec<EgressRule> = Vec::new();
    for channel in &document.alerts.channels {
        let rule = match channel {
            Channel::Stdout(_) | Channel::File(_) => continue,
            Channel::Telegram(telegram) => destination(&telegram.url)?,
            // Its URL is a secret, and its host Slack's.
            Channel::Slack(_) => EgressRule { to: Vec::new(), ports: vec![port("TCP", 443)] },
            Channel::Alertmanager(server) => destination(&server.url)?,
            Channel::Webhook(webhook) => destination(&webhook.url)?,
            Channel::Email(email) => {
                destination(&format!("smtp://{}:{}", email.host, email.port()))?
            }
        };
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
    egress: Vec<EgressRule>,
) -> NetworkPolicy {
    Object {
        api_version: "networking.k8s.io/v1".to_owned(),
        kind: "NetworkPolicy".to_owned(),
        metadata: metadata(name, document),
        spec: NetworkPolicySpec {
            pod_selector: selector(pods),
            policy_types: vec!["Egress".to_owned()],
            egress,
        },
    }
}

fn selector(match_labels: Labels) -> Selector {
    Selector { match_labels }
}

fn port(protocol: &str, port: u16) -> PolicyPort {
    PolicyPort { protocol: protocol.to_owned(), port }
}

fn unreachable(url: &str) -> StepError {
    StepError::usage(format!("`{url}` names no host that a pod could reach"))
        .hint("name a Service or a host in the cluster's document or its overlay; to a pod, localhost is itself")
}

/// Returns the rule that lets pods reach a URL: a Service's namespace, an address, or for a host
/// outside the cluster its port.
pub(super) fn destination(url: &str) -> Result<EgressRule, StepError> {
    let (host, number) = host_and_port(url).ok_or_else(|| unreachable(url))?;
    let namespace = |name: &str| Peer {
        namespace_selector: Some(selector([label(NAMESPACE, name)].into())),
        ..Peer::default()
    };
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let parts: Vec<&str> = host.split('.').collect();
    let peer = match (address, parts.as_slice()) {
        (Ok(address), _) => {
            let cidr = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
            Some(Peer { ip_block: Some(IpBlock { cidr }), ..Peer::default() })
        }
        // A Service of the pods' own namespace.
        (_, [_]) => Some(Peer { pod_selector: Some(Selector::default()), ..Peer::default() }),
        (_, [_, name]) if !is_outside(name, number) => Some(namespace(name)),
        (_, [_, name, "svc"] | [_, name, "svc", "cluster", "local"]) => Some(namespace(name)),
        _ => None,
    };
    Ok(EgressRule { to: peer.into_iter().collect(), ports: vec![port("TCP", number)] })
}

/// Says whether the last part of a name of two parts is that of the Internet rather than a
/// namespace: `example.com` and `prometheus.monitoring` look the same.
///
/// Where it cannot be told, the way is the wider one: any address, on this port. Port 443 is open
/// for the Kubernetes API anyway. `name.namespace.svc` is always a Service.
fn is_outside(last: &str, port: u16) -> bool {
    port == 443 || last.len() == 2 || GENERIC.contains(&last)
}

/// Top-level domains that name no country and no namespace that anyone would think of.
const GENERIC: [&str; 20] = [
    "app", "biz", "cloud", "com", "dev", "edu", "gov", "info", "int", "mil", "mobi", "name", "net",
    "online", "org", "pro", "shop", "site", "tech", "xyz",
];

/// Returns the host and port of a URL; a pod's own `localhost` is no host of interest.
fn host_and_port(url: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let default = if scheme == "https" { 443 } else { 80 };
    let (host, number) = match authority.rsplit_once(':') {
        Some((host, number)) if !number.ends_with(']') => (host, number.parse().ok()?),
        _ => (authority, default),
    };
    let is_local = ["", "localhost", "[::1]"].contains(&host) || host.starts_with("127.");
    (!is_local).then_some((host, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_reached_by_its_namespace_and_an_address_by_itself() {
        let of = |url: &str| destination(url).unwrap();
        let service = of("http://prometheus.monitoring:9090/prefix");
        let namespace = service.to[0].namespace_selector.clone().unwrap();
        assert_eq!(namespace.match_labels[NAMESPACE], "monitoring");
        assert_eq!(service.ports, [port("TCP", 9090)]);
        assert_eq!(of("http://p.monitoring.svc.cluster.local:9090"), service);
        assert_eq!(of("https://10.1.2.3").to[0].ip_block.clone().unwrap().cidr, "10.1.2.3/32");
        let outside = of("https://metrics.example.com/api");
        assert!(outside.to.is_empty());
        assert_eq!(outside.ports, [port("TCP", 443)]);
    }

    #[test]
    fn names_of_two_parts_are_services_unless_the_internet_has_them() {
        let of = |url: &str| destination(url).unwrap().to;
        let namespace = |url: &str| {
            let peer = of(url).into_iter().next()?;
            Some(peer.namespace_selector?.match_labels[NAMESPACE].clone())
        };
        for url in [
            "http://prometheus.monitoring:9090",
            "http://thanos.observability",
            "smtp://mail.prod:25",
        ] {
            let expected = url.split('.').nth(1).unwrap().split(':').next();
            assert_eq!(namespace(url).as_deref(), expected, "{url}");
        }
        for url in ["https://hooks.example", "http://example.com:8080", "smtp://example.de:587"] {
            assert_eq!(of(url), [], "{url}: any address, on its port");
        }
        assert_eq!(namespace("https://prometheus.dev.svc").as_deref(), Some("dev"));
        assert_eq!(of("http://prometheus.dev.svc.example.org"), []);
        let own = of("http://prometheus:9090").remove(0);
        assert_eq!((own.pod_selector, own.namespace_selector), (Some(Selector::default()), None));
        let address = of("http://[2001:db8::1]:9090").remove(0).ip_block.unwrap().cidr;
        assert_eq!(address, "2001:db8::1/128");
    }

    #[test]
    fn each_way_to_a_channel_is_open_once_and_no_other() {
        let document = document::parse(
            "x",
            "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {main: {recording: {path: r}, \
             queries: [{name: load, promql: node_load1}]}}\nfeatures: [raw]\nmodels: {z_score: {}}\n\
             vote: {combine: votes, limit: {quantile: {share: 0.99}}}\nalerts:\n  channels:\n\
             \x20   - stdout\n    - telegram: {chat: '1', token: {env: T}}\n    - slack: {webhook: {env: S}}\n\
             \x20   - alertmanager: {url: 'http://alertmanager.monitoring:9093'}\n\
             \x20   - email: {host: 10.1.2.3, from: a@b, to: [c@d]}\n",
        );
        let rules = channels(&document.unwrap()).unwrap();
        let ports: Vec<u16> = rules.iter().map(|rule| rule.ports[0].port).collect();
        assert_eq!(ports, [443, 9093, 587]);
        assert_eq!(
            rules[1].to[0].namespace_selector.clone().unwrap().match_labels[NAMESPACE],
            "monitoring"
        );
        assert_eq!(rules[2].to[0].ip_block.clone().unwrap().cidr, "10.1.2.3/32");
    }

    #[test]
    fn a_pods_own_address_is_refused() {
        for url in [
            "http://localhost:9090",
            "http://[::1]:9090",
            "http://127.0.0.1",
            "p:9090",
            "http://:1",
        ] {
            assert!(destination(url).is_err(), "{url}");
        }
    }
}
