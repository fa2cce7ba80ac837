//! Does the page show a new user at first sight what was monitored, what was wrong, and how good
//! the models are? Checks the sample's pages in a real browser and with a validator.

#[path = "support/browser.rs"]
mod browser;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::workspace::Workspace;

/// Share of a picture that may differ from the reviewed one, because numbers such as seconds and
/// memory vary.
const OTHER: f64 = 0.02;

/// Runs the sample twice, the second time with another parameter, and keeps the folder.
fn sample() -> Result<&'static Workspace> {
    static SAMPLE: OnceLock<Workspace> = OnceLock::new();
    if let Some(workspace) = SAMPLE.get() {
        return Ok(workspace);
    }
    let workspace = Workspace::new()?;
    workspace.run(&["run", "cluster", "--sample"])?;
    workspace.run(&["run", "cluster", "--sample", "--set", "models.adaptive.ridge=0.4"])?;
    let compare = workspace.path().join("compare.html").display().to_string();
    let [first, last] = runs(&workspace)?;
    workspace.run(&["compare", "cluster", &first, &last, "--html", &compare])?;
    // If another test was faster, this test's folder is removed.
    Ok(SAMPLE.get_or_init(|| workspace))
}

fn runs(workspace: &Workspace) -> Result<[String; 2]> {
    let runs = workspace.json(&["runs", "list", "cluster"])?;
    let name = |index: usize| runs[index]["run"].as_str().map(str::to_owned);
    Ok([name(0).context("a first run")?, name(1).context("a second run")?])
}

fn page(workspace: &Workspace, run: &str, file: &str) -> PathBuf {
    workspace.store().join("runs/cluster").join(run).join(file)
}

/// Returns the pages: of the first run, of one with a run before it, and of both side by side.
fn pages() -> Result<[PathBuf; 3]> {
    let workspace = sample()?;
    let [first, last] = runs(workspace)?;
    let of = |run: &str| page(workspace, run, "report.html");
    Ok([of(&first), of(&last), workspace.path().join("compare.html")])
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn updating() -> bool {
    std::env::var_os("LYNCEUS_UPDATE").is_some()
}

#[test]
fn every_page_fits_every_screen_and_can_be_read_by_anyone() -> Result<()> {
    if !browser::wanted() {
        return Ok(());
    }
    for page in pages()? {
        let text = fs_err::read_to_string(&page)?;
        ensure!(text.len() < 1_000_000, "{}: {} bytes", page.display(), text.len());
        browser::check(&text).with_context(|| page.display().to_string())?;
    }
    Ok(())
}

#[test]
fn pages_match_reviewed_pictures() -> Result<()> {
    if !browser::wanted() {
        return Ok(());
    }
    let [page, _, compare] = pages()?;
    let made = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let golden = repository().join("tests/golden/pages");
    for (name, page, width, height, dark) in [
        ("report-360", &page, 360, 1500, false),
        ("report-800", &page, 800, 1500, false),
        ("report-1400", &page, 1400, 1500, false),
        ("report-1400-dark", &page, 1400, 1500, true),
        ("compare-1400", &compare, 1400, 1500, false),
    ] {
        let picture = made.join(format!("{name}.png"));
        browser::picture(page, width, height, dark, &picture)?;
        let reference = golden.join(format!("{name}.png"));
        if updating() {
            fs_err::create_dir_all(&golden)?;
            fs_err::copy(&picture, &reference)?;
        }
        let other = browser::difference(&reference.canonicalize()?, &picture)?;
        ensure!(
            other <= OTHER,
            "{:.1} % of {} looks otherwise than {}: look at it, and take it with LYNCEUS_UPDATE=1",
            other * 100.0,
            picture.display(),
            reference.display()
        );
    }
    let (light, dark) = (golden.join("report-1400.png"), golden.join("report-1400-dark.png"));
    let other = browser::difference(&light.canonicalize()?, &dark.canonicalize()?)?;
    ensure!(other > 0.5, "a dark page differs from a light one: {other}");
    Ok(())
}

#[test]
fn a_validator_finds_nothing_wrong_with_any_page() -> Result<()> {
    if !browser::wanted() {
        return Ok(());
    }
    let found = Command::new(repository().join("tests/support/html_validate.sh")).output()?;
    ensure!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let program = String::from_utf8(found.stdout)?;
    let folder = tempfile::tempdir()?;
    fs_err::write(
        folder.path().join(".htmlvalidate.json"),
        r#"{"root": true, "extends": ["html-validate:standard", "html-validate:a11y"]}"#,
    )?;
    let validate = |file: &Path| {
        let mut command = Command::new(program.trim());
        command.current_dir(folder.path()).arg(file).output().context("the validator starts")
    };
    for (number, page) in pages()?.iter().enumerate() {
        let copy = folder.path().join(format!("{number}.html"));
        fs_err::copy(page, &copy)?;
        let output = validate(&copy)?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{}: {said}", page.display());
        let broken = fs_err::read_to_string(&copy)?.replacen("<main", "<main><p><div></p><main", 1);
        fs_err::write(&copy, broken)?;
        ensure!(!validate(&copy)?.status.success(), "it finds what is broken");
    }
    Ok(())
}

#[test]
fn readme_picture_matches_its_first_command() -> Result<()> {
    let workspace = sample()?;
    let [first, _] = runs(workspace)?;
    let drawn = fs_err::read_to_string(page(workspace, &first, "report.svg"))?;
    let kept = repository().join("pipelines/samples/cluster.svg");
    if updating() {
        fs_err::write(&kept, &drawn)?;
    }
    ensure!(
        fs_err::read_to_string(&kept)? == drawn,
        "`LYNCEUS_UPDATE=1 cargo test -p pipelines` takes the new picture"
    );
    let readme = fs_err::read_to_string(repository().join("README.md"))?;
    ensure!(readme.contains("(pipelines/samples/cluster.svg)"), "the README shows it");
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = fs_err::read_to_string(page(workspace, &first, "report.html"))?;
    for (said, found) in [
        (
            "All eight faults are found, half of them within 9 seconds",
            "found 8 of 8 labelled faults, half of them within 9 s of their start",
        ),
        ("no alarm starts outside a fault", "raised no alarm outside of a fault"),
    ] {
        ensure!(readme.contains(said) && text.contains(found), "{said}: {found}");
    }
    Ok(())
}

#[test]
fn comparison_lists_differences_and_their_significance() -> Result<()> {
    let workspace = sample()?;
    let [first, last] = runs(workspace)?;
    let compared = workspace.json(&["compare", "cluster", &first, &last])?;
    let documents = &compared["documents"];
    ensure!(documents[0]["what"] == "models.adaptive.ridge", "{documents}");
    ensure!(documents.as_array().map(Vec::len) == Some(1), "{documents}");
    ensure!(compared["faults"].as_array().map(Vec::len) == Some(8), "{compared}");
    let ranked = &compared["later"][0];
    ensure!(ranked["figure"] == "average_precision", "{ranked}");
    for run in ["a", "b"] {
        let of = |bound: &str| ranked[run][bound].as_f64().context("a bound");
        ensure!(of("low")? <= of("value")? && of("value")? <= of("high")?, "{ranked}");
    }
    ensure!(ranked["b_meaning"].is_string(), "{ranked}");
    let text = workspace.run(&["compare", "cluster", &first, "last"])?;
    ensure!(
        text.starts_with("The documents differ in one field: models.adaptive.ridge."),
        "{text}"
    );
    let three = workspace.json(&["compare", "cluster", &first, &last, &first])?;
    ensure!(three["later"][0]["c_meaning"] == "the same", "{}", three["later"]);
    ensure!(three["later"][0]["b_meaning"] == ranked["b_meaning"], "{}", three["later"]);
    let summary = three["summary"].as_str().context("a summary")?;
    ensure!(summary.contains("A finds 8, B 8 and C 8 of 8 labelled faults"), "{summary}");
    ensure!(summary.contains("C is no different"), "{summary}");
    for took in ["seconds", "memory"] {
        let cached = &compared[took][0];
        ensure!(cached["task"] == "collect" && cached["b"].is_number(), "{cached}");
    }
    let output = workspace.output(&["compare", "cluster", &first])?;
    ensure!(output.status.code() == Some(2), "one run alone");
    Ok(())
}

#[test]
fn cached_task_is_reported_like_an_executed_one() -> Result<()> {
    let workspace = sample()?;
    let [_, last] = runs(workspace)?;
    let text = fs_err::read_to_string(page(workspace, &last, "report.html"))?;
    ensure!(text.contains("from the cache"), "the second run took from the first");
    ensure!(!text.contains("not there"), "its lineage is whole");
    let tasks: Vec<Value> =
        contract::read_json(&page(workspace, &last, "report.tables/tasks.json"))?;
    for task in &tasks {
        let known = ["seconds", "peak_memory_bytes"].map(|took| task[took].is_number());
        ensure!(known == [true, true], "{task}");
    }
    Ok(())
}

#[test]
fn comparison_counts_each_window_once_across_ticks() -> Result<()> {
    let sample = repository().join("pipelines/samples/cluster.yaml").display().to_string();
    let compared = |ticks: &[&str]| -> Result<Value> {
        let workspace = Workspace::new()?;
        for ridge in ["models.adaptive.ridge=0.3", "models.adaptive.ridge=0.4"] {
            let train = ["run", "cluster", "--overlay", &sample, "--now", "2026-11-21T08:36:00Z"];
            workspace.run(&[&train[..], &["--set", ridge]].concat())?;
        }
        for at in ticks {
            let since = ["--since", "2026-11-21T08:36:00Z"];
            let tick = ["score", "cluster", "--sample", "--at", at];
            workspace.run(&[&tick[..], &since].concat())?;
        }
        Ok(workspace.json(&["compare", "cluster", "previous", "last"])?["later"].clone())
    };
    let once = compared(&["2026-11-21T09:22:00Z"])?;
    // Ticks read some rows again that the ones before have scored, here before and in faults.
    let often = ["08:40:05", "08:45:20", "08:52:40", "09:01:05", "09:10:30", "09:22:00"]
        .map(|time| format!("2026-11-21T{time}Z"));
    let often = compared(&often.each_ref().map(String::as_str))?;
    ensure!(once.as_array().is_some_and(|figures| !figures.is_empty()), "{once}");
    ensure!(once == often, "{once}\n{often}");
    Ok(())
}

#[test]
fn caught_up_windows_are_called_late() -> Result<()> {
    let workspace = sample()?;
    let [first, _] = runs(workspace)?;
    let late: Vec<Value> =
        contract::read_json(&page(workspace, &first, "report.tables/late.json"))?;
    ensure!(late.len() == 1, "one tick scored all: {late:?}");
    ensure!(late[0]["at"] == "2026-11-21T09:22:00Z", "{late:?}");
    ensure!(late[0]["windows"].as_u64() > Some(500), "{late:?}");
    Ok(())
}
