//! How many places does an extension touch? Counts, for the existing extensions, every line of code
//! outside their own files that names them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::Context as _;

/// The folders of programs and libraries.
const CODE: [&str; 4] = ["crates", "steps", "services", "pipelines"];

/// A line of code that names an extension.
#[derive(Debug, PartialEq)]
struct Mention {
    file: String,
    line: String,
}

/// Every line of code: no comments and no tests.
static LINES: LazyLock<Vec<Mention>> =
    LazyLock::new(|| code().expect("the code of this repository can be read"));

fn code() -> anyhow::Result<Vec<Mention>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
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
                let file = format!("{folder}/{file}");
                found.push(Mention { file, line: line.to_owned() });
            }
        }
    }
    Ok(found)
}

/// Returns a line without its text in quotes, which is what people read.
fn unquoted(line: &str) -> String {
    line.split('"').step_by(2).collect()
}

/// Returns whether a line contains a text as a whole name.
fn has_name(line: &str, text: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let is_whole = |at: usize| {
        let after = line[at + text.len()..].chars().next();
        let ends = !text.ends_with(is_name) || !after.is_some_and(is_name);
        ends && !line[..at].ends_with(is_name)
    };
    line.match_indices(text).any(|(at, _)| is_whole(at))
}

/// Returns whether a line names one of the words, not counting text in quotes.
fn names(line: &str, words: &[&str]) -> bool {
    let line = unquoted(line);
    words.iter().any(|word| has_name(&line, word))
}

/// Returns the lines that name a word in snake case or in camel case.
fn mentions(word: &str) -> Vec<&'static Mention> {
    let camel = camel(word);
    LINES.iter().filter(|mention| names(&mention.line, &[word, &camel])).collect()
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

/// Uses of one extension by other code, which a new extension does not need: its name, and files
/// that begin with a path.
const USES: [(&str, &str); 7] = [
    // Sources that are read in the same way use the code of this one.
    ("prometheus", "steps/collect/src/sources/"),
    ("recording", "steps/collect/src/sources/queries.rs"),
    // `init` examines a Prometheus and writes a document for it.
    ("prometheus", "steps/collect/src/look.rs"),
    ("prometheus", "pipelines/src/cli/init"),
    // `predict` reads a table, and the labels of tables are read for `evaluate`.
    ("table", "pipelines/src/cli/predict/input.rs"),
    ("table", "steps/collect/src/tables.rs"),
    // Scenarios ask the API server of the cluster.
    ("kubernetes", "pipelines/src/cli/scenario/api.rs"),
];

/// Makes the list of the names in one of the tables of `document`.
macro_rules! list {
    ($($(#[$doc:meta])* $name:ident: $kind:ident($settings:ty),)*) => {
        [$(stringify!($name)),*]
    };
}

/// Checks that, outside its own files, each extension of a table is named by two lines: the line in
/// the table and the module in the step.
///
/// In the files of these lines every use of the name counts, elsewhere the type of the settings, the
/// variant in `kinds` and the module.
fn check(extensions: &[&str], section: &str, step: &str, [kinds, ending]: [&str; 2]) {
    assert!(extensions.len() > 1, "{section} holds extensions");
    let folders = [format!("crates/document/src/{section}"), format!("steps/{step}/src/{section}")];
    let registries = [format!("{}.rs", folders[0]), format!("{}/mod.rs", folders[1])];
    for name in extensions {
        let camel = camel(name);
        for folder in &folders {
            check_files(name, &[format!("{folder}/{name}.rs")]);
        }
        let is_own = |file: &str| {
            let rest = folders.iter().find_map(|folder| file.strip_prefix(folder.as_str()));
            let rest = rest.and_then(|rest| rest.strip_prefix('/')?.strip_prefix(name));
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        let is_use = |file: &str| {
            USES.iter().any(|(used, by)| used == name && file.starts_with(by))
                && !registries.iter().any(|registry| registry == file)
        };
        let full = [
            format!("{camel}{ending}"),
            format!("{kinds}::{camel}"),
            format!("{section}::{name}"),
            format!("super::{name}"),
        ];
        let is_named = |Mention { file, line }: &Mention| {
            names(line, &full.each_ref().map(String::as_str))
                || (registries.contains(file) && names(line, &[name, &camel]))
        };
        let is_counted = |it: &&Mention| !is_own(&it.file) && !is_use(&it.file) && is_named(it);
        let found: Vec<&Mention> = LINES.iter().filter(is_counted).collect();
        let files: Vec<&String> = found.iter().map(|it| &it.file).collect();
        assert_eq!(files, registries.iter().collect::<Vec<_>>(), "{name}: {found:#?}");
    }
}

#[test]
fn channel_touches_its_files_and_two_lines() {
    check(&document::channels!(list), "channels", "alert", ["Channel"; 2]);
}

#[test]
fn sink_touches_its_files_and_two_lines() {
    check(&document::sinks!(list), "sinks", "export", ["Sink"; 2]);
}

#[test]
fn source_touches_its_files_and_two_lines() {
    check(&document::sources!(list), "sources", "collect", ["Kind", "Source"]);
}

/// Returns the lines that contain a text as a whole name.
fn lines(text: &str) -> Vec<&'static Mention> {
    LINES.iter().filter(|mention| has_name(&mention.line, text)).collect()
}

/// Checks an extension in its tables: each has one line that begins with its text, and lines with
/// `variant` are only in the tables and in `elsewhere`.
fn check_tables(name: &str, tables: &[(&str, String)], variant: &str, elsewhere: &[&str]) {
    for (file, text) in tables {
        let found = lines(text);
        let in_table = found.iter().filter(|it| it.file == *file && it.line.starts_with(text));
        assert_eq!(in_table.count(), 1, "{name}: `{text}` in {file}");
    }
    for Mention { file, line } in lines(variant) {
        let is_known = tables.iter().any(|(table, _)| *table == file)
            || elsewhere.iter().any(|known| file.starts_with(known));
        assert!(is_known, "{name} is named elsewhere: {file}: {line}");
    }
}

/// Checks that one of these files exists.
fn check_files(name: &str, files: &[String]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let is_there = |file: &String| root.join(file).exists();
    assert!(files.iter().any(is_there), "{name} has none of {files:?}");
}

fn camel(name: &str) -> String {
    name.split('_').map(capitalised).collect()
}

/// Files that use the code of a kind of detector, or a word that is also its name, for something
/// else.
const OTHER_USES: [&str; 6] = [
    // `task: classify` and the second stage use some kinds as class models.
    "crates/detectors/src/diagnosis/",
    "crates/document/src/classify.rs",
    "crates/models/src/classify/mod.rs",
    "steps/train/src/classify/fitter.rs",
    // The Mahalanobis distance is a part of `adaptive`.
    "crates/detectors/src/adaptive/",
    // `z_score` is also a scaling.
    "crates/detectors/src/scaler.rs",
];

#[test]
fn detector_touches_its_folder_and_two_lines() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for kind in contract::DetectorKind::ALL {
        let (name, camel) = (kind.name(), camel(kind.name()));
        let folder = format!("crates/detectors/src/{name}/");
        for file in ["mod.rs", "settings.rs", "fit.rs"] {
            let path = root.join(&folder).join(file);
            fs_err::metadata(path).with_context(|| format!("{name} has {file}"))?;
        }
        let is_registration = |Mention { file, line }: &Mention| match file.as_str() {
            "crates/contract/src/detector.rs" => line.starts_with(&format!("{name}: {camel}(")),
            "crates/detectors/src/lib.rs" => *line == format!("pub mod {name};"),
            _ => false,
        };
        let is_other = |Mention { file, line }: &Mention| {
            let is_scaling = line.contains("Scaling::ZScore") || line == "ZScore,";
            let is_variable = line.contains("let z_score") || line.contains("(z_score)");
            let is_import = line.starts_with("use ") || line.starts_with("pub use ");
            is_scaling
                || is_variable
                || is_import
                || OTHER_USES.iter().any(|known| file.starts_with(known))
        };
        let found = mentions(name).into_iter().filter(|it| !it.file.starts_with(&folder));
        let (lines, rest): (Vec<&Mention>, Vec<&Mention>) =
            found.partition(|it| is_registration(it));
        assert_eq!(lines.len(), 2, "{name}: a line in the table and its module: {lines:#?}");
        let elsewhere: Vec<&Mention> = rest.into_iter().filter(|it| !is_other(it)).collect();
        assert_eq!(elsewhere, [] as [&Mention; 0], "{name} is named elsewhere");
    }
    Ok(())
}

#[test]
fn only_the_step_train_compiles_fitting() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for folder in CODE {
        for file in contract::artifact::files_below(&root.join(folder))? {
            if !file.ends_with("Cargo.toml") {
                continue;
            }
            let text = fs_err::read_to_string(root.join(folder).join(&file))?;
            // The packages of `[dependencies]` that enable the feature, or candle or linfa themselves.
            let text = text.split("[dev-dependencies]").next().unwrap_or_default();
            let fits = |line: &str| {
                (line.starts_with("detectors") && line.contains("fit"))
                    || ((line.starts_with("candle") || line.starts_with("linfa"))
                        && !line.contains("optional = true"))
            };
            if text.lines().any(fits) {
                found.push(format!("{folder}/{file}"));
            }
        }
    }
    assert_eq!(found, ["steps/train/Cargo.toml"]);
    Ok(())
}

/// Returns the lines of every `Cargo.toml`.
fn manifests() -> anyhow::Result<Vec<Mention>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec!["Cargo.toml".to_owned()];
    for folder in CODE {
        let below = contract::artifact::files_below(&root.join(folder))?;
        let manifests = below.iter().filter(|file| file.ends_with("Cargo.toml"));
        files.extend(manifests.map(|file| format!("{folder}/{file}")));
    }
    let mut found = Vec::new();
    for file in files {
        let text = fs_err::read_to_string(root.join(&file))?;
        found
            .extend(text.lines().map(|line| Mention { file: file.clone(), line: line.to_owned() }));
    }
    Ok(found)
}

/// A file that names every step is a table of the steps: a new step needs a line there.
#[test]
fn step_touches_its_crate_its_flags_and_four_lines_in_three_tables() -> anyhow::Result<()> {
    const TABLES: [&str; 3] =
        ["crates/contract/src/steps.rs", "crates/document/src/sections.rs", "pipelines/Cargo.toml"];
    let manifests = manifests()?;
    let members = |it: &Mention| it.file == "Cargo.toml" && it.line.trim() == "\"steps/*\",";
    assert!(manifests.iter().any(members), "the workspace takes every crate of steps/");
    let mut tables: Option<BTreeSet<&str>> = None;
    let mut counts = Vec::new();
    for stage in contract::Stage::ALL {
        let (name, camel) = (stage.name(), camel(stage.name()));
        check_files(name, &[format!("steps/{name}/src/main.rs")]);
        check_files(name, &[format!("crates/contract/src/steps/{name}.rs")]);
        let flags = format!("{camel}Args");
        let words = [name, &camel, &flags];
        let named = LINES.iter().chain(&manifests).filter(|it| names(&it.line, &words));
        let named: Vec<&Mention> = named.collect();
        let files: BTreeSet<&str> = named.iter().map(|it| it.file.as_str()).collect();
        tables = Some(tables.map_or_else(|| files.clone(), |tables| &tables & &files));
        let in_tables = named.iter().filter(|it| TABLES.contains(&it.file.as_str()));
        counts.push(in_tables.count());
        let registrations = [
            (TABLES[0], format!("{name}: {camel}({flags}),")),
            (TABLES[0], format!("mod {name};")),
            (TABLES[1], format!("{camel} {{")),
            (TABLES[2], format!("{name}.path = \"../steps/{name}\"")),
        ];
        for (file, text) in registrations {
            // The marks of a block of sections.
            let plain = |line: &str| line.replace("(columns)", "").replace(" by task", "");
            let is_meant = |it: &&&Mention| it.file == file && plain(&it.line) == text;
            let count = named.iter().filter(is_meant).count();
            assert_eq!(count, 1, "{name}: `{text}` in {file}");
        }
    }
    assert_eq!(tables, Some(BTreeSet::from(TABLES)), "files that name every step");
    // Code that uses one step adds lines for that step; a second list adds lines for all.
    assert_eq!(counts.iter().min(), Some(&4), "lines that name a step in {TABLES:?}");
    Ok(())
}

#[test]
fn feature_rule_and_fault_touch_the_files_that_contributing_names() -> anyhow::Result<()> {
    for rule in ["Raw", "Rolling", "Difference", "Rate", "Ratio", "Peers", "Calendar"] {
        let places =
            ["crates/document/src/features.rs", "crates/document/src/check/", "steps/feature/src/"];
        check_tables(rule, &[], &format!("FeatureRule::{rule}("), &places);
        assert!(!lines(&format!("FeatureRule::{rule}(")).is_empty(), "{rule}");
    }
    let faults = modules("crates/scenario/src/faults")?;
    assert!(faults.len() > 1, "{faults:?}");
    for fault in faults {
        check_tables(
            &fault,
            &[("crates/scenario/src/faults.rs", format!("mod {fault};"))],
            &format!("faults::{fault}"),
            &[],
        );
    }
    Ok(())
}

#[test]
fn report_reads_what_other_steps_write_as_the_types_that_they_write() {
    let found = lines("Deserialize");
    let of_report: Vec<&Mention> =
        found.iter().copied().filter(|it| it.file.starts_with("steps/report/")).collect();
    assert_eq!(of_report, [] as [&Mention; 0], "the type belongs in crates/contract");
    assert!(found.iter().any(|it| it.file == "crates/contract/src/run.rs"), "the search works");
}
