//! `lynceus lint`: checks documents and manifests without a cluster.

mod doubts;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use argo::lint::{self, File, Finding, Programs};
use contract::units::counted;
use contract::{StepError, artifact, system_words};
use document::channels::Channel;
use document::{Changes, Document};
use fs_err as fs;

use super::{Global, OutputFormat, print, print_json, say};
use crate::find;

/// Flags of `lynceus lint`.
#[derive(Debug, clap::Args)]
pub(crate) struct LintArgs {
    /// Documents and manifests, folders of them, or - for stdin [default: all documents and
    /// `argo/base`]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Files checked so far; manifests are checked together at the end.
#[derive(Default)]
struct Checked {
    files: u64,
    manifests: Vec<File>,
    /// The first document of each pipeline.
    pipelines: BTreeMap<String, String>,
    findings: Vec<Finding>,
}

pub(crate) fn execute(global: &Global, args: &LintArgs) -> Result<(), StepError> {
    let paths = if args.files.is_empty() { defaults(global) } else { args.files.clone() };
    let mut checked = Checked::default();
    for path in &paths {
        if path == Path::new("-") {
            checked.stdin();
        } else {
            fs::metadata(path).map_err(|error| StepError::reading(path, &error))?;
            checked.path(path);
        }
    }
    if checked.files == 0 {
        return Err(StepError::usage("no file to check was given")
            .hint("give documents, manifests, or folders that contain them"));
    }
    checked.findings.extend(manifest_findings(&checked.manifests));
    tell(global, checked.files, &checked.findings)
}

/// Checks manifests, each by itself and all together.
pub fn manifest_findings(files: &[File]) -> Vec<Finding> {
    lint::check(files, &Programs { agent: super::agent::service, serve: super::serve::service })
}

fn tell(global: &Global, files: u64, findings: &[Finding]) -> Result<(), StepError> {
    if global.output() == OutputFormat::Json {
        print_json(&findings)?;
    } else {
        let lines: Vec<String> = findings.iter().map(|finding| format!("{finding}\n")).collect();
        print(&lines.concat())?;
    }
    match (findings.len(), global.output()) {
        (0, OutputFormat::Json) => Ok(()),
        (0, OutputFormat::Text) => print(&format!("{}, nothing wrong\n", counted(files, "file"))),
        (1, _) => Err(StepError::usage("there is 1 finding")
            .hint("correct the findings above, then run the same command again")),
        (found, _) => Err(StepError::usage(format!("there are {found} findings"))
            .hint("correct the findings above, then run the same command again")),
    }
}

impl Checked {
    /// Reads a file, or the YAML files below a folder.
    fn path(&mut self, path: &Path) {
        match yaml_files(path) {
            Ok(files) => files.iter().for_each(|file| self.file(file)),
            Err(error) => self.unreadable(path.display().to_string(), &error),
        }
    }

    fn file(&mut self, file: &Path) {
        let name = file.display().to_string();
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => return self.unreadable(name, &error),
        };
        if let Some(text) = self.text(&name, bytes) {
            if lint::is_manifest(&text) {
                self.manifests.push(File { name, text });
            } else {
                self.findings.extend(of_document(file, &name));
                let second = self.second_of_its_name(file, &name);
                self.findings.extend(second);
            }
        }
    }

    /// Finds another document with the same pipeline name, whose manifests, models and scores would
    /// be mixed with those of this one.
    fn second_of_its_name(&mut self, file: &Path, name: &str) -> Option<Finding> {
        let document = document::read(file).ok()?;
        let first = self.pipelines.entry(document.name.clone()).or_insert_with(|| name.to_owned());
        let message = format!(
            "`name`: `{first}` is of the pipeline `{}`, too (one overwrites the other's manifests and models)",
            document.name
        );
        (first != name).then(|| Finding {
            file: name.to_owned(),
            place: None,
            object: String::new(),
            rule: "name",
            message,
        })
    }

    /// Reads a document, or manifests such as `kubectl kustomize` prints. Only the profile that the
    /// document names is checked, because other profiles are read from a file.
    fn stdin(&mut self) {
        let name = "stdin".to_owned();
        let mut bytes = Vec::new();
        if let Err(error) = std::io::stdin().read_to_end(&mut bytes) {
            return self.unreadable(name, &error);
        }
        let Some(text) = self.text(&name, bytes) else { return };
        if lint::is_manifest(&text) {
            self.manifests.push(File { name, text });
        } else {
            let problems = document::problems_in(&name, &text);
            self.findings.extend(problems.iter().map(|error| finding(&name, error)));
        }
    }

    /// Counts a file, and returns its text if it has one.
    fn text(&mut self, name: &str, bytes: Vec<u8>) -> Option<String> {
        self.files += 1;
        let text = String::from_utf8(bytes);
        if text.is_err() {
            self.findings.push(unread(name.to_owned(), "not UTF-8 text".to_owned()));
        }
        text.ok()
    }

    /// Reports a file that cannot be read; the other files are still checked.
    fn unreadable(&mut self, name: String, error: &std::io::Error) {
        self.files += 1;
        self.findings.push(unread(name, format!("cannot be read: {}", system_words(error))));
    }
}

/// Checks a document without and with each of its profiles; returns all errors.
fn of_document(file: &Path, name: &str) -> Vec<Finding> {
    let problems = document::problems(file, &Changes::default());
    let mut findings: Vec<Finding> = problems.iter().map(|error| finding(name, error)).collect();
    if let Ok(document) = document::read(file) {
        warn_of_lonely_stdout(&document, name);
        findings.extend(doubts::of(&document, file, name));
    }
    for profile in document::profiles(file).unwrap_or_default() {
        let set = format!("profile={profile}");
        let changes = Changes { overlays: Vec::new(), sets: vec![&set] };
        for error in document::problems(file, &changes) {
            // An error of the document without a profile occurs with each profile.
            if !problems.contains(&error) {
                let object = format!("profile/{profile}");
                findings.push(Finding { object, ..finding(name, &error) });
            }
        }
    }
    findings
}

/// Warns of a document that sends messages only to standard output, which is lost with the pod in a
/// cluster. It is not a finding, because the store has every message.
fn warn_of_lonely_stdout(document: &Document, name: &str) {
    let is_lost = |channel: &Channel| channel.extension().is_lost_with_pod();
    if document.alerts.channels.iter().all(is_lost) {
        say(&format!(
            "warning: {name}: alerts.channels: in a cluster alerts on standard output are lost with the pod \
             (hint: add a channel; `lynceus messages {}` shows what the store keeps)",
            document.name
        ));
    }
}

fn defaults(global: &Global) -> Vec<PathBuf> {
    let documents = find::names(&global.pipelines);
    let documents = documents.iter().map(|name| global.pipelines.join(format!("{name}.yaml")));
    let manifests = Some(PathBuf::from("argo/base")).filter(|folder| folder.is_dir());
    documents.chain(manifests).collect()
}

/// Returns a file itself, or the YAML files below a folder.
fn yaml_files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let files = artifact::files_below(path)?;
    let is_yaml = |file: &PathBuf| {
        file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
    };
    Ok(files.into_iter().map(|file| path.join(file)).filter(is_yaml).collect())
}

fn unread(file: String, message: String) -> Finding {
    Finding { file, place: None, object: String::new(), rule: "file", message }
}

fn finding(file: &str, error: &StepError) -> Finding {
    // The message begins with file, line and column if they are known.
    let said = error.message.strip_prefix(&format!("{file}:")).unwrap_or(&error.message).trim();
    let (place, said) = split_place(said).map_or((None, said), |(place, said)| (Some(place), said));
    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let message = format!("{said}{hint}");
    Finding { file: file.to_owned(), place, object: String::new(), rule: "document", message }
}

fn split_place(said: &str) -> Option<((u64, u64), &str)> {
    let (line, rest) = said.split_once(':')?;
    let (column, rest) = rest.split_once(':')?;
    Some(((line.parse().ok()?, column.parse().ok()?), rest.trim_start()))
}
