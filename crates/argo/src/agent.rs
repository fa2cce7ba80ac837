//! The agents of a pipeline whose sources are recorded: a recorder on each node, in a separate
//! namespace, because Tetragon's log folder is a folder of the node.

pub mod objects;

use std::path::Path;

use contract::{Stage, StepError};
use document::sources::OfNode;
use document::{Document, HttpUrl};

use super::cluster::{
    EgressRule, IngressRule, Kustomization, Metadata, Namespace, NetworkPolicy, NetworkPolicySpec,
    Object, Peer, PolicyPort, Selector, SortOptions, reference,
};
use super::pod::{
    Container, ContainerPort, EmptyDir, EnvFrom, EnvVar, FieldRef, FieldSource, HostPath, HttpGet,
    Labels, PodSecurityContext, Probe, SecretVolume, Volume,
};
use super::resources::USER;
use super::serving::objects::{PodMetadata, PodSpec, PodTemplate, Toleration};
use super::{
    COMPONENT, FIFO, Manifest, access, label, labels, manifest, metadata, network, resources,
    secrets, step, text,
};
use objects::{DaemonSet, DaemonSetSpec};

/// The program, which is also the name of its image.
pub(super) const PROGRAM: &str = "agent";
/// The value of the label `component`.
pub(super) const AGENT: &str = "agent";
/// The port of `/healthz` and `/metrics`, and its name.
const PORT: u16 = 9464;
const PORT_NAME: &str = "metrics";
/// The path of the health check.
pub(super) const HEALTH: &str = "/healthz";
/// The variable with the node's name.
pub(super) const NODE_NAME: &str = "NODE_NAME";
/// The variable with the node's address.
const HOST_IP: &str = "HOST_IP";
/// The folder of rows that are not in the store yet.
const SPOOL: &str = "/spool";
/// Size limit of the spool: the rows of a week take about 30 MB a node.
const SPOOL_SIZE: &str = "256Mi";
/// The label of namespaces whose pods may read the agent's metrics.
const CLIENTS: &str = "lynceus/metrics";
/// The label of a namespace for the level that Pod Security enforces.
pub(super) const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// Makes the files of a pipeline's agents, below the pipeline's folder; none for a document whose
/// sources no agent records. The name of their namespace begins with that of the installation, so
/// that the agents of another installation in the same cluster have another one.
///
/// Errors: usage for a log file of Tetragon that is not a file below a folder of the node.
pub(super) fn files(document: &Document, installation: &str) -> Result<Vec<Manifest>, StepError> {
    if !document.sources.values().any(|source| source.of_node().is_some()) {
        return Ok(Vec::new());
    }
    let events = events(document)?;
    let document_map =
        super::ConfigMap { metadata: own_metadata(document), ..super::config_map(document)? };
    let objects = [
        text(&namespace(document, installation, events.is_some()))?,
        text(&access::account(&name(document), Some(document)))?,
        text(&document_map)?,
        text(&store(document, installation))?,
        text(&policy(document)?)?,
        text(&daemon_set(document, events.as_deref()))?,
    ];
    let kustomization = Kustomization {
        api_version: "kustomize.config.k8s.io/v1beta1".to_owned(),
        kind: "Kustomization".to_owned(),
        namespace: Some(namespace_name(document, installation)),
        resources: vec!["agent.yaml".to_owned()],
        sort_options: Some(SortOptions { order: FIFO.to_owned() }),
        ..Kustomization::default()
    };
    Ok(vec![
        manifest("agent/agent.yaml", &objects)?,
        manifest("agent/kustomization.yaml", &[text(&kustomization)?])?,
    ])
}

fn namespace_name(document: &Document, installation: &str) -> String {
    format!("{installation}-{}-{AGENT}", document.name)
}

/// Name of every object in the namespace of the agents.
fn name(document: &Document) -> String {
    format!("lynceus-{}-{AGENT}", document.name)
}

fn store_name(document: &Document) -> String {
    format!("{}-store", name(document))
}

fn agent_labels(document: &Document) -> Labels {
    let mut labels = labels(document);
    labels.extend([label(COMPONENT, AGENT)]);
    labels
}

fn own_metadata(document: &Document) -> Metadata {
    Metadata { labels: agent_labels(document), ..metadata(&name(document), Some(document)) }
}

/// Returns the folder of the node with the logs that the agent follows, if there are any.
fn events(document: &Document) -> Result<Option<String>, StepError> {
    let mut folders = Vec::new();
    for (source, settings) in &document.sources {
        let Some((kind, OfNode::Log(path))) = settings.of_node() else { continue };
        let field = format!("sources.{source}.{kind}.path");
        let folder =
            path.parent().filter(|folder| folder.is_absolute() && *folder != Path::new("/"));
        let folder = folder.and_then(Path::to_str).ok_or_else(|| {
            StepError::usage(format!("`{field}`: no agent could follow `{}`", path.display()))
                .hint("use a file in a folder of the node, as in /var/log/tetragon/tetragon.log")
        })?;
        folders.push((field, folder.to_owned()));
    }
    let Some((_, first)) = folders.first() else { return Ok(None) };
    match folders.iter().find(|(_, folder)| folder != first) {
        None => Ok(Some(first.clone())),
        Some((field, folder)) => Err(StepError::usage(format!(
            "`{field}` is in `{folder}`, and another log of Tetragon in `{first}`"
        ))
        .hint("an agent mounts only one folder of its node: use files of the same folder")),
    }
}

/// Makes the namespace. Pod Security `baseline` rejects every `hostPath`, so a namespace whose
/// agents need one enforces only `privileged`, and no other pods should run in it.
fn namespace(document: &Document, installation: &str, has_host_path: bool) -> Namespace {
    let level = if has_host_path { "privileged" } else { "restricted" };
    let mut metadata = own_metadata(document);
    metadata.name = namespace_name(document, installation);
    metadata.labels.extend([label(ENFORCE, level)]);
    Namespace { api_version: "v1".to_owned(), kind: "Namespace".to_owned(), metadata }
}

fn store(document: &Document, installation: &str) -> super::ConfigMap {
    let metadata = Metadata { name: store_name(document), ..own_metadata(document) };
    super::ConfigMap {
        metadata,
        ..access::config_map(
            &store_name(document),
            [
                label("AWS_ENDPOINT_URL", &format!("http://minio.{installation}:9000")),
                label("AWS_REGION", "us-east-1"),
                // One heap for all threads takes a megabyte less than one for each.
                label("MALLOC_ARENA_MAX", "1"),
            ]
            .into(),
        )
    }
}

/// Returns the steps whose Secrets and destinations an agent needs: it writes samples into a
/// database if a sink requires them.
fn stages(document: &Document) -> &'static [Stage] {
    if document.exports.values().any(|sink| sink.extension().samples().is_some()) {
        &[Stage::Collect, Stage::Export]
    } else {
        &[Stage::Collect]
    }
}

/// Allows ingress from Prometheus to the metrics, and egress of the agent to DNS, the store, the
/// exporter of its node (at the node's own address), and a database that gets samples.
fn policy(document: &Document) -> Result<NetworkPolicy, StepError> {
    let mut ports: Vec<PolicyPort> =
        scraped(document).map(|it| network::port("TCP", it.url.port())).collect();
    ports.dedup();
    let mut egress = vec![network::names(), network::store(true)];
    egress.extend((!ports.is_empty()).then(|| EgressRule { to: Vec::new(), ports }));
    if stages(document).contains(&Stage::Export) {
        egress.extend(network::ways(document, Stage::Export)?);
    }
    let clients = Peer {
        namespace_selector: Some(Selector { match_labels: [label(CLIENTS, "allowed")].into() }),
        ..Peer::default()
    };
    let ingress = IngressRule { from: vec![clients], ports: vec![network::port("TCP", PORT)] };
    Ok(Object {
        api_version: "networking.k8s.io/v1".to_owned(),
        kind: "NetworkPolicy".to_owned(),
        metadata: own_metadata(document),
        spec: NetworkPolicySpec {
            pod_selector: Selector { match_labels: agent_labels(document) },
            policy_types: vec!["Ingress".to_owned(), "Egress".to_owned()],
            egress,
            ingress: vec![ingress],
        },
    })
}

/// A server on each node that the agent scrapes.
struct Scraped<'a> {
    /// The field of the document with the settings of its kind.
    field: String,
    /// The URL for all nodes.
    url: &'a HttpUrl,
    /// Makes the settings with one URL.
    only: fn(&str) -> String,
}

fn scraped(document: &Document) -> impl Iterator<Item = Scraped<'_>> {
    document.sources.iter().filter_map(|(source, settings)| {
        let (kind, OfNode::Endpoint { url: Some(url), only }) = settings.of_node()? else {
            return None;
        };
        Some(Scraped { field: format!("sources.{source}.{kind}"), url, only })
    })
}

fn daemon_set(document: &Document, events: Option<&str>) -> DaemonSet {
    let spec = PodSpec {
        service_account_name: name(document),
        automount_service_account_token: false,
        security_context: pod_security(events.is_some()),
        // The agent also runs on control-plane nodes, and on a drained node until it is empty.
        tolerations: vec![Toleration { operator: "Exists".to_owned() }],
        containers: vec![container(document, events)],
        volumes: volumes(document, events),
    };
    let annotations =
        [label("prometheus.io/scrape", "true"), label("prometheus.io/port", &PORT.to_string())];
    let metadata = PodMetadata { labels: agent_labels(document), annotations: annotations.into() };
    Object {
        api_version: "apps/v1".to_owned(),
        kind: "DaemonSet".to_owned(),
        metadata: own_metadata(document),
        spec: DaemonSetSpec {
            selector: Selector { match_labels: agent_labels(document) },
            template: PodTemplate { metadata, spec },
        },
    }
}

/// Only root can read Tetragon's log. Without such a log, the agent runs as the user of all other
/// pods.
fn pod_security(is_root: bool) -> PodSecurityContext {
    let user = if is_root { 0 } else { USER };
    PodSecurityContext {
        run_as_non_root: Some(!is_root),
        run_as_user: Some(user),
        run_as_group: Some(user),
        fs_group: (!is_root).then_some(USER),
        seccomp_profile: Some(step::seccomp()),
    }
}

fn container(document: &Document, events: Option<&str>) -> Container {
    let mut security = step::security_context();
    if events.is_some() {
        // Root without capabilities can read only files that root owns.
        (security.run_as_non_root, security.run_as_user) = (Some(false), Some(0));
    }
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: FieldSource { field_ref: FieldRef { field_path: path.to_owned() } },
    };
    let mut mounts = vec![
        step::mount("document", step::DOCUMENT, true),
        step::mount("spool", SPOOL, false),
        step::mount("ca", step::AUTHORITY, true),
    ];
    mounts.extend(events.map(|folder| step::mount("events", folder, true)));
    let stages = stages(document).iter();
    mounts.extend(stages.clone().filter_map(|stage| secrets::mount(document, *stage)));
    let from = |secret: &str| EnvFrom { secret_ref: Some(reference(secret)), ..EnvFrom::default() };
    let settings =
        EnvFrom { config_map_ref: Some(reference(&store_name(document))), ..EnvFrom::default() };
    let mut env_from = vec![settings, from(&name(document))];
    let variables = stages.filter_map(|stage| secrets::environment(document, *stage));
    env_from.extend(variables.map(|secret| from(&secret)));
    Container {
        name: AGENT.to_owned(),
        image: format!("localhost/lynceus/{PROGRAM}:{}", contract::VERSION),
        command: vec![format!("/{PROGRAM}")],
        args: arguments(document),
        env: vec![field(NODE_NAME, "spec.nodeName"), field(HOST_IP, "status.hostIP")],
        env_from,
        ports: vec![ContainerPort {
            name: PORT_NAME.to_owned(),
            container_port: PORT,
            protocol: "TCP".to_owned(),
        }],
        liveness_probe: Some(Probe {
            http_get: HttpGet { path: HEALTH.to_owned(), port: PORT_NAME.to_owned() },
            period_seconds: Some(10),
            failure_threshold: Some(3),
        }),
        resources: Some(resources::agent()),
        security_context: Some(security),
        volume_mounts: mounts,
        ..Container::default()
    }
}

/// Returns the flags. Each agent scrapes only the exporter of its own node.
fn arguments(document: &Document) -> Vec<String> {
    let mut arguments = vec![
        format!("{}/document.yaml", step::DOCUMENT),
        format!("--listen=0.0.0.0:{PORT}"),
        "--store=s3://lynceus".to_owned(),
        format!("--spool={SPOOL}"),
    ];
    arguments.extend(scraped(document).map(|Scraped { field, url, only }| {
        let (scheme, port) = (url.url().scheme(), url.port());
        let path = url.with_its_query();
        let path = path.splitn(4, '/').nth(3).unwrap_or_default();
        let endpoint = format!("{scheme}://$({HOST_IP}):{port}/{path}");
        format!("--set={field}={}", only(&endpoint))
    }));
    arguments
}

fn volumes(document: &Document, events: Option<&str>) -> Vec<Volume> {
    let volume = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    let ca = SecretVolume { secret_name: access::CA.to_owned(), optional: Some(true) };
    let mut volumes = vec![
        Volume { config_map: Some(reference(&name(document))), ..volume("document") },
        Volume {
            empty_dir: Some(EmptyDir { size_limit: Some(SPOOL_SIZE.to_owned()) }),
            ..volume("spool")
        },
        Volume { secret: Some(ca), ..volume("ca") },
    ];
    volumes.extend(events.map(|folder| Volume {
        host_path: Some(HostPath { path: folder.to_owned(), kind: "Directory".to_owned() }),
        ..volume("events")
    }));
    volumes.extend(secrets::volumes(document, stages(document)));
    volumes
}
