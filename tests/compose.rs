//! Would the compose file start what it should: are its commands, documents and files valid?

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::workspace::Workspace;

fn folder() -> PathBuf {
    crate::workspace::pipelines().join("../compose")
}

fn compose() -> anyhow::Result<Value> {
    let text = fs_err::read_to_string(folder().join("compose.yaml"))?;
    // Merge keys are YAML 1.1; the merged fields are checked separately.
    Ok(serde_saphyr::from_str(&text.replace("    <<: *lynceus\n", ""))?)
}

fn words(value: &Value) -> Vec<String> {
    let words = value.as_array().into_iter().flatten();
    words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

#[test]
fn commands_of_the_program_parse() -> anyhow::Result<()> {
    let compose = compose()?;
    for service in ["train", "watch"] {
        let command = words(&compose["services"][service]["command"]);
        ensure!(command.len() >= 2, "{service}: {command:?}");
        let line = std::iter::once("lynceus".to_owned()).chain(command.clone());
        let parsed = pipelines::cli::parse(line.map(Into::into));
        assert!(parsed.is_ok(), "{command:?}: {}", parsed.err().context("an error")?);
        let document = folder().join(format!("pipelines/{}.yaml", command[1]));
        assert!(document.is_file(), "{}", document.display());
    }
    Ok(())
}

#[test]
fn files_that_are_mounted_are_there_and_volumes_are_declared() -> anyhow::Result<()> {
    let compose = compose()?;
    let services = compose["services"].as_object().context("services")?;
    let shared = words(&compose["x-lynceus"]["volumes"]);
    let own = services.values().flat_map(|service| words(&service["volumes"]));
    let mut mounts = 0;
    for mount in shared.into_iter().chain(own) {
        let source = mount.split(':').next().unwrap_or_default();
        match source.strip_prefix("./") {
            Some(path) => assert!(folder().join(path).exists(), "{mount}"),
            None if source.starts_with('/') => {}
            None => assert!(!compose["volumes"][source].is_null(), "{mount}"),
        }
        mounts += 1;
    }
    assert!(mounts >= 8, "{mounts}");
    let file = compose["x-lynceus"]["build"]["dockerfile"].as_str().context("a file")?;
    assert!(folder().join("..").join(file).is_file(), "{file}");
    for (name, service) in services {
        let images = service["image"].as_str().unwrap_or("localhost/lynceus");
        let is_pinned = images.rsplit_once(':').is_some_and(|(_, tag)| tag != "latest");
        assert!(is_pinned || images == "localhost/lynceus", "{name}: {images}");
        for port in words(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to the network");
        }
    }
    Ok(())
}

#[test]
fn document_and_settings_are_taken_by_the_programs_that_read_them() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let document = folder().join("pipelines/node.yaml");
    let said = workspace.run(&["lint", document.to_str().context("a path of text")?])?;
    assert!(said.contains("nothing wrong"), "{said}");
    let settings = folder().join("prometheus.yml");
    let checked = Command::new("promtool").args(["check", "config"]).arg(&settings).output()?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let dashboard: Value =
        serde_json::from_slice(&fs_err::read(folder().join("grafana/dashboards/node.json"))?)?;
    let source = dashboard["panels"][0]["datasource"]["uid"].as_str().context("a source")?;
    let provisioned =
        fs_err::read_to_string(folder().join("grafana/provisioning/datasources/prometheus.yaml"))?;
    assert!(provisioned.contains(&format!("uid: {source}")), "{provisioned}");
    let metrics = fs_err::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../steps/export/src/metrics.rs"),
    )?;
    for panel in dashboard["panels"].as_array().context("panels")? {
        let query = panel["targets"][0]["expr"].as_str().context("a query")?;
        let name = query.split('{').next().unwrap_or_default();
        assert!(metrics.contains(&format!("\"{name}\"")), "{name} is not a series of ours");
    }
    Ok(())
}
