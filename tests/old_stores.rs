//! Stores that earlier versions wrote, one for each format: everything can be read, and scoring
//! resumes where it stopped.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::workspace::Workspace;

/// Returns the stores of `tests/stores`, each in a folder with its document and its table.
fn stores() -> anyhow::Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/stores");
    let mut stores = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            stores.push(path);
        }
    }
    stores.sort();
    ensure!(!stores.is_empty(), "there is no store");
    Ok(stores)
}

/// Returns a copy that a test may write to.
fn copy(from: &Path) -> anyhow::Result<Workspace> {
    let workspace = Workspace::new()?;
    for file in contract::artifact::files_below(from)? {
        let to = workspace.path().join(&file);
        fs_err::create_dir_all(to.parent().context("a folder")?)?;
        fs_err::copy(from.join(&file), to)?;
    }
    Ok(workspace)
}

fn list<'a>(value: &'a Value, what: &str) -> anyhow::Result<&'a Vec<Value>> {
    value.as_array().with_context(|| format!("{what}: {value}"))
}

#[test]
fn store_of_each_format_is_read() -> anyhow::Result<()> {
    for store in stores()? {
        let workspace = copy(&store)?;
        let name = store.display();
        let before = contract::artifact::sha256_path(&workspace.store())?;

        let models = workspace.json(&["models", "list", "hosts"])?;
        assert_eq!(list(&models, "models")?.len(), 1, "{name}");
        let model = workspace.json(&["models", "show", "hosts", "live"])?;
        assert_eq!(model["members"][0]["kind"], "adaptive", "{name}");
        let history = workspace.json(&["models", "history", "hosts"])?;
        assert_eq!(list(&history, "history")?.len(), 1, "{name}");

        let runs = workspace.json(&["runs", "list", "hosts"])?;
        assert_eq!(list(&runs, "runs")?.len(), 1, "{name}");
        assert_eq!(runs[0]["tags"]["purpose"], "fixture", "{name}: {runs}");
        assert_eq!(runs[0]["metrics"]["test.rows"], 120.0, "{name}: {runs}");
        let run = workspace.json(&["runs", "show", "hosts", "last"])?;
        assert_eq!((&run["status"], &run["note"]), (&"done".into(), &"a store of its time".into()));
        workspace.run(&["explain", "hosts", "last", "select"])?;

        let status = ["status", "hosts.yaml", "--now", "2026-11-21T05:11:00Z"];
        let said = workspace.run(&status)?;
        ensure!(said.contains("h1") && said.contains("05:10"), "{name}: {said}");
        let range = ["--from", "2026-11-21T05:00:00Z", "--to", "2026-11-21T05:10:00Z"];
        let scores = workspace.json(&[&["scores", "hosts.yaml"][..], &range].concat())?;
        let scores = list(&scores, "scores")?;
        let alarmed = |host: usize| {
            scores.iter().filter(|it| it["entities"][host]["verdict"] == "anomalous").count()
        };
        assert_eq!((scores.len(), alarmed(0), alarmed(1)), (10, 0, 6), "{name}: {scores:?}");
        let above = scores.iter().filter(|it| {
            let member = &it["entities"][1]["members"][0];
            member["decision"].as_f64() > member["threshold"].as_f64()
        });
        assert_eq!(above.count(), 6, "{name}");
        let messages = workspace.json(&[&["messages", "hosts"][..], &range].concat())?;
        assert_eq!(list(&messages, "messages")?.len(), 1, "{name}");
        assert_eq!(messages[0]["message"]["alerts"][0]["entity"], "h1", "{name}");

        let after = contract::artifact::sha256_path(&workspace.store())?;
        assert_eq!(before, after, "{name}: reading writes nothing");
        let page = ["report", "hosts.yaml", "--report", "page.html", "--last", "10m"];
        workspace.run(&[&page[..], &["--to", "2026-11-21T05:10:00Z"]].concat())?;
        let page = fs_err::read_to_string(workspace.path().join("page.html"))?;
        ensure!(page.contains("h1"), "{name}");
    }
    Ok(())
}

#[test]
fn scoring_resumes_from_the_watermark_of_each_format() -> anyhow::Result<()> {
    for store in stores()? {
        let workspace = copy(&store)?;
        let name = store.display();
        let scored = ["score", "hosts.yaml", "--at", "2026-11-21T05:20:00Z"];
        let scored = workspace.json(&scored)?;
        assert_eq!(scored["windows"], 10, "{name}: {scored}");
        let range = ["--from", "2026-11-21T05:10:00Z", "--to", "2026-11-21T05:20:00Z"];
        let scores = workspace.json(&[&["scores", "hosts.yaml"][..], &range].concat())?;
        let scores = list(&scores, "scores")?;
        assert_eq!(scores[0]["time"], "2026-11-21T05:11:00Z", "{name}");
        // The fault lasts until 05:14, and the detector continues from its state in the store.
        let verdicts = scores.iter().map(|it| it["entities"][1]["verdict"] == "anomalous");
        let expected: Vec<bool> = (11..=20).map(|minute| minute <= 16).collect();
        assert_eq!(verdicts.collect::<Vec<_>>(), expected, "{name}: {scores:?}");
        // The alarm was open: it ends, and does not start again.
        let messages = workspace.json(&[&["messages", "hosts"][..], &range].concat())?;
        let alerts: Vec<&Value> = list(&messages, "messages")?
            .iter()
            .flat_map(|it| it["message"]["alerts"].as_array().into_iter().flatten())
            .filter(|alert| alert["kind"] == "anomaly")
            .collect();
        let [ended] = alerts.as_slice() else { anyhow::bail!("{name}: {messages}") };
        assert_eq!((&ended["entity"], &ended["status"]), (&"h1".into(), &"resolved".into()));
        assert_eq!(ended["since"], "2026-11-21T05:05:00Z", "{name}");
        // A new training can run beside the old one.
        workspace.run(&["run", "hosts.yaml", "--now", "2026-11-21T05:20:00Z"])?;
        workspace.run(&["compare", "hosts", "previous", "last"])?;
    }
    Ok(())
}
