//! A cluster of one machine: its bucket, its users and its names.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use serde_json::Value;

use super::text::{find, list, text};
use super::workflow::Workflow;
use crate::minio::{Server, tools};
use crate::workspace::pipelines;

/// Texts by name.
pub(super) type Texts = BTreeMap<String, String>;

/// A cluster with its bucket and its users, as `minio/apply.sh` leaves them.
pub(super) struct Cluster {
    pub(super) server: Server,
    pub(super) folder: tempfile::TempDir,
    /// Replacements of names of the cluster: from, to.
    pub(super) names: Vec<(String, String)>,
    /// The step whose first attempt cannot reach the store.
    pub(super) cut_off: Option<&'static str>,
}

/// A pod that ran: its step, and the exit code of each attempt.
pub(super) type Ran = (String, Vec<i32>);

impl Cluster {
    pub(super) fn start() -> Result<Self> {
        let (server, folder) = (Server::start(None)?, tempfile::tempdir()?);
        let minio = pipelines().join("../minio");
        let credentials = folder.path().join("credentials");
        for (name, value) in
            [("MINIO_ROOT_USER", crate::minio::KEY), ("MINIO_ROOT_PASSWORD", crate::minio::SECRET)]
        {
            contract::artifact::write_file(&credentials.join("root").join(name), value.as_bytes())?;
        }
        let mut apply = Command::new(minio.join("apply.sh"));
        apply.env("ENDPOINT", &server.endpoint).env("CREDENTIALS", &credentials);
        apply.env("MC", tools()?.join("mc")).env("HOME", folder.path());
        for command in [Command::new(minio.join("credentials.sh")).arg(&credentials), &mut apply] {
            let done = command.output()?;
            ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let names = vec![("http://minio:9000".to_owned(), server.endpoint.clone())];
        Ok(Self { server, folder, names, cut_off: None })
    }

    /// Starts a workflow from a template or a `CronWorkflow` of the manifests, as `argo submit
    /// --from` does, and runs it to its end.
    pub(super) fn submit<'a>(
        &'a self,
        objects: &'a [Value],
        from: &str,
        uid: &'a str,
        parameters: &[(&str, &str)],
    ) -> Result<(Workflow<'a>, bool)> {
        let template = find(objects, "WorkflowTemplate", from).map(|template| &template["spec"]);
        let spec = match template {
            Ok(spec) => spec,
            Err(_) => &find(objects, "CronWorkflow", from)?["spec"]["workflowSpec"],
        };
        let mut workflow = Workflow::new(self, objects, spec, uid);
        for parameter in list(&workflow.spec["arguments"]["parameters"]) {
            let name = text(&parameter["name"])?;
            let given = parameters.iter().find(|(given, _)| *given == name);
            let value = given.map_or_else(|| text(&parameter["value"]), |(_, value)| Ok(value))?;
            workflow.parameters.insert(name.to_owned(), value.to_owned());
        }
        ensure!(
            parameters.iter().all(|(name, _)| workflow.parameters.contains_key(*name)),
            "the template does not have all of {parameters:?}"
        );
        let is_well = workflow.start()?;
        Ok((workflow, is_well))
    }

    /// Runs `lynceus` in a folder with the cluster's bucket as its store, as a user does.
    pub(super) fn lynceus(&self, folder: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lynceus"));
        command.current_dir(folder).args(arguments).envs(self.server.environment());
        command.args(["--store", "s3://lynceus", "--pipelines"]).arg(pipelines());
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    pub(super) fn secret(&self, name: &str) -> Result<Texts> {
        let role = name.strip_prefix("lynceus-").context("a Secret of a role")?;
        let read = |key: &str| -> Result<(String, String)> {
            let path = self.folder.path().join("credentials").join(role).join(key);
            Ok((key.to_owned(), fs::read_to_string(path)?))
        };
        Ok([read("AWS_ACCESS_KEY_ID")?, read("AWS_SECRET_ACCESS_KEY")?].into())
    }

    /// Returns whether the bucket has an object below a key.
    pub(super) fn holds(&self, key: &str) -> Result<bool> {
        let listed = self.server.client(&["ls", "--recursive", &format!("test/lynceus/{key}")])?;
        Ok(!listed.trim_ascii().is_empty())
    }

    /// Replaces the names of the cluster by local ones.
    pub(super) fn at_home(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }
}
