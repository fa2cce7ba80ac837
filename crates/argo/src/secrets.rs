//! Where a document's secrets are in a cluster: a Secret for each step with extensions. It appears as
//! a folder in the pods of that step, and as their environment where the document names variables.

use std::path::PathBuf;

use contract::{Stage, StepError};
use document::Document;
use document::extension::{FileUse, NamedFile};
use k8s_openapi::api::core::v1::{Volume, VolumeMount};

use super::outside::{OUTSIDE, Outside};
use super::step::{self, WORK};

/// Certificates that every image contains.
const SYSTEM: &str = "/etc/ssl/certs";

/// Returns the names of the Secrets that a pipeline may have.
pub(super) fn names(pipeline: &str) -> Vec<String> {
    OUTSIDE.iter().map(|outside| outside.secret(pipeline)).collect()
}

/// Returns the extensions' entry of a step, if the document names files of its Secret.
fn mounted(document: &Document, stage: Stage) -> Option<Outside> {
    let is_in = |outside: &Outside| {
        document.needs(stage).files.iter().any(|file| file.path.starts_with(outside.folder))
    };
    Outside::of(stage).filter(is_in)
}

/// Returns the mount of the Secret that a step reads.
pub(super) fn mount(document: &Document, stage: Stage) -> Option<VolumeMount> {
    mounted(document, stage).map(|outside| step::mount(outside.name, outside.folder, true))
}

/// Returns the volumes of the Secrets that steps read.
pub(super) fn volumes(document: &Document, stages: &[Stage]) -> Vec<Volume> {
    let mounted = stages.iter().filter_map(|stage| mounted(document, *stage));
    let volume = |outside: Outside| {
        step::secret_volume(outside.name, &outside.secret(&document.name), outside.is_optional)
    };
    mounted.map(volume).collect()
}

/// Returns the Secret whose keys a step gets as environment, if the document names variables.
pub(super) fn environment(document: &Document, stage: Stage) -> Option<String> {
    let outside = Outside::of(stage)?;
    (!variables(document, stage).is_empty()).then(|| outside.secret(&document.name))
}

/// Returns the environment variables that a step takes secrets from.
pub(super) fn variables(document: &Document, stage: Stage) -> Vec<String> {
    document.needs(stage).variables
}

/// Returns the files that a step reads or writes because the document names them, apart from those
/// that are in every image.
pub(super) fn files(document: &Document, stage: Stage) -> Vec<PathBuf> {
    own_files(document, stage).into_iter().map(|file| file.path).collect()
}

fn own_files(document: &Document, stage: Stage) -> Vec<NamedFile> {
    let mut files = document.needs(stage).files;
    files.retain(|file| !file.path.starts_with(SYSTEM));
    files
}

/// Refuses a document that names a file that no pod has or can write.
pub(super) fn check(document: &Document) -> Result<(), StepError> {
    for outside in OUTSIDE {
        for NamedFile { field, file_use, path } in own_files(document, outside.stage) {
            let is_written = file_use == FileUse::Written;
            if path.starts_with(WORK) || (!is_written && path.starts_with(outside.folder)) {
                continue;
            }
            let (file, folder) = (path.display(), outside.folder);
            let secret = outside.secret(&document.name);
            return Err(if is_written {
                StepError::usage(format!("`{field}`: no pod can write the file `{file}`"))
                    .hint(format!("use a path below `{WORK}`, which exists as long as the pod"))
            } else {
                StepError::usage(format!("`{field}`: no pod has the file `{file}`"))
                    .hint(format!("name it `{folder}/KEY`, after a key of the Secret `{secret}`"))
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(fields: &str) -> Document {
        let text = format!(
            "format: 1\nname: x\nstep: 1m\nrange: 1d\n\
             features: [raw]\nmodels: {{z_score: {{}}}}\n\
             vote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\n{fields}"
        );
        document::parse("x.yaml", &text).unwrap()
    }

    #[test]
    fn each_step_sees_the_secret_that_it_reads_and_no_other() {
        let document = document(
            "sources: {main: {prometheus: {url: 'http://p.monitoring:9090', auth: {bearer_token: {file: /etc/lynceus/source/token}}}, queries: [{name: load, promql: node_load1}]}}\n\
             exports: {mimir: {remote_write: {url: 'http://m.monitoring:9090/api/v1/write', \
             auth: {basic: {username: u, password: {file: /etc/lynceus/export/password}}}}}}\n\
             alerts: {channels: [{email: {host: mail.example.com, from: a@b, to: [c@d], username: u, \
             password: {file: /etc/lynceus/alert/password}}}, {slack: {webhook: {env: SLACK}}}]}\n",
        );
        check(&document).unwrap();
        let mount = |stage| mount(&document, stage).map(|mount| mount.mount_path);
        assert_eq!(mount(Stage::Collect).as_deref(), Some("/etc/lynceus/source"));
        assert_eq!(mount(Stage::Export).as_deref(), Some("/etc/lynceus/export"));
        assert_eq!(mount(Stage::Alert).as_deref(), Some("/etc/lynceus/alert"));
        assert_eq!(mount(Stage::Feature), None);
        let volumes = volumes(&document, &[Stage::Collect, Stage::Export, Stage::Alert]);
        let secrets = volumes.into_iter().filter_map(|volume| volume.secret);
        let secrets: Vec<_> = secrets.map(|it| (it.secret_name, it.optional)).collect();
        let expected = [("source", None), ("export", Some(true)), ("alert", Some(true))];
        assert_eq!(secrets, expected.map(|(name, is)| (Some(format!("lynceus-x-{name}")), is)));
        assert_eq!(environment(&document, Stage::Alert).as_deref(), Some("lynceus-x-alert"));
        assert_eq!(environment(&document, Stage::Export), None);
        assert_eq!(variables(&document, Stage::Alert), ["SLACK"]);
    }

    #[test]
    fn a_file_that_is_written_lies_where_a_pod_can_write() {
        let channel = |file: &str| {
            document(&format!(
                "sources: {{main: {{prometheus: {{url: 'http://p.m:9090'}}, queries: [{{name: load, promql: node_load1}}]}}}}\n\
                 alerts: {{channels: [{{file: {{path: {file}}}}}]}}\n"
            ))
        };
        let error = check(&channel("/etc/lynceus/alert/told.jsonl")).unwrap_err();
        assert!(error.message.contains("no pod can write the file"), "{error}");
        check(&channel("/lynceus/told.jsonl")).unwrap();
    }

    #[test]
    fn a_file_that_no_pod_has_is_refused_and_the_systems_certificates_are_there() {
        let source = |file: &str| {
            document(&format!(
                "sources: {{main: {{prometheus: {{url: 'http://p.m:9090', tls: {{ca_file: {file}}}}}, queries: [{{name: load, promql: node_load1}}]}}}}\n"
            ))
        };
        for file in ["token", "/run/secrets/token", "/etc/lynceus/alert/token"] {
            let error = check(&source(file)).unwrap_err();
            assert!(error.message.contains("no pod has the file"), "{error}");
        }
        for file in ["/etc/lynceus/source/ca.crt", "/etc/ssl/certs/ca-certificates.crt"] {
            check(&source(file)).unwrap();
        }
        assert!(mount(&source("/etc/ssl/certs/ca-certificates.crt"), Stage::Collect).is_none());
    }
}
