//! How many places does an extension touch? Those that are there are counted: every line of code
//! outside their own files that names them.

use std::path::Path;

use anyhow::Context as _;

/// The folders of programs and libraries.
const CODE: [&str; 3] = ["crates", "steps", "pipelines"];

/// A line of code that names an extension.
#[derive(Debug, PartialEq)]
struct Mention {
    file: String,
    line: String,
}

/// Returns the lines of code that name a word in snake case or in camel case: no comments, no tests,
/// and no text in quotes, which is what people read.
fn mentions(word: &str) -> anyhow::Result<Vec<Mention>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let camel: String = word.split('_').map(capitalised).collect();
    let mut found = Vec::new();
    for folder in CODE {
        for file in contract::artifact::files_below(&root.join(folder))? {
            let is_code = Path::new(&file).extension().is_some_and(|ending| ending == "rs");
            if !is_code || !file.contains("src/") || file.ends_with("tests.rs") {
                continue;
            }
            let text = fs_err::read_to_string(root.join(folder).join(&file))?;
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
                let unquoted: String = line.split('"').step_by(2).collect();
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let mut names = unquoted.split(|c| !is_name(c));
                if names.any(|name| name == word || name == camel) {
                    let file = format!("{folder}/{file}");
                    found.push(Mention { file, line: line.to_owned() });
                }
            }
        }
    }
    Ok(found)
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Returns the names of the modules of a folder.
fn modules(folder: &str) -> anyhow::Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = Vec::new();
    for entry in fs_err::read_dir(root.join(folder))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Holds each extension of a folder of settings against its two files and its two registries.
///
/// A registration is a module and a variant with the settings, or an arm with the code.
fn check(settings: &str, code: &str) -> anyhow::Result<()> {
    let names = modules(settings)?;
    anyhow::ensure!(names.len() > 1, "{settings} holds extensions");
    for name in names {
        let own = [format!("{settings}/{name}.rs"), format!("{code}/{name}.rs")];
        let registries = [format!("{settings}.rs"), format!("{code}/mod.rs")];
        let mentions = mentions(&name)?;
        for file in &own {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            fs_err::metadata(root.join(file)).with_context(|| format!("{name} has {file}"))?;
        }
        for registry in &registries {
            // The default of a registry is not a registration.
            let is_registration = |line: &str| !line.starts_with("Self::");
            let lines = mentions
                .iter()
                .filter(|it| it.file == *registry && is_registration(&it.line))
                .count();
            assert!((1..=2).contains(&lines), "{name}: {lines} lines in {registry}: {mentions:#?}");
        }
        // Words of the language, too; `postgres` and `kubernetes` are sources as well.
        let words = ["file", "stdout", "email", "webhook", "slack", "postgres", "kubernetes"];
        let is_word = words.contains(&name.as_str());
        let camel: String = name.split('_').map(capitalised).collect();
        let variants = ["Sink", "Channel"].map(|section| format!("{section}::{camel}("));
        let elsewhere = mentions.iter().filter(|mention| {
            let is_meant = || variants.iter().any(|variant| mention.line.contains(variant));
            let is_elsewhere = !own.contains(&mention.file) && !registries.contains(&mention.file);
            is_elsewhere && (!is_word || is_meant())
        });
        let elsewhere: Vec<&Mention> = elsewhere.collect();
        let elsewhere: Vec<String> =
            elsewhere.iter().map(|it| format!("{}: {}", it.file, it.line)).collect();
        assert_eq!(elsewhere, [""; 0], "{name} is named elsewhere");
    }
    Ok(())
}

#[test]
fn channel_touches_its_two_files_and_two_lines_in_each_registry() -> anyhow::Result<()> {
    check("crates/document/src/channels", "steps/alert/src/channels")
}

#[test]
fn sink_touches_its_two_files_and_two_lines_in_each_registry() -> anyhow::Result<()> {
    check("crates/document/src/sinks", "steps/export/src/sinks")
}
