//! Parts of a workflow's pods: volumes, artifacts, environment.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use argo::yaml;
use fs_err as fs;
use serde_json::Value;

use super::cluster::Texts;
use super::pod::{Ended, Pod, Ready};
use super::text::{find, list, text};
use super::workflow::{Given, Workflow};
use crate::kubernetes;
use crate::minio::tools;

impl Workflow<'_> {
    /// Returns the volumes of a pod as Argo puts them together: those of the workflow that the
    /// template's container mounts, or a container set's own `volumeMounts` name, and those that
    /// patches add.
    fn volumes(&self, template: &Value) -> Result<Vec<Value>> {
        let mounts = match template["containerSet"].as_object() {
            Some(set) => set.get("volumeMounts").map_or(&[][..], list),
            None => list(&template["container"]["volumeMounts"]),
        };
        let mut volumes: Vec<Value> = Vec::new();
        for mount in mounts {
            let mut known = list(&self.spec["volumes"]).iter();
            let volume = known.find(|it| it["name"] == mount["name"]);
            volumes.push(volume.with_context(|| format!("no volume for {mount}"))?.clone());
        }
        for patch in [&self.spec["podSpecPatch"], &template["podSpecPatch"]] {
            let Some(patch) = patch.as_str() else { continue };
            let patch: Value = yaml::read(patch)?;
            volumes.extend(list(&patch["volumes"]).iter().cloned());
        }
        Ok(volumes)
    }

    /// Makes a pod's volumes. The API server refuses a pod with a mount of a volume that it does not
    /// have.
    pub(super) fn pod(&self, template: &Value, containers: &[&Value]) -> Result<Pod> {
        // The controller's default repository archives logs with a Secret of its own namespace.
        ensure!(
            self.spec["artifactRepositoryRef"].is_object(),
            "the pod never starts: secret \"argo-default-repository\" not found"
        );
        let folder = tempfile::tempdir()?;
        let volumes = self.volumes(template)?;
        let refused = kubernetes::refusals(&kubernetes::argo_pod(self.spec, template, &volumes))?;
        ensure!(refused.is_empty(), "the pod is refused: {}", refused.join("; "));
        let shared = list(&template["containerSet"]["volumeMounts"]);
        let own = containers.iter().flat_map(|container| list(&container["volumeMounts"]));
        let mut places: Vec<(String, PathBuf)> = Vec::new();
        for mount in shared.iter().chain(own) {
            let (name, path) = (text(&mount["name"])?, text(&mount["mountPath"])?.to_owned());
            let volume = volumes.iter().find(|it| it["name"] == name);
            let volume = volume.with_context(|| {
                format!("the pod is refused: volumeMounts[].name: Not found: \"{name}\"")
            })?;
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

    /// Places a pod's input artifacts at the paths of its template.
    pub(super) fn fetch(&self, template: &Value, given: &Given, pod: &mut Pod) -> Result<()> {
        for artifact in list(&template["inputs"]["artifacts"]) {
            let (name, path) = (text(&artifact["name"])?, text(&artifact["path"])?.to_owned());
            let is_optional = artifact["optional"] == true;
            let key = match (given.keys.get(name), artifact["s3"]["key"].as_str()) {
                (Some(key), _) => Some(key.clone()),
                (None, Some(key)) => Some(self.resolve(key, given)?),
                (None, None) if is_optional => None,
                (None, None) => bail!("`{name}` is not given"),
            };
            // An artifact on a volume is visible to every container.
            let on_volume = pod.place(&path);
            let is_on_volume = on_volume != path;
            let place = if is_on_volume {
                PathBuf::from(on_volume)
            } else {
                pod.folder.path().join("artifacts").join(path.trim_start_matches('/'))
            };
            match key {
                Some(key) if !is_optional || self.cluster.holds(&key)? => {
                    let from = format!("store/lynceus/{key}");
                    self.transfer(&from, &place.display().to_string(), &key)?;
                }
                _ if is_on_volume => {}
                // For an absent artifact Argo makes an empty folder, even if it is a file.
                _ => fs::create_dir_all(&place)?,
            }
            if !is_on_volume {
                pod.places.push((path, place));
            }
        }
        Ok(())
    }

    /// Uploads a pod's output artifacts to the keys of its template.
    pub(super) fn keep(
        &self,
        template: &Value,
        given: &Given,
        pod: &Pod,
        is_well: bool,
    ) -> Result<()> {
        for artifact in list(&template["outputs"]["artifacts"]) {
            ensure!(artifact["archive"]["none"].is_object(), "only whole files are emulated");
            let place = pod.place(text(&artifact["path"])?);
            if !Path::new(&place).exists() {
                ensure!(!is_well, "the output `{place}` is absent");
                continue;
            }
            let key = self.resolve(text(&artifact["s3"]["key"])?, given)?;
            self.transfer(&place, &format!("store/lynceus/{key}"), &key)?;
        }
        if self.spec["archiveLogs"] == true {
            self.archive_logs(template, pod)?;
        }
        Ok(())
    }

    /// Uploads the logs of a pod's containers to the artifact repository, one file for each.
    fn archive_logs(&self, template: &Value, pod: &Pod) -> Result<()> {
        let format = self.repository()?["s3"]["keyFormat"].clone();
        let number = self.pods.len();
        let name = format!("{}-{}-{number}", self.name(), text(&template["name"])?);
        let folder = text(&format)?.replace("{{workflow.name}}", &self.name());
        let folder = folder.replace("{{pod.name}}", &name);
        for file in fs::read_dir(pod.logs())? {
            let file = file?;
            let key = format!("{folder}/{}", file.file_name().display());
            let place = file.path().display().to_string();
            self.transfer(&place, &format!("store/lynceus/{key}"), &key)?;
        }
        Ok(())
    }

    fn repository(&self) -> Result<Value> {
        let repository = find(self.objects, "ConfigMap", "lynceus-artifacts")?;
        Ok(yaml::read(text(&repository["data"]["repository"])?)?)
    }

    /// Copies a file, or a folder where the key ends with `/`, with the keys of the artifact
    /// repository.
    fn transfer(&self, from: &str, to: &str, key: &str) -> Result<()> {
        let repository = self.repository()?;
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

    /// Runs a container and returns how it ended.
    pub(super) fn process(
        &self,
        container: &Value,
        given: &Given,
        pod: &Pod,
        is_first: bool,
    ) -> Result<Ended> {
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
}
