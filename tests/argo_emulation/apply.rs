//! Effect of the order in which objects are applied on `CronWorkflows`: Argo ignores one whose
//! template does not exist yet, reports this only in its log, and checks again after 20 minutes.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::text;
use crate::minio::{is_off, tools};
use crate::workspace::pipelines;

/// Returns the `CronWorkflows` that run and those that are ignored, for objects in the order in which
/// they are applied.
fn clocks(objects: &[Value]) -> (Vec<&str>, Vec<&str>) {
    let mut known = BTreeSet::new();
    let (mut running, mut ignored) = (Vec::new(), Vec::new());
    for object in objects {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if object["kind"] == "WorkflowTemplate" {
            known.insert(name);
        }
        if object["kind"] == "CronWorkflow" {
            let named = object["spec"]["workflowSpec"]["workflowTemplateRef"]["name"].as_str();
            let runs = named.is_none_or(|named| known.contains(named));
            if runs { &mut running } else { &mut ignored }.push(name);
        }
    }
    (running, ignored)
}

/// Builds an overlay as `kubectl apply -k` does, with its `sortOptions` or without.
fn kustomize(overlay: &str, is_sorted: bool) -> Result<Vec<Value>> {
    let copy = tempfile::tempdir()?;
    let repository = pipelines().join("..");
    for folder in ["argo", "minio"] {
        let status =
            Command::new("cp").arg("-r").arg(repository.join(folder)).arg(copy.path()).status()?;
        ensure!(status.success(), "cp");
    }
    let credentials = copy.path().join("minio/credentials");
    let made = Command::new(copy.path().join("minio/credentials.sh")).arg(&credentials).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let folder = copy.path().join("argo").join(overlay);
    if !is_sorted {
        let file = folder.join("kustomization.yaml");
        let whole = fs_err::read_to_string(&file)?;
        let unsorted = whole.replacen("sortOptions:\n  order: fifo\n", "", 1);
        ensure!(unsorted != whole, "{overlay} has no sortOptions");
        fs_err::write(&file, unsorted)?;
    }
    let built = Command::new(tools()?.join("kustomize")).arg("build").arg(&folder).output()?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    text::objects(std::iter::once(std::str::from_utf8(&built.stdout)?))
}

#[test]
fn clocks_applied_by_an_overlay_run() -> Result<()> {
    if is_off() {
        return Ok(());
    }
    for overlay in ["dev", "production"] {
        let objects = kustomize(overlay, true)?;
        let (running, ignored) = clocks(&objects);
        assert!(running.contains(&"lynceus-cluster-score"), "{overlay}: {running:?}");
        assert!(running.contains(&"lynceus-cluster-first-training"), "{overlay}: {running:?}");
        assert_eq!(ignored, [""; 0], "{overlay}");
    }
    Ok(())
}

#[test]
fn scoring_clocks_applied_in_any_order_run() -> Result<()> {
    if is_off() {
        return Ok(());
    }
    let objects = kustomize("dev", false)?;
    let (running, ignored) = clocks(&objects);
    assert!(running.contains(&"lynceus-cluster-score"), "it carries its workflow: {running:?}");
    assert!(running.iter().all(|name| name.ends_with("-score")), "{running:?}");
    assert!(
        ignored.contains(&"lynceus-cluster-retrain"),
        "Argo does not find what this order of kinds applies later: {ignored:?}"
    );
    Ok(())
}
