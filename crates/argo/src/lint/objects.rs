//! Reads manifests into typed objects, which reject unknown fields.

use document::Document;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{File, Finding, Place, values};
use crate::agent::objects::DaemonSet;
use crate::cluster::{
    ConfigMap, Kustomization, Metadata, Namespace, NetworkPolicy, Role, RoleBinding,
    ServiceAccount, TokenSecret,
};
use crate::pod::Labels;
use crate::serving::objects::{Autoscaler, Deployment, InferenceService, Service};
use crate::workflow::{CronWorkflow, WorkflowSpec, WorkflowTemplate};
use crate::yaml::{self, Misfit};

type Placed<T> = Vec<(Place, T)>;

/// All objects of the files, by kind.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) workflow_templates: Placed<WorkflowTemplate>,
    pub(super) cron_workflows: Placed<CronWorkflow>,
    pub(super) config_maps: Placed<ConfigMap>,
    pub(super) service_accounts: Placed<ServiceAccount>,
    pub(super) token_secrets: Placed<TokenSecret>,
    pub(super) roles: Placed<Role>,
    pub(super) role_bindings: Placed<RoleBinding>,
    pub(super) cluster_roles: Placed<Role>,
    pub(super) cluster_role_bindings: Placed<RoleBinding>,
    pub(super) network_policies: Placed<NetworkPolicy>,
    pub(super) namespaces: Placed<Namespace>,
    pub(super) deployments: Placed<Deployment>,
    pub(super) daemon_sets: Placed<DaemonSet>,
    pub(super) services: Placed<Service>,
    pub(super) autoscalers: Placed<Autoscaler>,
    pub(super) inference_services: Placed<InferenceService>,
    pub(super) kustomizations: Placed<Kustomization>,
    /// Objects of other projects, which are not checked.
    pub(super) others: Placed<Value>,
}

/// A workflow and the object that holds it.
pub(super) struct Held<'a> {
    pub(super) place: &'a Place,
    pub(super) metadata: &'a Metadata,
    pub(super) spec: &'a WorkflowSpec,
    /// Whether it belongs to a `CronWorkflow`, and so has a scheduled time.
    pub(super) is_clock: bool,
}

/// The fields that identify an object; the rest is read afterwards.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
    #[serde(default)]
    metadata: Option<Known>,
}

#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    name: String,
    #[serde(default)]
    labels: Labels,
}

impl Objects {
    pub(super) fn read(files: &[File], findings: &mut Vec<Finding>) -> Self {
        let mut objects = Self::default();
        for file in files {
            for (lines_before, text) in yaml::documents(&file.text) {
                objects.add(file, lines_before, &text, findings);
            }
        }
        objects
    }

    fn add(&mut self, file: &File, before: usize, text: &str, findings: &mut Vec<Finding>) {
        let mut place = Place { file: file.name.clone(), object: String::new(), line: before };
        // Blank lines replace the earlier documents, so that lines are counted from the top of the
        // file.
        let text = format!("{}{text}", "\n".repeat(before));
        let mut refuse = |place: &Place, rule, misfit: Misfit| {
            findings.push(Finding {
                file: place.file.clone(),
                place: misfit.place,
                object: place.object.clone(),
                rule,
                message: misfit.message,
            });
        };
        let whole = |message| Misfit { place: None, message };
        let head: Head = match yaml::read(&text) {
            Ok(head) => head,
            Err(misfit) => return refuse(&place, "fields", misfit),
        };
        let (name, labels) = head.metadata.map(|it| (it.name, it.labels)).unwrap_or_default();
        place.object = format!("{}/{name}", head.kind);
        let Some(expected) = api_version(&head.kind) else {
            let message = format!("`{}` is not a kind that the manifests use", head.kind);
            return refuse(&place, "kind", whole(message));
        };
        if head.api_version != expected {
            let found = &head.api_version;
            let message = format!("apiVersion is `{found}` and has to be `{expected}`");
            refuse(&place, "kind", whole(message));
        }
        let kind = head.kind.as_str();
        let read = match kind {
            "WorkflowTemplate" => push(&mut self.workflow_templates, &place, &text),
            "CronWorkflow" => push(&mut self.cron_workflows, &place, &text),
            "ConfigMap" => push(&mut self.config_maps, &place, &text),
            "ServiceAccount" => push(&mut self.service_accounts, &place, &text),
            "Secret" => push(&mut self.token_secrets, &place, &text),
            "Role" => push(&mut self.roles, &place, &text),
            "RoleBinding" => push(&mut self.role_bindings, &place, &text),
            "ClusterRole" => push(&mut self.cluster_roles, &place, &text),
            "ClusterRoleBinding" => push(&mut self.cluster_role_bindings, &place, &text),
            "NetworkPolicy" => push(&mut self.network_policies, &place, &text),
            "Namespace" => push(&mut self.namespaces, &place, &text),
            "Deployment" => push(&mut self.deployments, &place, &text),
            "DaemonSet" => push(&mut self.daemon_sets, &place, &text),
            "Service" => push(&mut self.services, &place, &text),
            "HorizontalPodAutoscaler" => push(&mut self.autoscalers, &place, &text),
            "InferenceService" => push(&mut self.inference_services, &place, &text),
            "PrometheusRule" => push(&mut self.others, &place, &text),
            _ => push(&mut self.kustomizations, &place, &text),
        };
        if let Err(misfit) = read {
            refuse(&place, "fields", misfit);
        }
        for message in values::wrong_labels(&labels) {
            refuse(&place, "value", whole(message));
        }
        if kind != "Kustomization" {
            let limit = if kind == "CronWorkflow" { 52 } else { 63 };
            if let Some(message) = wrong_name(&name, limit) {
                refuse(&place, "name", whole(message));
            }
        }
    }

    pub(super) fn config_map(&self, name: &str) -> Option<&ConfigMap> {
        let named = |metadata: &Metadata| metadata.name == name;
        self.config_maps.iter().map(|(_, map)| map).find(|map| named(&map.metadata))
    }

    /// Returns the document that a workflow mounts into its pods.
    pub(super) fn document(&self, spec: &WorkflowSpec) -> Option<Document> {
        let maps = spec.volumes.iter().filter_map(|volume| volume.config_map.as_ref());
        let mut texts =
            maps.filter_map(|map| self.config_map(&map.name)?.data.get("document.yaml"));
        texts.find_map(|text| document::parse("document.yaml", text).ok())
    }

    /// Returns the workflows of the objects: those of templates, and those inside of `CronWorkflows`.
    pub(super) fn workflows(&self) -> Vec<Held<'_>> {
        let templates = self.workflow_templates.iter().map(|(place, template)| Held {
            place,
            metadata: &template.metadata,
            spec: &template.spec,
            is_clock: false,
        });
        let clocks = self.cron_workflows.iter().map(|(place, cron)| Held {
            place,
            metadata: &cron.metadata,
            spec: &cron.spec.workflow_spec,
            is_clock: true,
        });
        templates.chain(clocks.filter(|clock| clock.spec.workflow_template_ref.is_none())).collect()
    }

    /// Returns the templates of a name, whichever namespace they are in.
    pub(super) fn templates_named(&self, name: &str) -> Vec<&WorkflowTemplate> {
        let templates = self.workflow_templates.iter().map(|(_, template)| template);
        templates.filter(|template| template.metadata.name == name).collect()
    }
}

fn api_version(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "WorkflowTemplate" | "CronWorkflow" => "argoproj.io/v1alpha1",
        "ConfigMap" | "ServiceAccount" | "Secret" | "Namespace" | "Service" => "v1",
        "Deployment" | "DaemonSet" => "apps/v1",
        "HorizontalPodAutoscaler" => "autoscaling/v2",
        "InferenceService" => "serving.kserve.io/v1beta1",
        "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => {
            "rbac.authorization.k8s.io/v1"
        }
        "NetworkPolicy" => "networking.k8s.io/v1",
        "PrometheusRule" => "monitoring.coreos.com/v1",
        "Kustomization" => "kustomize.config.k8s.io/v1beta1",
        _ => return None,
    })
}

fn push<T: DeserializeOwned>(to: &mut Placed<T>, place: &Place, text: &str) -> Result<(), Misfit> {
    to.push((place.clone(), yaml::read(text)?));
    Ok(())
}

/// Checks an object's name. The name of a `CronWorkflow` must be shorter, because a time is
/// appended to the names of its workflows.
fn wrong_name(name: &str, limit: usize) -> Option<String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() {
        return Some("the object has no name".to_owned());
    }
    if !name.chars().all(inner) || !name.starts_with(outer) || !name.ends_with(outer) {
        return Some(format!(
            "`{name}` is not the name of an object: lower-case letters, digits and `-`"
        ));
    }
    (name.len() > limit)
        .then(|| format!("`{name}` has {} characters, of at most {limit}", name.len()))
}
