//! The endpoint of a pipeline's live model in a cluster: a Deployment with a Service and a scaler,
//! or an `InferenceService` of `KServe`, and its network policy.

pub mod objects;

use contract::StepError;
use document::Document;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, HTTPGetAction, PodSpec, PodTemplateSpec, Probe, Service, ServicePort,
    ServiceSpec, Volume,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::cluster::{Labels, Object, selector};
use objects::{InferenceService, InferenceServiceSpec, Predictor};

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
const REPLICAS: (i32, i32) = (2, 6);
/// Share of the requested processor time, in percent, above which there are more replicas.
const BUSY_PERCENT: i32 = 70;

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

fn own_metadata(document: &Document) -> ObjectMeta {
    ObjectMeta { labels: Some(serve_labels(document)), ..metadata(&name(document), Some(document)) }
}

/// Makes the container. The program checks the alias periodically, so a promoted version is served
/// without a new pod.
fn container(document: &Document, name: &str) -> Container {
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
        image: Some(format!("localhost/lynceus/{SERVE}:{}", contract::VERSION)),
        command: Some(vec![format!("/{SERVE}")]),
        args: Some(arguments.into_iter().flat_map(|(flag, it)| [flag.to_owned(), it]).collect()),
        env_from: Some(vec![step::from_map(access::STORE), step::from_secret(access::SCORER)]),
        ports: Some(vec![port(PORT_NAME, PORT)]),
        readiness_probe: Some(probe("/v2/health/ready", PORT_NAME, 5)),
        liveness_probe: Some(probe("/v2/health/live", PORT_NAME, 5)),
        resources: Some(resources::serving()),
        security_context: Some(step::security_context()),
        volume_mounts: Some(vec![
            step::mount("token", TOKEN_FOLDER, true),
            step::mount("ca", step::AUTHORITY, true),
        ]),
        ..Container::default()
    }
}

/// Makes a port of a container.
pub(super) fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Makes a request that Kubernetes repeats; three failures one after another count.
pub(super) fn probe(path: &str, port: &str, seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(port.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(seconds),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

fn volumes(document: &Document) -> Vec<Volume> {
    vec![
        step::secret_volume("token", &name(document), false),
        step::secret_volume("ca", access::CA, true),
    ]
}

/// Returns labels of pods, and the annotations by which Prometheus discovers their port.
pub(super) fn scraped(labels: Labels, port: u16) -> ObjectMeta {
    let annotations =
        [label("prometheus.io/scrape", "true"), label("prometheus.io/port", &port.to_string())];
    ObjectMeta {
        labels: Some(labels),
        annotations: Some(annotations.into()),
        ..ObjectMeta::default()
    }
}

fn deployment(document: &Document) -> Deployment {
    let pod = PodSpec {
        service_account_name: Some(super::names(document).score),
        automount_service_account_token: Some(false),
        security_context: Some(step::pod_security(false)),
        containers: vec![container(document, SERVE)],
        volumes: Some(volumes(document)),
        ..PodSpec::default()
    };
    // One more pod than the replica count, and none fewer.
    let rolling_update = RollingUpdateDeployment {
        max_surge: Some(IntOrString::Int(1)),
        max_unavailable: Some(IntOrString::Int(0)),
    };
    Deployment {
        metadata: own_metadata(document),
        spec: Some(DeploymentSpec {
            selector: selector(serve_labels(document)),
            strategy: Some(DeploymentStrategy {
                rolling_update: Some(rolling_update),
                type_: None,
            }),
            template: PodTemplateSpec {
                metadata: Some(scraped(serve_labels(document), PORT)),
                spec: Some(pod),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn service(document: &Document) -> Service {
    let port = ServicePort {
        name: Some(PORT_NAME.to_owned()),
        port: 80,
        target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
        ..ServicePort::default()
    };
    Service {
        metadata: own_metadata(document),
        spec: Some(ServiceSpec {
            selector: Some(serve_labels(document)),
            ports: Some(vec![port]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn autoscaler(document: &Document) -> HorizontalPodAutoscaler {
    let (min_replicas, max_replicas) = REPLICAS;
    let target = MetricTarget {
        type_: "Utilization".to_owned(),
        average_utilization: Some(BUSY_PERCENT),
        ..MetricTarget::default()
    };
    let metric = MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource { name: "cpu".to_owned(), target }),
        ..MetricSpec::default()
    };
    HorizontalPodAutoscaler {
        metadata: own_metadata(document),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: name(document),
            },
            min_replicas: Some(min_replicas),
            max_replicas,
            metrics: Some(vec![metric]),
            ..HorizontalPodAutoscalerSpec::default()
        }),
        ..HorizontalPodAutoscaler::default()
    }
}

fn inference_service(document: &Document) -> InferenceService {
    let mut metadata = own_metadata(document);
    metadata.annotations.get_or_insert_default().extend([
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
                security_context: step::pod_security(false),
                containers: vec![container(document, KSERVE_CONTAINER)],
                volumes: volumes(document),
            },
        },
    }
}

/// Allows the pods of the namespace, and of namespaces with a label, to connect to the endpoint.
fn policy(document: &Document) -> NetworkPolicy {
    let rule = NetworkPolicyIngressRule {
        from: Some(vec![network::all_pods(), network::namespaces(CLIENTS, "allowed")]),
        ports: Some(vec![network::port("TCP", PORT)]),
    };
    NetworkPolicy {
        metadata: own_metadata(document),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(serve_labels(document))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![rule]),
            egress: None,
        }),
    }
}
