//! A pod: its folders, and its containers as processes or, where images were built, as containers.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use serde_json::Value;

use super::cluster::Texts;
use super::text::{list, text};

/// A pod's folders: the local path of each path of its containers.
pub(super) struct Pod {
    pub(super) folder: tempfile::TempDir,
    pub(super) places: Vec<(String, PathBuf)>,
}

/// A container with everything resolved.
pub(super) struct Ready<'a> {
    /// As in the manifest.
    pub(super) container: &'a Value,
    /// The pod's `securityContext`.
    pub(super) security: &'a Value,
    pub(super) image: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Texts,
}

/// How a container ended.
pub(super) struct Ended {
    pub(super) code: i32,
    /// Content of its termination log.
    said: String,
}

impl Ended {
    /// Returns Argo's message for a failed container; empty for a successful one.
    pub(super) fn message(&self, container: &str) -> String {
        match (self.code, self.said.as_str()) {
            (0, _) => String::new(),
            (code, "") => format!("{container}: Error (exit code {code})"),
            (code, said) => format!("{container}: Error (exit code {code}): {said}"),
        }
    }
}

/// File from which Kubernetes reads why a container failed.
const TERMINATION_LOG: &str = "/dev/termination-log";

impl Pod {
    /// Returns the local path of a path of the pod; other texts are not changed.
    pub(super) fn place(&self, path: &str) -> String {
        let below = |(mount, place): &(String, PathBuf)| {
            let below = Path::new(path).strip_prefix(mount).ok()?;
            let place =
                if below.as_os_str().is_empty() { place.clone() } else { place.join(below) };
            Some(place.display().to_string())
        };
        self.places.iter().find_map(below).unwrap_or_else(|| path.to_owned())
    }

    /// Returns the local file of a container's termination log.
    fn termination_log(&self) -> PathBuf {
        self.folder.path().join("termination-log")
    }

    /// Returns the folder of its containers' logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// Runs a container and returns how it ended.
    pub(super) fn run(&self, ready: &Ready<'_>) -> Result<Ended> {
        let [command] = list(&ready.container["command"]) else { bail!("needs one command") };
        let step = text(command)?.trim_start_matches('/');
        ensure!(
            ready.image == format!("localhost/lynceus/{step}:{}", contract::VERSION),
            "{}",
            ready.image
        );
        fs::write(self.termination_log(), "")?;
        fs::set_permissions(self.termination_log(), Permissions::from_mode(0o666))?;
        let from_images = std::env::var_os("LYNCEUS_TEST_IMAGES").is_some();
        let mut process =
            if from_images { self.image(step, ready)? } else { self.program(step, ready) };
        let done = process.output()?;
        let code = done.status.code().with_context(|| format!("`{step}` was killed"))?;
        ensure!(!(125..128).contains(&code), "{}", String::from_utf8_lossy(&done.stderr));
        fs::create_dir_all(self.logs())?;
        let name = ready.container["name"].as_str().unwrap_or("main");
        fs::write(self.logs().join(format!("{name}.log")), [done.stdout, done.stderr].concat())?;
        Ok(Ended { code, said: fs::read_to_string(self.termination_log())? })
    }

    /// Runs the step with `lynceus`, which has the same code as the program of its image.
    fn program(&self, step: &str, ready: &Ready<'_>) -> Command {
        let mut process = Command::new(env!("CARGO_BIN_EXE_lynceus"));
        process.args(["step", step]).current_dir(self.folder.path()).envs(&ready.environment);
        let log = self.termination_log().display().to_string();
        let place = |argument: &String| match argument.as_str() {
            TERMINATION_LOG => log.clone(),
            // A source is named before its path.
            other => match other.split_once("=/") {
                Some((name, path)) => format!("{name}={}", self.place(&format!("/{path}"))),
                None => self.place(other),
            },
        };
        process.args(ready.arguments.iter().map(place));
        process
    }

    /// Runs the step from its image, with the permissions and the memory of the manifest. Only
    /// steps that connect to the store or a source have a network.
    fn image(&self, step: &str, ready: &Ready<'_>) -> Result<Command> {
        let rights = &ready.container["securityContext"];
        ensure!(rights["readOnlyRootFilesystem"] == true, "{rights}");
        ensure!(rights["allowPrivilegeEscalation"] == false, "{rights}");
        ensure!(rights["capabilities"]["drop"] == serde_json::json!(["ALL"]), "{rights}");
        let user = ready.security["runAsUser"].as_i64().context("runAsUser")?;
        let group = ready.security["fsGroup"].as_i64().context("fsGroup")?;
        let memory = text(&ready.container["resources"]["limits"]["memory"])?;
        let talks = step == "collect" || !list(&ready.container["envFrom"]).is_empty();
        let mut process = Command::new("podman");
        // Within a container no limit can be raised, and crun requires cgroups that do not exist.
        process.args([
            "--runtime",
            "runc",
            "run",
            "--rm",
            "--read-only",
            "--read-only-tmpfs=false",
        ]);
        process.args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"]);
        process.args(["--cap-drop=all", "--security-opt=no-new-privileges"]);
        process.arg(format!("--user={user}:{group}"));
        process.arg(format!("--memory={}", memory.trim_end_matches('i')));
        process.arg(if talks { "--network=host" } else { "--network=none" });
        process.arg(format!("--entrypoint={}", text(&ready.container["command"][0])?));
        for (path, place) in &self.places {
            let writable = place.ends_with("volumes/work");
            let mode = if writable { "rw" } else { "ro" };
            process.arg(format!("--volume={}:{path}:{mode}", place.display()));
        }
        let log = self.termination_log();
        process.arg(format!("--volume={}:{TERMINATION_LOG}:rw", log.display()));
        // Values are passed in the process's environment, because all users can see arguments.
        for name in ready.environment.keys() {
            process.arg(format!("--env={name}"));
        }
        process.envs(&ready.environment).arg(&ready.image).args(&ready.arguments);
        Ok(process)
    }
}
