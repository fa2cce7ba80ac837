//! One task of a plan as a container: its image, its flags, and the paths of its files in the pod.

use std::path::{Component, Path};

use contract::step::{Common, LogFormat};
use contract::{Stage, StepError};
use document::Document;
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapEnvSource, ConfigMapVolumeSource, Container, EmptyDirVolumeSource,
    EnvFromSource, PodSecurityContext, ResourceRequirements, SeccompProfile, SecretEnvSource,
    SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use plan::Task;

use super::outside::Outside;
use super::resources::USER;
use super::workflow::{Parameter, PodMetadata, WorkflowSpec};
use super::{COMPONENT, access, label, names, resources, secrets, yaml};

/// The container from which Argo takes the exit code and the artifacts: the only one of a pod, or
/// one of a set.
pub(super) const MAIN: &str = "main";
/// The folder for outputs: the only writable folder of a pod.
pub(super) const WORK: &str = "/lynceus";
/// The folder in which Argo places the outputs of other pods.
pub(super) const INPUTS: &str = "/inputs";
/// Its path in a pod of several containers, on the shared volume.
const SHARED_INPUTS: &str = "/lynceus/inputs";
/// The folder of the document.
pub(super) const DOCUMENT: &str = "/etc/lynceus/document";

/// The file from which Kubernetes reads why a container failed; Argo uses it as the workflow's
/// message.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// The folder with the certificate of the store's private CA.
pub(super) const AUTHORITY: &str = "/etc/lynceus/ca";

/// Settings of a container besides its task.
pub(super) struct Surroundings<'a> {
    pub(super) document: &'a Document,
    pub(super) resources: ResourceRequirements,
    /// The Secret with the keys of the store, for steps that open it.
    pub(super) store_secret: &'a str,
    /// Whether the outputs of other steps are at the path at which they were written.
    pub(super) shares_work: bool,
    /// How many threads it may use.
    pub(super) threads: u16,
}

impl<'a> Surroundings<'a> {
    /// Returns the settings of a task of a training.
    pub(super) fn of_training(document: &'a Document, task: &Task, shares_work: bool) -> Self {
        Self {
            document,
            resources: resources::resources(task.command.training_resources()),
            store_secret: access::TRAINER,
            shares_work,
            threads: task.command.training_threads(),
        }
    }

    /// Returns the settings of a task of a tick.
    pub(super) fn of_scoring(document: &'a Document, task: &Task, shares_work: bool) -> Self {
        Self {
            document,
            resources: resources::resources(task.command.scoring_resources()),
            store_secret: access::SCORER,
            shares_work,
            // One minute of data is processed faster than a second thread starts.
            threads: 1,
        }
    }
}

/// Returns the labels of a pod with these stages; network policies select pods by them.
pub(super) fn pod_labels(component: &str, stages: &[Stage]) -> PodMetadata {
    let allowed = stages.iter().filter_map(|stage| Some(Outside::of(*stage)?.label()));
    PodMetadata { labels: allowed.chain([label(COMPONENT, component)]).collect() }
}

/// Makes the container of a task, with the name that Argo gives to the only container of a pod.
pub(super) fn container(
    task: &Task,
    surroundings: &Surroundings<'_>,
) -> Result<Container, StepError> {
    let stage = task.command.stage();
    let parameters = task.command.parameters()?;
    let opens_store = opens_store(&parameters);
    let mut mounts = vec![mount("document", DOCUMENT, true)];
    mounts.extend(secrets::mount(surroundings.document, stage));
    mounts.extend(opens_store.then(|| mount("ca", AUTHORITY, true)));
    if !surroundings.shares_work {
        mounts.push(mount("work", WORK, false));
    }
    let mut env_from = Vec::new();
    if opens_store {
        env_from.extend([from_map(access::STORE), from_secret(surroundings.store_secret)]);
    }
    let secret = secrets::environment(surroundings.document, stage);
    env_from.extend(secret.map(|secret| from_secret(&secret)));
    Ok(Container {
        name: MAIN.to_owned(),
        image: Some(image(stage)),
        command: Some(vec![format!("/{stage}")]),
        args: Some(arguments(task, surroundings)?),
        env_from: (!env_from.is_empty()).then_some(env_from),
        resources: Some(surroundings.resources.clone()),
        security_context: Some(security_context()),
        volume_mounts: Some(mounts),
        ..Container::default()
    })
}

/// Returns whether a step with these flags opens the store: for its own data, to read recorded
/// samples or feature groups, or to look up the live version.
pub(super) fn opens_store(parameters: &std::collections::BTreeMap<String, String>) -> bool {
    ["store", "recorded", "live"].iter().any(|flag| parameters.contains_key(*flag))
}

/// Returns a stage's image; registry and tag are parameters of the workflow.
pub(super) fn image(stage: Stage) -> String {
    format!("{{{{workflow.parameters.images}}}}/{stage}:{{{{workflow.parameters.tag}}}}")
}

/// Returns the parameters that every template has, in an order that overlays rely on.
pub(super) fn parameters(now: &str) -> Vec<Parameter> {
    vec![
        parameter("images", "localhost/lynceus", "registry and folder of the images"),
        parameter("tag", contract::VERSION, "tag of the images"),
        parameter("store", "s3://lynceus", "store of models, scores and states"),
        parameter("now", now, "evaluation time: the end of the range"),
    ]
}

/// Makes a parameter with a default.
pub(super) fn parameter(name: &str, value: &str, description: &str) -> Parameter {
    Parameter {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        description: Some(description.to_owned()),
        ..Parameter::default()
    }
}

/// Prints a task's flags with the paths in the pod, and with references for values that are known
/// only in the cluster.
fn arguments(task: &Task, surroundings: &Surroundings<'_>) -> Result<Vec<String>, StepError> {
    let mut command = task.command.clone();
    *command.common_mut() = Common {
        outcome: Some(outcome(task).into()),
        log: LogFormat::Json,
        threads: surroundings.threads,
        deadline: task.command.common().deadline,
        scratch: task.command.common().scratch,
        termination_log: Some(TERMINATION_LOG.into()),
    };
    let inputs = command.inputs();
    let mut flag = String::new();
    let mut line = Vec::new();
    for word in command.command_line()? {
        let word = word.into_string().map_err(|word| {
            StepError::usage(format!("`{}` is not UTF-8 text", Path::new(&word).display()))
                .hint("rename the file")
        })?;
        if let Some(name) = word.strip_prefix("--") {
            name.clone_into(&mut flag);
            line.push(word);
            continue;
        }
        let is_input = inputs.iter().any(|port| port.name == flag);
        line.push(match flag.as_str() {
            "now" | "seed" | "range" | "models" => format!("{{{{inputs.parameters.{flag}}}}}"),
            "shard" => format!("{}/{}", super::SHARD_REFERENCE, super::SHARD_COUNT_REFERENCE),
            "source" => match word.split_once('=') {
                Some((name, path)) => {
                    format!("{name}={}", input_path(path, surroundings.shares_work)?)
                }
                None => input_path(&word, surroundings.shares_work)?,
            },
            _ if is_input => input_path(&word, surroundings.shares_work)?,
            _ => word,
        });
    }
    Ok(line)
}

/// Returns the path of a task's outcome.
pub(super) fn outcome(task: &Task) -> String {
    format!("{WORK}/{}/outcome.json", task.name)
}

/// Returns the path of an input of the plan in the pod.
pub(super) fn input_path(path: &str, shares_work: bool) -> Result<String, StepError> {
    let Ok(below) = Path::new(path).strip_prefix(WORK) else {
        let folder = if shares_work { SHARED_INPUTS } else { INPUTS };
        return external(path).map(|below| format!("{folder}/{below}"));
    };
    let below = below.display();
    match path.strip_prefix(WORK) {
        Some("/document.yaml") => Ok(format!("{DOCUMENT}/document.yaml")),
        _ if shares_work => Ok(path.to_owned()),
        _ => Ok(format!("{INPUTS}/{below}")),
    }
}

/// Returns the path, relative to the document, of a file that no task writes.
pub(super) fn external(path: &str) -> Result<String, StepError> {
    let below = Path::new(path).strip_prefix(INPUTS).ok();
    let is_plain = |below: &&Path| {
        below.components().all(|component| matches!(component, Component::Normal(_)))
    };
    let below = below.filter(is_plain).ok_or_else(|| {
        StepError::usage(format!("`{path}` cannot be a file in the store"))
            .hint("name the file relative to the document, below its folder")
    })?;
    Ok(below.display().to_string())
}

/// Makes the mount of a volume.
pub(super) fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// Returns the keys of a `ConfigMap` as environment.
pub(super) fn from_map(name: &str) -> EnvFromSource {
    EnvFromSource {
        config_map_ref: Some(ConfigMapEnvSource { name: name.to_owned(), optional: None }),
        ..EnvFromSource::default()
    }
}

/// Returns the keys of a Secret as environment.
pub(super) fn from_secret(name: &str) -> EnvFromSource {
    EnvFromSource {
        secret_ref: Some(SecretEnvSource { name: name.to_owned(), optional: None }),
        ..EnvFromSource::default()
    }
}

/// Makes the volume of an empty folder of a limited size; a pod that writes more is evicted.
pub(super) fn empty_volume(name: &str, size: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(size.to_owned())),
            medium: None,
        }),
        ..Volume::default()
    }
}

/// Makes the volume with the keys of a `ConfigMap` as files.
pub(super) fn map_volume(name: &str, map: &str) -> Volume {
    let config_map =
        Some(ConfigMapVolumeSource { name: map.to_owned(), ..ConfigMapVolumeSource::default() });
    Volume { name: name.to_owned(), config_map, ..Volume::default() }
}

/// Makes the volume with the keys of a Secret as files; pods start without one that is optional.
pub(super) fn secret_volume(name: &str, secret: &str, is_optional: bool) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            optional: is_optional.then_some(true),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Returns the mount of the folder that outputs are written to.
pub(super) fn work_mount() -> VolumeMount {
    mount("work", WORK, false)
}

/// Returns the volumes of a workflow's pods, which run these stages.
pub(super) fn volumes(document: &Document, work_size: &str, stages: &[Stage]) -> Vec<Volume> {
    let mut volumes =
        vec![empty_volume("work", work_size), map_volume("document", &names(document).document)];
    volumes.extend(secrets::volumes(document, stages));
    volumes.push(secret_volume("ca", access::CA, true));
    volumes
}

/// Returns the seccomp profile of every pod.
pub(super) fn seccomp() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }
}

/// Returns the security context of a pod, whose user is root where nothing else works.
pub(super) fn pod_security(is_root: bool) -> PodSecurityContext {
    let user = if is_root { 0 } else { USER };
    PodSecurityContext {
        run_as_non_root: Some(!is_root),
        run_as_user: Some(user),
        run_as_group: Some(user),
        fs_group: (!is_root).then_some(USER),
        seccomp_profile: Some(seccomp()),
        ..PodSecurityContext::default()
    }
}

/// Returns the security context that Pod Security `restricted` requires, with a read-only root file
/// system.
pub(super) fn security_context() -> SecurityContext {
    SecurityContext { read_only_root_filesystem: Some(true), ..restricted() }
}

fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        seccomp_profile: Some(seccomp()),
        ..SecurityContext::default()
    }
}

/// The part of a pod that `podSpecPatch` changes.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpecPatch {
    /// Containers that run first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) init_containers: Vec<Container>,
    /// Containers that run beside the step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) containers: Vec<Container>,
    /// Volumes of the pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) volumes: Vec<Volume>,
}

/// Returns the patch that adds to the pod of a container set the volumes that only some containers
/// mount: Argo adds only the volumes that all of them share.
pub(super) fn volumes_patch(
    volumes: &[Volume],
    set: &super::workflow::ContainerSet,
) -> Result<Option<String>, StepError> {
    let is_shared = |volume: &&Volume| set.volume_mounts.iter().any(|m| m.name == volume.name);
    let mounted = |volume: &&Volume| {
        let containers = set.containers.iter();
        let mut mounts = containers.filter_map(|it| it.container.volume_mounts.as_ref()).flatten();
        mounts.any(|mount| mount.name == volume.name)
    };
    let own = volumes.iter().filter(|volume| !is_shared(volume)).filter(mounted);
    let patch = PodSpecPatch { volumes: own.cloned().collect(), ..PodSpecPatch::default() };
    if patch.volumes.is_empty() { Ok(None) } else { yaml::write(&patch).map(Some) }
}

/// Sets what all pods of a workflow may do: Pod Security `restricted`, without relying on the
/// controller's settings. A patch applies it to Argo's own containers.
pub(super) fn secure(spec: &mut WorkflowSpec) -> Result<(), StepError> {
    let own = |name: &str| Container {
        name: name.to_owned(),
        resources: Some(resources::executor()),
        security_context: Some(restricted()),
        ..Container::default()
    };
    let patch = PodSpecPatch {
        init_containers: vec![own("init")],
        containers: vec![own("wait")],
        volumes: Vec::new(),
    };
    spec.pod_spec_patch = Some(yaml::write(&patch)?);
    spec.security_context = Some(pod_security(false));
    spec.automount_service_account_token = Some(false);
    spec.executor =
        Some(super::workflow::Executor { service_account_name: access::EXECUTOR.to_owned() });
    Ok(())
}
