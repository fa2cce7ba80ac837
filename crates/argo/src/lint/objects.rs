//! Reads manifests into typed objects, after a check of all fields by the schemas.

use document::Document;
use k8s_openapi::api::apps::v1::{DaemonSetSpec, DeploymentSpec};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerSpec;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount, ServiceSpec};
use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::schema::{self, Known as Kind};
use super::{File, Finding, Place, values};
use crate::cluster::{Kustomization, Labels, Object, given, name_of};
use crate::serving::objects::InferenceService;
use crate::workflow::{CronWorkflow, WorkflowSpec, WorkflowTemplate};
use crate::yaml::{self, Misfit};
use crate::{LYNCEUS, PART_OF, PIPELINE};

type Placed<T> = Vec<(Place, T)>;

/// All objects of the files, by kind. Rules need the specification of most, whatever the API version.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) workflow_templates: Placed<WorkflowTemplate>,
    pub(super) cron_workflows: Placed<CronWorkflow>,
    pub(super) config_maps: Placed<Texts>,
    pub(super) service_accounts: Placed<ServiceAccount>,
    pub(super) token_secrets: Placed<Texts>,
    pub(super) roles: Placed<Role>,
    pub(super) role_bindings: Placed<RoleBinding>,
    pub(super) cluster_roles: Placed<ClusterRole>,
    pub(super) cluster_role_bindings: Placed<ClusterRoleBinding>,
    pub(super) network_policies: Placed<Object<NetworkPolicySpec>>,
    pub(super) namespaces: Placed<Namespace>,
    pub(super) deployments: Placed<Object<DeploymentSpec>>,
    pub(super) daemon_sets: Placed<Object<DaemonSetSpec>>,
    pub(super) services: Placed<Object<ServiceSpec>>,
    pub(super) autoscalers: Placed<Object<HorizontalPodAutoscalerSpec>>,
    pub(super) inference_services: Placed<InferenceService>,
    pub(super) kustomizations: Placed<Kustomization>,
}

/// A `ConfigMap` or a Secret. The types of `k8s-openapi` do not take encoded values over several
/// lines, which Kubernetes takes, nor those that another tool has encrypted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Texts {
    pub(super) metadata: ObjectMeta,
    /// The type of a Secret.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// The texts of a `ConfigMap`, or the encoded values of a Secret.
    pub(super) data: Option<Labels>,
    /// The values of a Secret as texts.
    pub(super) string_data: Option<Labels>,
}

/// A workflow and the object that holds it.
pub(super) struct Held<'a> {
    pub(super) place: &'a Place,
    pub(super) metadata: &'a ObjectMeta,
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

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    #[serde(default)]
    name: String,
    #[serde(default)]
    generate_name: String,
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
        let known = head.metadata.unwrap_or_default();
        place.object = format!("{}/{}", head.kind, known.name);
        let (version, kind) = (head.api_version.as_str(), head.kind.as_str());
        let definition = match definition_of(version, kind) {
            Ok(definition) => definition,
            Err(message) => return refuse(&place, "kind", whole(message)),
        };
        let misfits = definition.map(|definition| schema::misfits(definition, &file.name, &text));
        let misfits = misfits.unwrap_or_default();
        // The other rules need the fields.
        if misfits.is_empty()
            && let Err(misfit) = self.push(kind, &known.labels, &place, &text)
        {
            refuse(&place, "fields", misfit);
        }
        misfits.into_iter().for_each(|misfit| refuse(&place, "fields", misfit));
        for message in values::wrong_labels(&known.labels) {
            refuse(&place, "value", whole(message));
        }
        let limit = if kind == "CronWorkflow" { 52 } else { 63 };
        let needs_name = !["Kustomization", "Component"].contains(&kind);
        if known.name.is_empty() && known.generate_name.is_empty() && needs_name {
            refuse(&place, "name", whole("the object has no name".to_owned()));
        } else if is_own(&known.labels)
            && let Some(message) = wrong_name(&known.name, limit)
        {
            refuse(&place, "name", whole(message));
        }
    }

    /// Keeps an object if rules besides those of its fields are about it: objects that serve all of
    /// a namespace, and those of Lynceus.
    fn push(
        &mut self,
        kind: &str,
        labels: &Labels,
        place: &Place,
        text: &str,
    ) -> Result<(), Misfit> {
        match kind {
            "WorkflowTemplate" => return push(&mut self.workflow_templates, place, text),
            "ConfigMap" => return push(&mut self.config_maps, place, text),
            "ServiceAccount" => return push(&mut self.service_accounts, place, text),
            "Secret" => return push(&mut self.token_secrets, place, text),
            "NetworkPolicy" => return push(&mut self.network_policies, place, text),
            "Namespace" => return push(&mut self.namespaces, place, text),
            "Kustomization" => return push(&mut self.kustomizations, place, text),
            _ if !is_own(labels) => return Ok(()),
            _ => {}
        }
        match kind {
            "CronWorkflow" => push(&mut self.cron_workflows, place, text),
            "Role" => push(&mut self.roles, place, text),
            "RoleBinding" => push(&mut self.role_bindings, place, text),
            "ClusterRole" => push(&mut self.cluster_roles, place, text),
            "ClusterRoleBinding" => push(&mut self.cluster_role_bindings, place, text),
            "Deployment" => push(&mut self.deployments, place, text),
            "DaemonSet" => push(&mut self.daemon_sets, place, text),
            "Service" => push(&mut self.services, place, text),
            "HorizontalPodAutoscaler" => push(&mut self.autoscalers, place, text),
            "InferenceService" => push(&mut self.inference_services, place, text),
            _ => Ok(()),
        }
    }

    pub(super) fn config_map(&self, name: &str) -> Option<&Texts> {
        self.config_maps.iter().map(|(_, map)| map).find(|map| name_of(&map.metadata) == name)
    }

    /// Returns the document that a workflow mounts into its pods.
    pub(super) fn document(&self, spec: &WorkflowSpec) -> Option<Document> {
        let maps = spec.volumes.iter().filter_map(|volume| volume.config_map.as_ref());
        let mut texts =
            maps.filter_map(|map| self.config_map(&map.name)?.data.as_ref()?.get("document.yaml"));
        texts.find_map(|text| document::parse("document.yaml", text).ok())
    }

    /// Returns the workflows of Lynceus: those of templates, and those inside of `CronWorkflows`.
    pub(super) fn workflows(&self) -> Vec<Held<'_>> {
        let own = |it: &ObjectMeta| given(it.labels.as_ref()).contains_key(PIPELINE);
        let templates = self.workflow_templates.iter().filter(|(_, it)| own(&it.metadata));
        let templates = templates.map(|(place, template)| Held {
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
        templates.filter(|template| name_of(&template.metadata) == name).collect()
    }
}

/// Returns the definition of a kind of objects, none for a kind of another project.
pub(super) fn definition_of(version: &str, kind: &str) -> Result<Option<&'static str>, String> {
    match schema::known(version, kind) {
        Kind::Described(definition) => Ok(Some(definition)),
        Kind::Foreign => Ok(None),
        Kind::Elsewhere(versions) => {
            let versions = versions.join("` or `");
            Err(format!("apiVersion is `{version}` and has to be `{versions}`"))
        }
        Kind::Unknown(meant) => {
            let meant = meant.map(|meant| format!(" (did you mean `{meant}`?)"));
            Err(format!("`{version}` has no `{kind}`{}", meant.unwrap_or_default()))
        }
    }
}

/// Returns whether labels are those of an object of Lynceus.
pub(super) fn is_own(labels: &Labels) -> bool {
    labels.get(PART_OF).is_some_and(|whole| whole == LYNCEUS)
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
    if !name.chars().all(inner) || !name.starts_with(outer) || !name.ends_with(outer) {
        return Some(format!(
            "`{name}` is not the name of an object: lower-case letters, digits and `-`"
        ));
    }
    (name.len() > limit)
        .then(|| format!("`{name}` has {} characters, of at most {limit}", name.len()))
}
