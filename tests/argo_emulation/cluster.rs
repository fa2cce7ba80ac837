//! A cluster of one machine: runs what the manifests' text says, with processes for containers,
//! temporary folders for volumes, and a real bucket for artifacts.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use pipelines::argo::yaml;
use serde_json::Value;

use super::pod::{Pod, Ready};
use super::text::{find, holds, is_retried, list, resolve, text};
use crate::minio::{Server, tools};
use crate::workspace::pipelines;

/// Texts by name.
pub(super) type Texts = BTreeMap<String, String>;

/// A cluster with its bucket and its users, as `minio/apply.sh` leaves them.
pub(super) struct Cluster {
    pub(super) server: Server,
    folder: tempfile::TempDir,
    /// Parameters that stand for names of the cluster: from, to.
    pub(super) names: Vec<(String, String)>,
    /// The step whose first attempt finds no store.
    pub(super) cut_off: Option<&'static str>,
}

/// A pod that ran: its step, and the exit code of each attempt.
pub(super) type Ran = (String, Vec<i32>);

/// A workflow as it runs.
pub(super) struct Workflow<'a> {
    cluster: &'a Cluster,
    objects: &'a [Value],
    spec: &'a Value,
    uid: &'a str,
    parameters: Texts,
    /// Tasks whose condition did not hold.
    pub(super) skipped: Vec<String>,
    pub(super) ran: Vec<Ran>,
}

/// What a template is given: its parameters, and the keys of its artifacts.
#[derive(Default)]
struct Given {
    parameters: Texts,
    keys: Texts,
}

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

    /// Starts a workflow from a template of the manifests, as `argo submit --from` does, and runs it
    /// to its end.
    pub(super) fn submit<'a>(
        &'a self,
        objects: &'a [Value],
        template: &str,
        uid: &'a str,
        parameters: &[(&str, &str)],
    ) -> Result<(Workflow<'a>, bool)> {
        let template = find(objects, "WorkflowTemplate", template)?;
        let mut workflow = Workflow {
            cluster: self,
            objects,
            spec: &template["spec"],
            uid,
            parameters: Texts::new(),
            skipped: Vec::new(),
            ran: Vec::new(),
        };
        for parameter in list(&template["spec"]["arguments"]["parameters"]) {
            let name = text(&parameter["name"])?;
            let given = parameters.iter().find(|(given, _)| *given == name);
            let value = given.map_or_else(|| text(&parameter["value"]), |(_, value)| Ok(value))?;
            workflow.parameters.insert(name.to_owned(), value.to_owned());
        }
        ensure!(
            parameters.iter().all(|(name, _)| workflow.parameters.contains_key(*name)),
            "the template does not have all of {parameters:?}"
        );
        let entrypoint = text(&workflow.spec["entrypoint"])?;
        let given = Given { parameters: workflow.parameters.clone(), keys: Texts::new() };
        let is_well = workflow.run(entrypoint, given)?;
        // What comes last runs however the rest ended; it says itself what it is given.
        if let Some(last) = workflow.spec["onExit"].as_str() {
            ensure!(workflow.run(last, Given::default())?, "what comes last: {:?}", workflow.ran);
        }
        Ok((workflow, is_well))
    }

    fn secret(&self, name: &str) -> Result<Texts> {
        let role = name.strip_prefix("lynceus-").context("a Secret of a role")?;
        let read = |key: &str| -> Result<(String, String)> {
            let path = self.folder.path().join("credentials").join(role).join(key);
            Ok((key.to_owned(), fs::read_to_string(path)?))
        };
        Ok([read("AWS_ACCESS_KEY_ID")?, read("AWS_SECRET_ACCESS_KEY")?].into())
    }

    /// Says whether the bucket has anything under a key.
    fn holds(&self, key: &str) -> Result<bool> {
        let listed = self.server.client(&["ls", "--recursive", &format!("test/lynceus/{key}")])?;
        Ok(!listed.trim_ascii().is_empty())
    }

    /// Resolves the names of the cluster.
    fn at_home(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }
}

impl Workflow<'_> {
    /// Runs a template and says whether it ended well.
    fn run(&mut self, name: &str, mut given: Given) -> Result<bool> {
        let template = list(&self.spec["templates"]).iter().find(|it| it["name"] == name);
        let template = template.with_context(|| format!("no template `{name}`"))?;
        for parameter in list(&template["inputs"]["parameters"]) {
            let name = text(&parameter["name"])?;
            if !given.parameters.contains_key(name) {
                let default = text(&parameter["value"]).with_context(|| format!("`{name}`"))?;
                let default = self.resolve(default, &given)?;
                given.parameters.insert(name.to_owned(), default);
            }
        }
        let given = &given;
        if template["dag"].is_object() {
            return self.dag(&template["dag"], given);
        }
        if template["containerSet"].is_object() {
            return self.container_set(template, given);
        }
        self.container(template, given)
    }

    fn dag(&mut self, dag: &Value, given: &Given) -> Result<bool> {
        let tasks = list(&dag["tasks"]);
        let mut ended: BTreeMap<&str, bool> = BTreeMap::new();
        while ended.len() < tasks.len() {
            let is_ready = |task: &&Value| {
                let waits = list(&task["dependencies"]);
                !ended.contains_key(task["name"].as_str().unwrap_or_default())
                    && waits.iter().all(|it| ended.contains_key(it.as_str().unwrap_or_default()))
            };
            let task = tasks.iter().find(is_ready).context("tasks wait for one another")?;
            let mut needed = list(&task["dependencies"]).iter().filter_map(Value::as_str);
            // A task that was skipped has ended well for those that wait for it.
            let is_well = needed.all(|name| ended[name]) && self.task(tasks, task, given)?;
            ended.insert(text(&task["name"])?, is_well);
        }
        Ok(ended.values().all(|is_well| *is_well))
    }

    /// Runs a task whose turn it is, unless its condition does not hold.
    fn task(&mut self, tasks: &[Value], task: &Value, given: &Given) -> Result<bool> {
        let name = text(&task["name"])?;
        if let Some(condition) = task["when"].as_str()
            && !holds(&self.resolve(condition, given)?)?
        {
            self.skipped.push(name.to_owned());
            return Ok(true);
        }
        let mut own = Given::default();
        for parameter in list(&task["arguments"]["parameters"]) {
            let value = self.resolve(text(&parameter["value"])?, given)?;
            own.parameters.insert(text(&parameter["name"])?.to_owned(), value);
        }
        for artifact in list(&task["arguments"]["artifacts"]) {
            let (producer, key) = self.key_of(tasks, text(&artifact["from"])?)?;
            if self.skipped.contains(&producer) {
                ensure!(artifact["optional"] == true, "`{name}` needs what `{producer}` writes");
                continue;
            }
            own.keys.insert(text(&artifact["name"])?.to_owned(), key);
        }
        self.run(text(&task["template"])?, own)
    }

    /// Returns the task and the key that `{{tasks.TASK.outputs.artifacts.NAME}}` stands for.
    fn key_of(&self, tasks: &[Value], from: &str) -> Result<(String, String)> {
        let from = from.trim_start_matches("{{tasks.").trim_end_matches("}}");
        let (task, artifact) = from.split_once(".outputs.artifacts.").context("no output")?;
        let name = task.to_owned();
        let task = tasks.iter().find(|it| it["name"] == task).context("no task")?;
        let templates = list(&self.spec["templates"]);
        let template = templates.iter().find(|it| it["name"] == task["template"]);
        let outputs = list(&template.context("no template")?["outputs"]["artifacts"]);
        let output = outputs.iter().find(|it| it["name"] == artifact).context("no output")?;
        Ok((name, self.resolve(text(&output["s3"]["key"])?, &Given::default())?))
    }

    /// Runs a pod of one container, again as long as its retry strategy says so.
    fn container(&mut self, template: &Value, given: &Given) -> Result<bool> {
        let (mut codes, retry) = (Vec::new(), &template["retryStrategy"]);
        let container = &template["container"];
        loop {
            let mut pod = self.pod(list(&container["volumeMounts"]))?;
            self.fetch(template, given, &mut pod)?;
            let code = self.process(container, given, &pod, codes.is_empty())?;
            codes.push(code);
            // What a container wrote is kept whatever its end, up to the first file that is absent.
            self.keep(template, given, &pod, code == 0)?;
            let tries_left = retry["limit"].as_u64().unwrap_or(0) >= codes.len() as u64;
            let again = || is_retried(retry["expression"].as_str().unwrap_or(""), code);
            if code == 0 || !tries_left || !again()? {
                break;
            }
        }
        let is_well = codes.last() == Some(&0);
        self.ran.push((text(&template["name"])?.to_owned(), codes));
        Ok(is_well)
    }

    /// Runs a pod whose containers share volumes and wait for one another.
    fn container_set(&mut self, template: &Value, given: &Given) -> Result<bool> {
        let set = &template["containerSet"];
        let containers = list(&set["containers"]);
        let own = containers.iter().flat_map(|container| list(&container["volumeMounts"]));
        let mounts: Vec<Value> = list(&set["volumeMounts"]).iter().chain(own).cloned().collect();
        let pod = self.pod(&mounts)?;
        let mut ended: Vec<&str> = Vec::new();
        while let Some(container) = containers.iter().find(|container| {
            let waits = list(&container["dependencies"]);
            !ended.contains(&container["name"].as_str().unwrap_or_default())
                && waits.iter().all(|it| ended.contains(&it.as_str().unwrap_or_default()))
        }) {
            let name = text(&container["name"])?;
            let code = self.process(container, given, &pod, true)?;
            self.ran.push((name.to_owned(), vec![code]));
            if code != 0 {
                return Ok(false);
            }
            ended.push(name);
        }
        ensure!(ended.len() == containers.len(), "containers wait for one another");
        Ok(true)
    }

    /// Makes a pod's volumes.
    fn pod(&self, mounts: &[Value]) -> Result<Pod> {
        let folder = tempfile::tempdir()?;
        let mut places: Vec<(String, PathBuf)> = Vec::new();
        for mount in mounts {
            let (name, path) = (text(&mount["name"])?, text(&mount["mountPath"])?.to_owned());
            let volume = list(&self.spec["volumes"]).iter().find(|it| it["name"] == name);
            let volume = volume.with_context(|| format!("no volume `{name}`"))?;
            let place = folder.path().join("volumes").join(name);
            fs::create_dir_all(&place)?;
            if let Some(map) = volume["configMap"]["name"].as_str() {
                let map = find(self.objects, "ConfigMap", map)?;
                for (file, content) in map["data"].as_object().into_iter().flatten() {
                    fs::write(place.join(file), self.cluster.at_home(text(content)?))?;
                }
            } else if volume["emptyDir"].is_object() {
                fs::set_permissions(&place, Permissions::from_mode(0o777))?;
            } else {
                ensure!(volume["secret"]["optional"] == true, "no Secret for `{name}`");
            }
            if !places.iter().any(|(known, _)| *known == path) {
                places.push((path, place));
            }
        }
        Ok(Pod { folder, places })
    }

    /// Lays a pod's input artifacts where its template says.
    fn fetch(&self, template: &Value, given: &Given, pod: &mut Pod) -> Result<()> {
        for artifact in list(&template["inputs"]["artifacts"]) {
            let (name, path) = (text(&artifact["name"])?, text(&artifact["path"])?.to_owned());
            let is_optional = artifact["optional"] == true;
            let key = match (given.keys.get(name), artifact["s3"]["key"].as_str()) {
                (Some(key), _) => key.clone(),
                (None, Some(key)) => self.resolve(key, given)?,
                (None, None) if is_optional => continue,
                (None, None) => bail!("`{name}` is not given"),
            };
            if is_optional && !self.cluster.holds(&key)? {
                continue;
            }
            let place = pod.folder.path().join("artifacts").join(path.trim_start_matches('/'));
            self.transfer(&format!("store/lynceus/{key}"), &place.display().to_string(), &key)?;
            pod.places.push((path, place));
        }
        Ok(())
    }

    /// Puts a pod's output artifacts under the keys that its template says.
    fn keep(&self, template: &Value, given: &Given, pod: &Pod, is_well: bool) -> Result<()> {
        for artifact in list(&template["outputs"]["artifacts"]) {
            ensure!(artifact["archive"]["none"].is_object(), "only whole files are emulated");
            let place = pod.place(text(&artifact["path"])?);
            if !Path::new(&place).exists() {
                ensure!(!is_well, "the output `{place}` is absent");
                break;
            }
            let key = self.resolve(text(&artifact["s3"]["key"])?, given)?;
            self.transfer(&place, &format!("store/lynceus/{key}"), &key)?;
        }
        Ok(())
    }

    /// Copies a file, or a folder where the key ends with `/`, with the keys of the artifact
    /// repository.
    fn transfer(&self, from: &str, to: &str, key: &str) -> Result<()> {
        let repository = find(self.objects, "ConfigMap", "lynceus-artifacts")?;
        let repository: Value = yaml::read(text(&repository["data"]["repository"])?)?;
        let keys = self.cluster.secret(text(&repository["s3"]["accessKeySecret"]["name"])?)?;
        ensure!(
            repository["s3"]["bucket"] == "lynceus" && repository["s3"]["endpoint"] == "minio:9000"
        );
        let sign_in =
            format!("://{}:{}@", keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]);
        let mut client = Command::new(tools()?.join("mc"));
        client.args(["--quiet", "cp"]).env("HOME", self.cluster.folder.path());
        client.env("MC_HOST_store", self.cluster.server.endpoint.replacen("://", &sign_in, 1));
        if key.ends_with('/') {
            let folder = |place: &str| format!("{}/", place.trim_end_matches('/'));
            client.args(["--recursive", &folder(from), &folder(to)]);
        } else {
            client.args([from, to]);
        }
        let done = client.output()?;
        ensure!(done.status.success(), "{from} -> {to}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// Runs a container and returns its exit code.
    fn process(&self, container: &Value, given: &Given, pod: &Pod, is_first: bool) -> Result<i32> {
        let mut environment: Texts = [("AWS_EC2_METADATA_DISABLED".into(), "true".into())].into();
        for from in list(&container["envFrom"]) {
            if let Some(name) = from["configMapRef"]["name"].as_str() {
                let map = find(self.objects, "ConfigMap", name)?;
                for (key, value) in map["data"].as_object().into_iter().flatten() {
                    environment.insert(key.clone(), self.cluster.at_home(text(value)?));
                }
            }
            if let Some(name) = from["secretRef"]["name"].as_str() {
                environment.extend(self.cluster.secret(name)?);
            }
        }
        let step = text(&container["command"][0])?.trim_start_matches('/');
        if is_first && self.cluster.cut_off == Some(step) {
            let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            environment.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://{closed}"));
        }
        let arguments = list(&container["args"]).iter();
        let arguments = arguments.map(|argument| self.resolve(text(argument)?, given));
        pod.run(&Ready {
            container,
            security: &self.spec["securityContext"],
            image: self.resolve(text(&container["image"])?, given)?,
            arguments: arguments.collect::<Result<_>>()?,
            environment,
        })
    }

    fn resolve(&self, text: &str, given: &Given) -> Result<String> {
        resolve(text, &|name| {
            if let Some(name) = name.strip_prefix("workflow.parameters.") {
                return self.parameters.get(name).cloned();
            }
            match name {
                "workflow.uid" => Some(self.uid.to_owned()),
                "workflow.creationTimestamp.RFC3339" => Some("2026-11-21T09:00:00Z".to_owned()),
                _ => given.parameters.get(name.strip_prefix("inputs.parameters.")?).cloned(),
            }
        })
    }
}
