//! Checks that each step gets the Secrets that it reads, and no others.

use std::collections::BTreeSet;

use contract::Stage;
use contract::steps::StepCommand;
use document::Document;
use k8s_openapi::api::core::v1::Container;

use super::objects::Objects;
use super::{Mounted, Report, containers};
use crate::access::{CA, SCORER, TRAINER};
use crate::workflow::WorkflowSpec;
use crate::{secrets, step};

/// Checks that every referenced Secret is an object, or one of those that users create.
pub(super) fn named(
    spec: &WorkflowSpec,
    pipeline: Option<&str>,
    objects: &Objects,
    report: &mut Report<'_>,
) {
    // Without the pipeline's name the names of its Secrets are unknown.
    let Some(pipeline) = pipeline else { return };
    let mut known = secrets::names(pipeline);
    known.extend([TRAINER, SCORER, CA].map(str::to_owned));
    known.extend(
        objects.token_secrets.iter().filter_map(|(_, secret)| secret.metadata.name.clone()),
    );
    let containers = spec.templates.iter().flat_map(containers);
    let variables = containers.flat_map(|(_, container)| container.env_from.iter().flatten());
    let variables = variables.filter_map(|from| Some(&from.secret_ref.as_ref()?.name));
    let volumes = spec.volumes.iter().filter_map(|volume| volume.secret.as_ref());
    let named: BTreeSet<&String> =
        variables.chain(volumes.filter_map(|it| it.secret_name.as_ref())).collect();
    for name in named.into_iter().filter(|name| !known.contains(name)) {
        let known = known.join(", ");
        report.say("secret", format!("no file creates the Secret `{name}` (known are {known})"));
    }
}

/// Checks that exactly the steps that open the store get its credentials.
pub(super) fn of_store(
    owner: &str,
    container: &Container,
    step: &StepCommand,
    report: &mut Report<'_>,
) {
    let parameters = step.parameters().unwrap_or_default();
    let opens_store = step::opens_store(&parameters);
    let mut secrets =
        container.env_from.iter().flatten().filter_map(|from| from.secret_ref.as_ref());
    let has_keys = secrets.any(|secret| [TRAINER, SCORER].contains(&secret.name.as_str()));
    if opens_store && !has_keys {
        report.say("secret", format!("`{owner}` opens the store and has no keys of it"));
    }
    if !opens_store && has_keys {
        report.say("secret", format!("`{owner}` does not open the store and has keys of it"));
    }
    if parameters.get("store").is_some_and(|store| !store.contains("s3://")) {
        report.say("flags", format!("`{owner}`: the store of a cluster is a bucket (s3://...)"));
    }
}

/// Checks that the files and variables that the document names for a step exist.
pub(super) fn of_document(
    mounted: Mounted<'_>,
    document: &Document,
    stage: Stage,
    report: &mut Report<'_>,
) {
    let (owner, container) = (mounted.owner(), mounted.container);
    for file in secrets::files(document, stage) {
        let provided = mounted.volumes().any(|(mount, volume)| {
            file.starts_with(&mount.mount_path)
                && (volume.secret.is_some() || volume.empty_dir.is_some())
        });
        if !provided {
            let file = file.display();
            report.say(
                "secret",
                format!(
                    "`{owner}` names `{file}`, which no volume or artifact \
                     provides"
                ),
            );
        }
    }
    if let Some(secret) = secrets::environment(document, stage) {
        let mut given =
            container.env_from.iter().flatten().filter_map(|from| from.secret_ref.as_ref());
        if !given.any(|reference| reference.name == secret) {
            let names = secrets::variables(document, stage).join(", ");
            report.say("secret", format!("`{owner}` reads {names} and has no Secret `{secret}`"));
        }
    }
}
