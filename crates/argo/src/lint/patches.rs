//! Checks the patches in overlays that have the form of an object, by the schema of its kind. A
//! patch of the other form, a list of operations, is checked by its result: what `kubectl kustomize`
//! prints.

use serde::Deserialize;

use super::objects::{Objects, definition_of};
use super::{Finding, Report, schema};
use crate::yaml;

/// The fields by which a patch says what it changes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
}

pub(super) fn check(objects: &Objects, findings: &mut Vec<Finding>) {
    for (place, kustomization) in &objects.kustomizations {
        let mut report = Report { place, findings };
        for patch in &kustomization.patches {
            let Ok(head) = yaml::read::<Head>(&patch.patch) else { continue };
            match definition_of(&head.api_version, &head.kind) {
                Ok(Some(definition)) => {
                    for misfit in schema::misfits_of_patch(definition, &patch.patch) {
                        report.say("fields", format!("patch of {}: {misfit}", head.kind));
                    }
                }
                Ok(None) => {}
                Err(message) => report.say("kind", format!("patch: {message}")),
            }
        }
    }
}
