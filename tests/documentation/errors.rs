//! The page of all errors: every message and hint of the product's source, by the component that
//! reports it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::repository;
use super::source::{calls, inside, parts, sentences, value_of};

const INTRODUCTION: &str = "\
# Errors

Every error message of Lynceus, by the part that prints it, with what to do. `{name}` stands for a value, and
`{what}`, `{why}` or `{error}` for the cause in words. Search this page for the words of a
message without its values. The page is generated from the source code.

An error has the form `error: MESSAGE`, then `hint: WHAT TO DO` where the message alone does not say it. The exit code says who has to act:

| exit code | who has to act |
|---|---|
| 1 | us: it is a bug in Lynceus. Report it with the message; such messages are not listed here |
| 2 | you: correct the command line, the document or a setting that it names. The same command fails again until then |
| 3 | you: the data was refused. Correct the data, or what the document expects of it |
| 4 | the operator of the outside service that the message names. The step is retried; you may run the command again |
| 5 | no one: another process was faster. The step is retried |

Where the last column is in italics, Lynceus prints no hint: the message itself names the setting and the values that it accepts. Messages about the
document begin with its file, line and field.
";

/// Calls that make an error, and its exit code.
const MAKERS: [(&str, u8); 8] = [
    ("StepError::usage", 2),
    ("StepError::refused", 3),
    (DAMAGED, 3),
    ("StepError::unavailable", 4),
    ("StepError::lost_race", 5),
    ("require", 2),
    ("problem", 2),
    ("Problem::new", 2),
];

/// Constructor of an error that has its own hint.
const DAMAGED: &str = "StepError::damaged";

/// Component that reports a message, by the prefix of the file's path; steps come after these.
const PARTS: [(&str, &str); 15] = [
    ("crates/contract/", "Files, flags and steps"),
    ("crates/document/", "The document"),
    ("crates/yaml/", "The document"),
    ("crates/detectors/", "Detectors"),
    ("crates/client/", "HTTP servers"),
    ("crates/frames/", "Tables between steps"),
    ("crates/models/", "Models and bundles"),
    ("crates/postgres/", "PostgreSQL"),
    ("crates/scenario/", "Scenarios"),
    ("crates/store/", "The store"),
    ("crates/tracking/", "Tracking"),
    ("crates/plan/", "Plans"),
    ("crates/argo/", "Manifests"),
    ("pipelines/", "The program lynceus"),
    ("services/serve/", "The endpoint"),
];

/// Hint for a message of the document's check without a hint: the message itself describes the
/// correction.
const CORRECT_THE_SETTING: &str = "*correct this setting as the message says; [the pipeline document](document.md) lists its values*";

/// A message with its exit code and its hint.
type Row = (String, u8, String);

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" && name != "examples" {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && name != "tests.rs"
            && path.iter().any(|part| part == "src")
        {
            found.push(path);
        }
    }
    Ok(())
}

/// Returns the sentences of an expression; for a name, those of its value, and for a call, those of
/// the function in the same file.
fn resolved(source: &str, expression: &str, before: usize) -> Vec<String> {
    let found = sentences(expression);
    let name = expression.trim().trim_start_matches('&');
    if !found.is_empty() || name.is_empty() {
        return found;
    }
    if name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        let value = value_of(source, name, before).filter(|value| *value != name);
        return value.map_or_else(Vec::new, |value| resolved(source, value, before));
    }
    let called = name.split('(').next().unwrap_or_default();
    let function = called.rsplit(['.', ':']).next().unwrap_or_default();
    let body = || {
        let declared = source.find(&format!("fn {function}("))?;
        let open = declared + source[declared..].find(" {\n")? + 1;
        Some(sentences(inside(source, open).0))
    };
    body().unwrap_or_default()
}

/// Returns the hint of an error that was made before `at`: of the call that follows, or of a later
/// one on the variable that holds the error.
fn hint(source: &str, (begin, end): (usize, usize)) -> String {
    let after = &source[end..];
    let directly = after.trim_start().strip_prefix(".hint").map(|rest| source.len() - rest.len());
    let later = || {
        let (_, assigned) = source[..begin].rsplit_once("let ")?;
        let name = assigned.trim_end().strip_suffix('=')?.trim();
        let function = after.split("\n}\n").next().unwrap_or_default();
        let called = format!("{name}.hint");
        function.find(&called).map(|at| end + at + called.len())
    };
    let Some(open) = directly.or_else(later) else { return String::new() };
    let mut hints = resolved(source, inside(source, open).0, open);
    // If there are several, parts of sentences, such as separators, are removed.
    if hints.len() > 1 {
        hints.retain(|hint| {
            hint.split(' ').filter(|word| word.chars().any(char::is_alphabetic)).count() > 2
        });
    }
    hints.join("; or ")
}

/// Returns the errors that a file makes.
fn errors(source: &str) -> BTreeSet<Row> {
    let names = MAKERS.map(|(name, _)| name);
    let mut rows = BTreeSet::new();
    for (name, begin, open) in calls(source, &names) {
        if source[..begin].ends_with("fn ") {
            continue;
        }
        let (arguments, end) = inside(source, open);
        let arguments = parts(arguments, b',');
        let is_step_error = name.starts_with("StepError");
        let path = arguments.get(arguments.len().saturating_sub(2)).copied().unwrap_or_default();
        let field = match sentences(path).first() {
            Some(field) if !is_step_error && !field.is_empty() => format!("`{field}`: "),
            None if !is_step_error => "`{field}`: ".to_owned(),
            Some(_) | None => String::new(),
        };
        let code = MAKERS.iter().find(|(maker, _)| *maker == name).map_or(0, |(_, code)| *code);
        let message = arguments.last().copied().unwrap_or_default();
        let hint = match name {
            DAMAGED => contract::DAMAGED_HINT.to_owned(),
            _ => hint(source, (begin, end)),
        };
        let remedy = match hint {
            hint if hint.is_empty() && !is_step_error => CORRECT_THE_SETTING.to_owned(),
            hint => hint,
        };
        for message in resolved(source, message, begin) {
            let words = message.split('{').map(|it| it.split_once('}').map_or(it, |(_, it)| it));
            if words.flat_map(str::chars).any(char::is_alphabetic)
                || is_step_error && !remedy.is_empty()
            {
                rows.insert((format!("{field}{message}"), code, remedy.clone()));
            }
        }
    }
    rows
}

/// Returns each component by the prefix of its files' paths: [`PARTS`] and the steps.
fn components() -> Vec<(String, &'static str)> {
    let parts = PARTS.iter().map(|(prefix, name)| ((*prefix).to_owned(), *name));
    let steps = contract::Stage::ALL.iter().map(|step| (format!("steps/{step}/"), step.name()));
    parts.chain(steps).collect()
}

fn table() -> Result<BTreeMap<usize, BTreeSet<Row>>> {
    let (root, mut files) = (repository().canonicalize()?, Vec::new());
    for folder in ["crates", "steps", "services", "pipelines"] {
        sources(&root.join(folder), &mut files)?;
    }
    let mut constants = String::new();
    let mut texts = Vec::new();
    for file in files {
        let text = fs_err::read_to_string(&file)?;
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
        let declared = text.match_indices("const ").map(|(at, _)| &text[at..]);
        for constant in
            declared.filter(|text| text.lines().next().is_some_and(|it| it.contains(": &str =")))
        {
            constants += parts(constant, b';').first().copied().unwrap_or_default();
            constants += ";\n";
        }
        texts.push((file, text));
    }
    let components = components();
    let mut table: BTreeMap<usize, BTreeSet<Row>> = BTreeMap::new();
    for (file, mut text) in texts {
        let name = file.strip_prefix(&root)?.to_string_lossy().into_owned();
        let part = components.iter().position(|(prefix, _)| name.starts_with(prefix.as_str()));
        let part = part.with_context(|| format!("PARTS does not have {name}"))?;
        if name == "crates/contract/src/error.rs" {
            text = text.replace("Self::", "StepError::");
        }
        // A constant may be from another file; the file's own constant is found first.
        text += &format!("\n{constants}");
        table.entry(part).or_default().extend(errors(&text));
    }
    Ok(table)
}

#[test]
fn error_page_has_every_message_of_the_source_with_its_hint() -> Result<()> {
    let mut page = INTRODUCTION.to_owned();
    let mut without = Vec::new();
    let components = components();
    let cell = |text: &str| text.replace('|', "\\|").replace('<', "\\<").replace('\n', " ");
    for (part, rows) in table()?.into_iter().filter(|(_, rows)| !rows.is_empty()) {
        page += &format!(
            "\n## {}\n\n| message | exit code | what to do |\n|---|---|---|\n",
            components[part].1
        );
        for (message, code, hint) in rows {
            if hint.is_empty() {
                without.push(message.clone());
            }
            page += &format!("| {} | {code} | {} |\n", cell(&message), cell(&hint));
        }
    }
    ensure!(without.is_empty(), "these errors need a hint that says what to do: {without:#?}");
    let path = repository().join("docs/src/errors.md");
    if std::env::var_os("LYNCEUS_UPDATE").is_some() {
        fs_err::write(&path, &page)?;
    }
    ensure!(
        fs_err::read_to_string(&path)? == page,
        "docs/src/errors.md is not that of the source; `LYNCEUS_UPDATE=1 cargo test -p pipelines` writes it anew"
    );
    Ok(())
}

/// Returns whether a text matches a message with any values for its placeholders.
fn means(pattern: &str, text: &str) -> bool {
    let mut pieces =
        pattern.split('{').map(|piece| piece.split_once('}').map_or(piece, |(_, it)| it));
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty() || pattern.ends_with('}')
}

#[test]
fn error_page_has_the_messages_that_commands_print() -> Result<()> {
    let patterns: BTreeSet<String> = table()?.into_values().flatten().map(|row| row.0).collect();
    ensure!(patterns.len() > 300, "only {} messages", patterns.len());
    let printed = fs_err::read_to_string(repository().join("tests/golden/errors.txt"))?;
    let ours = printed.lines().filter_map(|line| line.strip_prefix("error: "));
    // The command line parser has its own messages, and those of `--set` begin with the flag.
    let of_parser = ["invalid value", "unrecognized", "--set"];
    let ours = ours.filter(|line| !of_parser.iter().any(|begin| line.starts_with(begin)));
    for message in ours {
        ensure!(
            patterns.iter().any(|pattern| means(pattern, message)),
            "not on the page: {message}"
        );
    }
    Ok(())
}
