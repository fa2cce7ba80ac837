//! Is each window scored exactly once, for any sequence of ticks?

use anyhow::Context as _;

use crate::workspace::{Workspace, differences};

const AT: [&str; 4] = [
    "2026-11-21T08:40:00Z",
    "2026-11-21T08:41:00Z",
    "2026-11-21T08:41:05Z",
    "2026-11-21T08:44:00Z",
];

/// Trains on the sample without scoring it.
fn trained() -> anyhow::Result<Workspace> {
    let workspace = Workspace::new()?;
    let mut arguments = vec!["run", "cluster", "--now", "2026-11-21T08:36:00Z"];
    let overlay =
        crate::workspace::pipelines().join("samples/cluster.yaml").to_string_lossy().into_owned();
    arguments.extend(["--overlay", &overlay]);
    workspace.run(&arguments)?;
    Ok(workspace)
}

fn tick(workspace: &Workspace, at: &str) -> anyhow::Result<serde_json::Value> {
    workspace.json(&["score", "cluster", "--sample", "--at", at, "--since", "2026-11-21T08:36:00Z"])
}

/// Returns the hashes of scores and states, without those of late ticks, which depend on how
/// windows were divided into ticks.
fn outcomes(workspace: &Workspace) -> anyhow::Result<std::collections::BTreeMap<String, String>> {
    let promised = workspace.promised()?;
    Ok(promised
        .into_iter()
        .filter(|(name, _)| name.starts_with("scores/") || name.starts_with("state/"))
        .filter(|(name, _)| !name.ends_with("/late.json"))
        .collect())
}

#[test]
fn one_catch_up_and_many_ticks_give_the_same_bytes() -> anyhow::Result<()> {
    let (once, often) = (trained()?, trained()?);
    let scored = tick(&once, AT[3])?;
    assert_eq!(scored["windows"], 96, "08:36:05 to 08:44:00 in steps of 5 s");
    for at in AT {
        tick(&often, at)?;
    }
    let (once, often) = (outcomes(&once)?, outcomes(&often)?);
    assert_eq!(once.keys().filter(|name| name.starts_with("scores/")).count(), 96);
    let score_differences: Vec<String> = differences(&once, &often)
        .into_iter()
        .filter(|name| !name.ends_with("alerts.json"))
        .collect();
    assert_eq!(score_differences, [""; 0]);
    Ok(())
}

#[test]
fn repeated_tick_scores_and_sends_nothing() -> anyhow::Result<()> {
    let workspace = trained()?;
    tick(&workspace, AT[3])?;
    let before = outcomes(&workspace)?;
    let again = tick(&workspace, AT[3])?;
    assert_eq!(again["windows"], 0);
    let late = tick(&workspace, AT[0])?;
    assert_eq!(late["windows"], 0, "a tick that comes late finds its windows scored");
    assert_eq!(differences(&before, &outcomes(&workspace)?), [""; 0]);
    Ok(())
}

#[test]
fn a_tick_that_lost_its_watermark_move_scores_no_window_twice() -> anyhow::Result<()> {
    let workspace = trained()?;
    tick(&workspace, AT[0])?;
    let watermark = workspace.store().join("state/cluster/watermark.safetensors");
    let before_move = fs_err::read(&watermark)?;
    tick(&workspace, AT[3])?;
    let expected = outcomes(&workspace)?;
    // The state after a kill between the score objects and the watermark.
    fs_err::write(&watermark, before_move)?;
    tick(&workspace, AT[3])?;
    assert_eq!(differences(&expected, &outcomes(&workspace)?), [""; 0]);
    Ok(())
}

#[test]
fn tick_without_live_model_succeeds_with_a_hint() -> anyhow::Result<()> {
    let workspace = Workspace::new()?;
    let output = workspace.output(&["score", "cluster", "--sample", "--at", AT[0]])?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("no model of `cluster` is `live` yet"), "{said}");
    assert!(said.contains("lynceus run cluster"), "{said}");
    Ok(())
}

#[test]
fn a_model_that_was_tampered_with_is_refused_by_name() -> anyhow::Result<()> {
    let workspace = trained()?;
    let promised = workspace.promised()?;
    let model = promised
        .keys()
        .find(|name| name.starts_with("models/") && name.ends_with(".safetensors"))
        .context("a model")?;
    let path = workspace.store().join(model);
    let mut bytes = fs_err::read(&path)?;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs_err::remove_file(&path)?;
    fs_err::write(&path, bytes)?;
    let output = workspace.output(&["score", "cluster", "--sample", "--at", AT[0]])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(model.rsplit('/').next().unwrap_or_default()), "{said}");
    Ok(())
}
