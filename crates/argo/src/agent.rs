//! The agents of a pipeline whose sources are recorded: a recorder on each node, in a separate
//! namespace, because Tetragon's log folder is a folder of the node.

use std::path::Path;

use contract::{Stage, StepError};
use document::sources::OfNode;
use document::{Document, HttpUrl};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, EnvVarSource, HostPathVolumeSource, Namespace,
    ObjectFieldSelector, PodSpec, PodTemplateSpec, Toleration, Volume,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::cluster::{Kustomization, Labels, SortOptions, selector};
use super::{
    COMPONENT, FIFO, Manifest, access, label, labels, manifest, metadata, network, resources,
    secrets, serving, step, text,
};

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
        ConfigMap { metadata: own_metadata(document), ..super::config_map(document)? };
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

fn own_metadata(document: &Document) -> ObjectMeta {
    ObjectMeta { labels: Some(agent_labels(document)), ..metadata(&name(document), Some(document)) }
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
    metadata.name = Some(namespace_name(document, installation));
    metadata.labels.get_or_insert_default().extend([label(ENFORCE, level)]);
    Namespace { metadata, ..Namespace::default() }
}

fn store(document: &Document, installation: &str) -> ConfigMap {
    let metadata = ObjectMeta { name: Some(store_name(document)), ..own_metadata(document) };
    ConfigMap {
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
    let mut ports: Vec<NetworkPolicyPort> =
        scraped(document).map(|it| network::port("TCP", it.url.port())).collect();
    ports.dedup();
    let mut egress = vec![network::names(), network::store(true)];
    egress.extend((!ports.is_empty()).then(|| network::egress(Vec::new(), ports)));
    if stages(document).contains(&Stage::Export) {
        egress.extend(network::ways(document, Stage::Export)?);
    }
    let ingress = NetworkPolicyIngressRule {
        from: Some(vec![network::namespaces(CLIENTS, "allowed")]),
        ports: Some(vec![network::port("TCP", PORT)]),
    };
    Ok(NetworkPolicy {
        metadata: own_metadata(document),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(agent_labels(document))),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            egress: Some(egress),
            ingress: Some(vec![ingress]),
        }),
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
    let pod = PodSpec {
        service_account_name: Some(name(document)),
        automount_service_account_token: Some(false),
        // Only root can read Tetragon's log.
        security_context: Some(step::pod_security(events.is_some())),
        // Without a key it tolerates all taints: the agent also runs on control-plane nodes, and on
        // a drained node until it is empty.
        tolerations: Some(vec![Toleration {
            operator: Some("Exists".to_owned()),
            ..Toleration::default()
        }]),
        containers: vec![container(document, events)],
        volumes: Some(volumes(document, events)),
        ..PodSpec::default()
    };
    DaemonSet {
        metadata: own_metadata(document),
        spec: Some(DaemonSetSpec {
            selector: selector(agent_labels(document)),
            template: PodTemplateSpec {
                metadata: Some(serving::scraped(agent_labels(document), PORT)),
                spec: Some(pod),
            },
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
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
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), api_version: None }),
            ..EnvVarSource::default()
        }),
        value: None,
    };
    let mut mounts = vec![
        step::mount("document", step::DOCUMENT, true),
        step::mount("spool", SPOOL, false),
        step::mount("ca", step::AUTHORITY, true),
    ];
    mounts.extend(events.map(|folder| step::mount("events", folder, true)));
    let stages = stages(document).iter();
    mounts.extend(stages.clone().filter_map(|stage| secrets::mount(document, *stage)));
    let mut env_from =
        vec![step::from_map(&store_name(document)), step::from_secret(&name(document))];
    let variables = stages.filter_map(|stage| secrets::environment(document, *stage));
    env_from.extend(variables.map(|secret| step::from_secret(&secret)));
    Container {
        name: AGENT.to_owned(),
        image: Some(format!("localhost/lynceus/{PROGRAM}:{}", contract::VERSION)),
        command: Some(vec![format!("/{PROGRAM}")]),
        args: Some(arguments(document)),
        env: Some(vec![field(NODE_NAME, "spec.nodeName"), field(HOST_IP, "status.hostIP")]),
        env_from: Some(env_from),
        ports: Some(vec![serving::port(PORT_NAME, PORT)]),
        liveness_probe: Some(serving::probe(HEALTH, PORT_NAME, 10)),
        resources: Some(resources::agent()),
        security_context: Some(security),
        volume_mounts: Some(mounts),
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
    let mut volumes = vec![
        step::map_volume("document", &name(document)),
        step::empty_volume("spool", SPOOL_SIZE),
        step::secret_volume("ca", access::CA, true),
    ];
    volumes.extend(events.map(|folder| Volume {
        name: "events".to_owned(),
        host_path: Some(HostPathVolumeSource {
            path: folder.to_owned(),
            // The folder must exist.
            type_: Some("Directory".to_owned()),
        }),
        ..Volume::default()
    }));
    volumes.extend(secrets::volumes(document, stages(document)));
    volumes
}
