//! The endpoint of a pipeline's live model in a cluster: a Deployment with a Service and a scaler,
//! or an `InferenceService` of `KServe`, and its network policy.

pub mod objects;

use contract::StepError;
use document::Document;

use super::cluster::{
    IngressRule, Metadata, NetworkPolicy, NetworkPolicySpec, Object, Peer, Selector, reference,
};
use super::pod::{
    Container, ContainerPort, EnvFrom, HttpGet, Labels, PodSecurityContext, Probe, SecretVolume,
    Volume,
};
use super::resources::USER;
use objects::{
    Autoscaler, AutoscalerSpec, Deployment, DeploymentSpec, InferenceService, InferenceServiceSpec,
    PodMetadata, PodSpec, PodTemplate, Predictor, RollingUpdate, ScaleMetric, ScaleResource,
    ScaleTarget, Service, ServicePort, ServiceSpec, Strategy, TargetRef,
};

use super::{
    COMPONENT, Manifest, access, label, labels, manifest, metadata, network, resources, step, text,
};

/// Kind of the endpoint's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Serving {
    /// A Deployment, a Service and a scaler: needs nothing but Kubernetes
    Deployment,
    /// An inference service of `KServe`, in Standard mode
    Kserve,
}

/// The port of the endpoint.
const PORT: u16 = 8080;
/// Its name: `KServe` interprets it as HTTP/1.1.
const PORT_NAME: &str = "http1";
/// The name that `KServe` expects of the container.
pub(super) const KSERVE_CONTAINER: &str = "kserve-container";
/// The value of the label `component`.
pub(super) const SERVE: &str = "serve";
/// The folder of the Secret with the token.
const TOKEN_FOLDER: &str = "/etc/lynceus/serve";
/// The label of namespaces whose pods may connect to the endpoint.
const CLIENTS: &str = "lynceus/serve";
/// Replicas: two, so that a node may be drained.
const REPLICAS: (u32, u32) = (2, 6);
/// Share of the requested processor time, in percent, above which there are more replicas.
const BUSY_PERCENT: u32 = 70;

/// Makes the file with a pipeline's endpoint.
///
/// Errors: usage for a name that is too long for a host name of `KServe`.
pub(super) fn file(document: &Document, serving: Serving) -> Result<Manifest, StepError> {
    let name = name(document);
    let mut objects = match serving {
        Serving::Deployment => vec![
            text(&deployment(document))?,
            text(&service(document))?,
            text(&autoscaler(document))?,
        ],
        Serving::Kserve if name.len() > LONGEST_NAME => {
            return Err(StepError::usage(format!(
                "`{name}` is longer than {LONGEST_NAME} characters: the host name that KServe \
                 derives from it would be too long"
            ))
            .hint("give the document a shorter `name`"));
        }
        Serving::Kserve => vec![text(&inference_service(document))?],
    };
    objects.push(text(&policy(document))?);
    manifest("serve.yaml", &objects)
}

/// Longest name of an `InferenceService`: its host also holds the namespace.
pub(super) const LONGEST_NAME: usize = 40;

fn name(document: &Document) -> String {
    format!("lynceus-{}-serve", document.name)
}

fn serve_labels(document: &Document) -> Labels {
    let mut labels = labels(document);
    labels.extend([label(COMPONENT, SERVE)]);
    labels
}

fn own_metadata(document: &Document) -> Metadata {
    Metadata { labels: serve_labels(document), ..metadata(&name(document), Some(document)) }
}

/// Makes the container. The program checks the alias periodically, so a promoted version is served
/// without a new pod.
fn container(document: &Document, name: &str) -> Container {
    let probe = |path: &str| Probe {
        http_get: HttpGet { path: path.to_owned(), port: PORT_NAME.to_owned() },
        period_seconds: Some(5),
        failure_threshold: Some(3),
    };
    let arguments = [
        ("--pipeline", document.name.clone()),
        ("--store", "s3://lynceus".to_owned()),
        ("--alias", document.deployment.alias.clone()),
        ("--address", format!("0.0.0.0:{PORT}")),
        ("--token-file", format!("{TOKEN_FOLDER}/token")),
        ("--log", "json".to_owned()),
    ];
    Container {
        name: name.to_owned(),
        image: format!("localhost/lynceus/{SERVE}:{}", contract::VERSION),
        command: vec![format!("/{SERVE}")],
        args: arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect(),
        env_from: vec![
            EnvFrom { config_map_ref: Some(reference(access::STORE)), ..EnvFrom::default() },
            EnvFrom { secret_ref: Some(reference(access::SCORER)), ..EnvFrom::default() },
        ],
        ports: vec![ContainerPort {
            name: PORT_NAME.to_owned(),
            container_port: PORT,
            protocol: "TCP".to_owned(),
        }],
        readiness_probe: Some(probe("/v2/health/ready")),
        liveness_probe: Some(probe("/v2/health/live")),
        resources: Some(resources::serving()),
        security_context: Some(step::security_context()),
        volume_mounts: vec![
            step::mount("token", TOKEN_FOLDER, true),
            step::mount("ca", step::AUTHORITY, true),
        ],
        ..Container::default()
    }
}

fn volumes(document: &Document) -> Vec<Volume> {
    let secret = |volume: &str, secret: &str, optional: Option<bool>| Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolume { secret_name: secret.to_owned(), optional }),
        ..Volume::default()
    };
    vec![secret("token", &name(document), None), secret("ca", access::CA, Some(true))]
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(step::seccomp()),
    }
}

/// Returns the annotations by which Prometheus discovers the pods.
fn annotations() -> Labels {
    [label("prometheus.io/scrape", "true"), label("prometheus.io/port", &PORT.to_string())].into()
}

fn deployment(document: &Document) -> Deployment {
    let spec = PodSpec {
        service_account_name: super::names(document).score,
        automount_service_account_token: false,
        security_context: pod_security(),
        tolerations: Vec::new(),
        containers: vec![container(document, SERVE)],
        volumes: volumes(document),
    };
    let metadata = PodMetadata { labels: serve_labels(document), annotations: annotations() };
    Object {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        metadata: own_metadata(document),
        spec: DeploymentSpec {
            selector: Selector { match_labels: serve_labels(document) },
            strategy: Some(Strategy {
                rolling_update: RollingUpdate { max_surge: 1.into(), max_unavailable: 0.into() },
            }),
            template: PodTemplate { metadata, spec },
        },
    }
}

fn service(document: &Document) -> Service {
    Object {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        metadata: own_metadata(document),
        spec: ServiceSpec {
            selector: serve_labels(document),
            ports: vec![ServicePort {
                name: PORT_NAME.to_owned(),
                port: 80,
                target_port: PORT_NAME.to_owned(),
            }],
        },
    }
}

fn autoscaler(document: &Document) -> Autoscaler {
    let (min_replicas, max_replicas) = REPLICAS;
    let target = ScaleTarget { kind: "Utilization".to_owned(), average_utilization: BUSY_PERCENT };
    Object {
        api_version: "autoscaling/v2".to_owned(),
        kind: "HorizontalPodAutoscaler".to_owned(),
        metadata: own_metadata(document),
        spec: AutoscalerSpec {
            scale_target_ref: TargetRef {
                api_version: "apps/v1".to_owned(),
                kind: "Deployment".to_owned(),
                name: name(document),
            },
            min_replicas,
            max_replicas,
            metrics: vec![ScaleMetric {
                kind: "Resource".to_owned(),
                resource: ScaleResource { name: "cpu".to_owned(), target },
            }],
        },
    }
}

fn inference_service(document: &Document) -> InferenceService {
    let mut metadata = own_metadata(document);
    metadata.annotations.extend([
        label("serving.kserve.io/deploymentMode", "Standard"),
        label("serving.kserve.io/autoscalerClass", "hpa"),
        label("serving.kserve.io/enable-prometheus-scraping", "true"),
        label("prometheus.kserve.io/port", &PORT.to_string()),
        label("prometheus.kserve.io/path", "/metrics"),
    ]);
    let (min_replicas, max_replicas) = REPLICAS;
    Object {
        api_version: "serving.kserve.io/v1beta1".to_owned(),
        kind: "InferenceService".to_owned(),
        metadata,
        spec: InferenceServiceSpec {
            predictor: Predictor {
                min_replicas,
                max_replicas,
                scale_metric: "cpu".to_owned(),
                scale_target: BUSY_PERCENT,
                labels: serve_labels(document),
                service_account_name: super::names(document).score,
                automount_service_account_token: false,
                security_context: pod_security(),
                containers: vec![container(document, KSERVE_CONTAINER)],
                volumes: volumes(document),
            },
        },
    }
}

/// Allows the pods of the namespace, and of namespaces with a label, to connect to the endpoint.
fn policy(document: &Document) -> NetworkPolicy {
    let own = Peer { pod_selector: Some(Selector::default()), ..Peer::default() };
    let clients = Peer {
        namespace_selector: Some(Selector { match_labels: [label(CLIENTS, "allowed")].into() }),
        ..Peer::default()
    };
    Object {
        api_version: "networking.k8s.io/v1".to_owned(),
        kind: "NetworkPolicy".to_owned(),
        metadata: own_metadata(document),
        spec: NetworkPolicySpec {
            pod_selector: Selector { match_labels: serve_labels(document) },
            policy_types: vec!["Ingress".to_owned()],
            egress: Vec::new(),
            ingress: vec![IngressRule {
                from: vec![own, clients],
                ports: vec![network::port("TCP", PORT)],
            }],
        },
    }
}
