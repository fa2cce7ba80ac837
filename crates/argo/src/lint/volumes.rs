//! Checks that each pod has the volumes that its containers mount.
//!
//! The pod of a single container gets the workflow's volumes that the container mounts. The pod of
//! a container set gets only the volumes in the set's own `volumeMounts` (Argo 3.6 to 4.1). Other
//! mounts of its containers need a `podSpecPatch`, or the API server rejects the pod.

use k8s_openapi::api::core::v1::Volume;

use super::{Report, containers};
use crate::step::PodSpecPatch;
use crate::workflow::{Template, WorkflowSpec};
use crate::yaml;

pub(super) fn workflow(spec: &WorkflowSpec, report: &mut Report<'_>) {
    for template in &spec.templates {
        let Some(set) = &template.container_set else { continue };
        let patched = of_patches(spec, template);
        for volume in &patched {
            let named = spec.volumes.iter().find(|other| other.name == volume.name);
            if named.is_some_and(|other| other != volume) {
                let (name, volume) = (&template.name, &volume.name);
                let message = format!(
                    "`{name}`: podSpecPatch has another volume `{volume}` than the workflow"
                );
                report.say("volume", message);
            }
        }
        for (name, container) in containers(template) {
            for mount in container.volume_mounts.iter().flatten() {
                let is_shared = set.volume_mounts.iter().any(|shared| shared.name == mount.name);
                if !is_shared && !patched.iter().any(|volume| volume.name == mount.name) {
                    let message = format!(
                        "`{}/{name}` mounts `{}`, which its pod does not have: of a container set \
                         Argo adds only the volumes of its own volumeMounts; add it by podSpecPatch",
                        template.name, mount.name
                    );
                    report.say("volume", message);
                }
            }
        }
    }
}

/// Returns the volumes that patches add to a template's pods.
fn of_patches(spec: &WorkflowSpec, template: &Template) -> Vec<Volume> {
    let patches = [&spec.pod_spec_patch, &template.pod_spec_patch].into_iter().flatten();
    let patches = patches.filter_map(|patch| yaml::read::<PodSpecPatch>(patch).ok());
    patches.flat_map(|patch| patch.volumes).collect()
}
