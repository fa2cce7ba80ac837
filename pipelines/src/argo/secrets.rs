//! Where a document's secrets are in a cluster: a Secret for the source, one for the server that
//! takes metrics, one for the alert channels. Each appears as a folder in the pods of the one step
//! that reads it.

use std::path::{Path, PathBuf};

use contract::{Stage, StepError};
use document::Document;
use document::alerts::{Channel, Secret};

use super::pod::{SecretVolume, Volume, VolumeMount};
use super::step::{self, WORK};

/// Certificates that every image holds.
const SYSTEM: &str = "/etc/ssl/certs";

/// A Secret and who reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The volume, and the end of the Secret's name.
    pub(super) name: &'static str,
    /// The folder in which its keys appear as files.
    folder: &'static str,
    /// The step that reads it.
    pub(super) stage: Stage,
    /// Whether pods start without it: neither metrics nor messages may hold a scoring up.
    is_optional: bool,
    /// The document's field, for messages.
    field: &'static str,
}

const PARTS: [Part; 3] = [
    Part {
        name: "source",
        folder: "/etc/lynceus/source",
        stage: Stage::Collect,
        is_optional: false,
        field: "sources",
    },
    Part {
        name: "metrics",
        folder: "/etc/lynceus/metrics",
        stage: Stage::Score,
        is_optional: true,
        field: "scoring.metrics",
    },
    Part {
        name: "alert",
        folder: "/etc/lynceus/alert",
        stage: Stage::Alert,
        is_optional: true,
        field: "alerts.channels",
    },
];

impl Part {
    /// Returns the files that the document names for the step.
    fn files(&self, document: &Document) -> Vec<PathBuf> {
        let files = document.files();
        match self.stage {
            Stage::Collect => files.source,
            Stage::Score => files.metrics,
            _ => files.alerts,
        }
    }

    fn is_mounted(&self, document: &Document) -> bool {
        self.files(document).iter().any(|file| file.starts_with(self.folder))
    }

    /// Returns the Secret's name.
    pub(super) fn secret(&self, document: &Document) -> String {
        self.secret_of(&document.name)
    }

    fn secret_of(&self, pipeline: &str) -> String {
        format!("lynceus-{pipeline}-{}", self.name)
    }
}

/// Returns the names of the Secrets that a pipeline may have.
pub(super) fn names(pipeline: &str) -> Vec<String> {
    PARTS.iter().map(|part| part.secret_of(pipeline)).collect()
}

/// Returns the part that a step reads, if the document names files in it.
fn mounted(document: &Document, stage: Stage) -> Option<Part> {
    PARTS.into_iter().find(|part| part.stage == stage && part.is_mounted(document))
}

/// Returns the mount of the Secret that a step reads.
pub(super) fn mount(document: &Document, stage: Stage) -> Option<VolumeMount> {
    mounted(document, stage).map(|part| step::mount(part.name, part.folder, true))
}

/// Returns the volumes of the Secrets that steps read.
pub(super) fn volumes(document: &Document, stages: &[Stage]) -> Vec<Volume> {
    let parts = stages.iter().filter_map(|stage| mounted(document, *stage));
    let volume = |part: Part| Volume {
        name: part.name.to_owned(),
        secret: Some(SecretVolume {
            secret_name: part.secret(document),
            optional: part.is_optional.then_some(true),
        }),
        ..Volume::default()
    };
    parts.map(volume).collect()
}

/// Returns the Secret whose keys a step gets as environment: that of channels which name variables.
pub(super) fn environment(document: &Document, stage: Stage) -> Option<String> {
    let part = PARTS.into_iter().find(|part| part.stage == stage && stage == Stage::Alert)?;
    (!variables(document).is_empty()).then(|| part.secret(document))
}

/// Returns the environment variables that alert channels take their secrets from.
pub(super) fn variables(document: &Document) -> Vec<&str> {
    let secrets = document.alerts.channels.iter().filter_map(|channel| match channel {
        Channel::Telegram(telegram) => Some(&telegram.token),
        Channel::Slack(slack) => Some(&slack.webhook),
        Channel::Webhook(webhook) => webhook.signing_key.as_ref(),
        Channel::Email(email) => email.password.as_ref(),
        Channel::Stdout(_) | Channel::File(_) | Channel::Alertmanager(_) => None,
    });
    let names = secrets.filter_map(|secret| match secret {
        Secret::Env(name) => Some(name.as_str()),
        Secret::File(_) => None,
    });
    names.collect()
}

/// Returns the files that a step reads or writes because the document names them, apart from those
/// that are in every image.
pub(super) fn files(document: &Document, stage: Stage) -> Vec<PathBuf> {
    let part = PARTS.into_iter().find(|part| part.stage == stage);
    let files = part.map(|part| part.files(document)).unwrap_or_default();
    files.into_iter().filter(|file| !file.starts_with(SYSTEM)).collect()
}

/// Returns the files that steps write because the document names them.
fn written(document: &Document) -> Vec<&Path> {
    let channels = document.alerts.channels.iter().filter_map(|channel| match channel {
        Channel::File(channel) => Some(channel.path.as_path()),
        _ => None,
    });
    channels.chain(document.scoring.metrics.textfile.as_deref()).collect()
}

/// Refuses a document that names a file which no pod has, or can write.
pub(super) fn check(document: &Document) -> Result<(), StepError> {
    let written = written(document);
    for part in PARTS {
        for file in files(document, part.stage) {
            let is_written = written.contains(&file.as_path());
            if file.starts_with(WORK) || (!is_written && file.starts_with(part.folder)) {
                continue;
            }
            let (field, file, folder) = (part.field, file.display(), part.folder);
            let secret = part.secret(document);
            return Err(if is_written {
                StepError::usage(format!("`{field}`: no pod can write the file `{file}`"))
                    .hint(format!("name it below `{WORK}`, which lasts as long as the pod"))
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
             vote: {{combine: votes, limit: {{quantile: {{share: 0.99}}}}}}\n{fields}"
        );
        document::parse("x.yaml", &text).unwrap()
    }

    #[test]
    fn each_step_sees_the_secret_that_it_reads_and_no_other() {
        let document = document(
            "sources: {main: {prometheus: {url: 'http://p.monitoring:9090', bearer_token_file: /etc/lynceus/source/token}, queries: [{name: load, promql: node_load1}]}}\n\
             scoring: {metrics: {remote_write: {url: 'http://m.monitoring:9090/api/v1/write', \
             basic_auth: {username: u, password_file: /etc/lynceus/metrics/password}}}}\n\
             alerts: {channels: [{email: {host: mail.example.com, from: a@b, to: [c@d], username: u, \
             password: {file: /etc/lynceus/alert/password}}}, {slack: {webhook: {env: SLACK}}}]}\n",
        );
        check(&document).unwrap();
        let mount = |stage| mount(&document, stage).map(|mount| mount.mount_path);
        assert_eq!(mount(Stage::Collect).as_deref(), Some("/etc/lynceus/source"));
        assert_eq!(mount(Stage::Score).as_deref(), Some("/etc/lynceus/metrics"));
        assert_eq!(mount(Stage::Alert).as_deref(), Some("/etc/lynceus/alert"));
        assert_eq!(mount(Stage::Feature), None);
        let volumes = volumes(&document, &[Stage::Collect, Stage::Score, Stage::Alert]);
        let secrets = volumes.into_iter().filter_map(|volume| volume.secret);
        let secrets: Vec<_> = secrets.map(|it| (it.secret_name, it.optional)).collect();
        let expected = [("source", None), ("metrics", Some(true)), ("alert", Some(true))];
        assert_eq!(secrets, expected.map(|(name, is)| (format!("lynceus-x-{name}"), is)));
        assert_eq!(environment(&document, Stage::Alert).as_deref(), Some("lynceus-x-alert"));
        assert_eq!(environment(&document, Stage::Score), None);
        assert_eq!(variables(&document), ["SLACK"]);
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
                "sources: {{main: {{prometheus: {{url: 'http://p.m:9090', ca_file: {file}}}, queries: [{{name: load, promql: node_load1}}]}}}}\n"
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
