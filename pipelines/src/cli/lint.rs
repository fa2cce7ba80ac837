//! `lynceus lint`: documents and manifests, checked without a cluster.

use std::path::{Path, PathBuf};

use contract::{StepError, artifact};
use document::Changes;
use fs_err as fs;
use report::units::counted;

use super::{Global, OutputFormat, print, print_json};
use crate::argo::lint::{self, File, Finding};
use crate::find;

/// Flags of `lynceus lint`.
#[derive(Debug, clap::Args)]
pub(crate) struct LintArgs {
    /// Documents and manifests, folders of them, or - for stdin; without any, all documents and `argo/base`
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn execute(global: &Global, args: &LintArgs) -> Result<(), StepError> {
    let paths = if args.files.is_empty() { defaults(global) } else { args.files.clone() };
    let mut findings = Vec::new();
    let mut manifests = Vec::new();
    let mut count = 0_u64;
    for path in &paths {
        if path == Path::new("-") {
            count += 1;
            manifests.push(stdin()?);
            continue;
        }
        for file in yaml_files(path)? {
            count += 1;
            let text = fs::read_to_string(&file).map_err(|e| StepError::reading(&file, &e))?;
            let name = file.display().to_string();
            if lint::is_manifest(&text) {
                manifests.push(File { name, text });
            } else {
                findings.extend(of_document(&file, name)?);
            }
        }
    }
    if count == 0 {
        return Err(StepError::usage("there is nothing to check")
            .hint("name documents, manifests or folders of them"));
    }
    findings.extend(lint::check(&manifests));
    if global.output == OutputFormat::Json {
        print_json(&findings)?;
    } else {
        let lines: Vec<String> = findings.iter().map(|finding| format!("{finding}\n")).collect();
        print(&lines.concat())?;
    }
    match (findings.len(), global.output) {
        (0, OutputFormat::Json) => Ok(()),
        (0, OutputFormat::Text) => print(&format!("{}, nothing wrong\n", counted(count, "file"))),
        (1, _) => Err(StepError::refused("there is 1 finding")),
        (found, _) => Err(StepError::refused(format!("there are {found} findings"))),
    }
}

/// Checks a document as it is, and with each of its profiles.
fn of_document(file: &Path, name: String) -> Result<Vec<Finding>, StepError> {
    if let Err(error) = document::read(file) {
        return Ok(vec![finding(name, &error)]);
    }
    let mut findings = Vec::new();
    for profile in document::profiles(file)? {
        let set = format!("profile={profile}");
        let changes = Changes { overlays: Vec::new(), sets: vec![&set] };
        if let Err(error) = document::read_with(file, &changes) {
            let mut found = finding(name.clone(), &error);
            found.object = format!("profile/{profile}");
            findings.push(found);
        }
    }
    Ok(findings)
}

/// Reads manifests from stdin, such as what `kubectl kustomize` prints.
fn stdin() -> Result<File, StepError> {
    let text = std::io::read_to_string(std::io::stdin());
    let text = text.map_err(|e| StepError::reading(Path::new("stdin"), &e))?;
    Ok(File { name: "stdin".to_owned(), text })
}

fn defaults(global: &Global) -> Vec<PathBuf> {
    let documents = find::names(&global.pipelines);
    let documents = documents.iter().map(|name| global.pipelines.join(format!("{name}.yaml")));
    let manifests = Some(PathBuf::from("argo/base")).filter(|folder| folder.is_dir());
    documents.chain(manifests).collect()
}

/// Returns a file itself, or the YAML files below a folder.
fn yaml_files(path: &Path) -> Result<Vec<PathBuf>, StepError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let files = artifact::files_below(path).map_err(|e| StepError::reading(path, &e))?;
    let is_yaml = |file: &PathBuf| {
        file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
    };
    Ok(files.into_iter().map(|file| path.join(file)).filter(is_yaml).collect())
}

fn finding(file: String, error: &StepError) -> Finding {
    // The message begins with file, line and column where it knows them.
    let said = error.message.strip_prefix(&format!("{file}:")).unwrap_or(&error.message).trim();
    let (place, said) = split_place(said).map_or((None, said), |(place, said)| (Some(place), said));
    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let message = format!("{said}{hint}");
    Finding { file, place, object: String::new(), rule: "document", message }
}

fn split_place(said: &str) -> Option<((u64, u64), &str)> {
    let (line, rest) = said.split_once(':')?;
    let (column, rest) = rest.split_once(':')?;
    Some(((line.parse().ok()?, column.parse().ok()?), rest.trim_start()))
}
