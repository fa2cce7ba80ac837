//! Does every link of the documentation resolve, and is every page of the book listed?

mod errors;
mod source;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the Markdown files of the repository, without those of build folders and hidden ones.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            pages(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(())
}

/// Returns the targets of links and pictures, outside of code.
fn targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code || line.starts_with("    ") {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else { break };
            targets.push(target.to_owned());
            rest = after;
        }
    }
    targets
}

/// Returns the anchor of a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_of_every_page_leads_to_a_file_and_a_heading() -> Result<()> {
    let mut all = Vec::new();
    pages(&repository(), &mut all)?;
    ensure!(all.len() > 10, "only {} pages", all.len());
    for page in all {
        let text = fs_err::read_to_string(&page)?;
        for target in targets(&text).iter().filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let folder = page.parent().context("a page is in a folder")?;
            let file = if file.is_empty() { page.clone() } else { folder.join(file) };
            ensure!(file.exists(), "{}: `{target}` does not exist", page.display());
            if !heading.is_empty() {
                let linked = fs_err::read_to_string(&file)?;
                let mut headings = linked.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|line| anchor(line) == heading);
                ensure!(found, "{}: `{target}` has no such heading", page.display());
            }
        }
    }
    Ok(())
}

#[test]
fn every_page_of_the_book_is_in_its_summary() -> Result<()> {
    let folder = repository().join("docs/src");
    let summary = fs_err::read_to_string(folder.join("SUMMARY.md"))?;
    let listed = targets(&summary);
    for entry in fs_err::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(name == "SUMMARY.md" || listed.contains(&name), "SUMMARY.md does not list {name}");
    }
    Ok(())
}
