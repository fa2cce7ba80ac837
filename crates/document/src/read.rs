//! Reading a document: file, profile, overlays, single fields, types, sense - in that order.

use std::path::Path;

use contract::{StepError, artifact};
use fs_err as fs;
use serde::Deserialize as _;

use crate::Document;
use crate::check::{Problem, check};
use crate::deserialize::{Misfit, closest};
use crate::node::{self, Node, Value};

/// What is laid over a document when it is read.
#[derive(Debug, Clone, Default)]
pub struct Changes<'a> {
    /// Partial documents, laid over in this order.
    pub overlays: Vec<&'a Path>,
    /// `field.inner=value`, each set after all overlays.
    pub sets: Vec<&'a str>,
}

/// Reads a document without changes.
///
/// Errors are usage errors that name file, line, column and field.
pub fn read(path: &Path) -> Result<Document, StepError> {
    read_with(path, &Changes::default())
}

/// Reads a document, lays its profile, then the overlays, then the single fields over it, and
/// checks the result as a whole.
pub fn read_with(path: &Path, changes: &Changes<'_>) -> Result<Document, StepError> {
    let mut document = read_node(path)?;
    let mut over = Vec::new();
    for overlay in &changes.overlays {
        over.push(read_node(overlay)?);
    }
    for set in &changes.sets {
        over.push(parse_set(set)?);
    }
    lay_profile(&mut document, &over)?;
    for node in over {
        document.overlay(node).map_err(|misfit| misfit_error(&document, misfit))?;
    }
    // What was laid over is part of the document now.
    drop((document.take("profiles"), document.take("profile")));
    typed(&document)
}

/// Returns the names of a document's profiles.
pub fn profiles(path: &Path) -> Result<Vec<String>, StepError> {
    Ok(profile_names(read_node(path)?.get("profiles")))
}

fn profile_names(profiles: Option<&Node>) -> Vec<String> {
    match profiles.map(|profiles| &profiles.value) {
        Some(Value::Map(entries)) => entries.iter().map(|(key, _)| key.text.clone()).collect(),
        _ => Vec::new(),
    }
}

/// Parses a document's text; `name` stands for the file in errors.
pub fn parse(name: &str, text: &str) -> Result<Document, StepError> {
    let mut document = node::parse(name, text)?;
    lay_profile(&mut document, &[])?;
    // What was laid over is part of the document now.
    drop((document.take("profiles"), document.take("profile")));
    typed(&document)
}

/// Writes a document so that [`read`] gives it back.
pub fn write(path: &Path, document: &Document) -> Result<(), StepError> {
    let text = serde_saphyr::to_string(document)
        .map_err(|e| StepError::bug(format!("cannot write the document as YAML: {e}")))?;
    artifact::write_file(path, text.as_bytes())
}

fn read_node(path: &Path) -> Result<Node, StepError> {
    let text = fs::read(path).map_err(|e| StepError::reading(path, &e))?;
    let shown = path.display().to_string();
    let text = String::from_utf8(text).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].split(|b| *b == b'\n').count();
        StepError::usage(format!("{shown}:{line}: not UTF-8 text"))
    })?;
    node::parse(&shown, &text)
}

fn parse_set(set: &str) -> Result<Node, StepError> {
    let (field, value) =
        set.split_once('=').filter(|(field, _)| !field.trim().is_empty()).ok_or_else(|| {
            StepError::usage(format!("`--set {set}` has no `field=value`"))
                .hint("write it as in --set sources.metrics.prometheus.url=http://localhost:9090")
        })?;
    let leaf = node::parse_flag_value(field.trim(), value)?;
    let path: Vec<&str> = field.trim().split('.').collect();
    Ok(Node::nested(&path, leaf))
}

/// Lays the profile over the document that the last of document, overlays and fields names.
fn lay_profile(document: &mut Node, over: &[Node]) -> Result<(), StepError> {
    let named = over.iter().rev().find_map(|node| node.get("profile")).or(document.get("profile"));
    let (name, place) = match named.cloned() {
        None | Some(Node { value: Value::Null, .. }) => return Ok(()),
        Some(Node { value: Value::Scalar { text, .. }, place }) => (text, place),
        Some(Node { place, .. }) => {
            return Err(node::at(&place, "`profile`: expected the name of one profile"));
        }
    };
    let profiles = document.get("profiles").cloned();
    let Some(profile) = profiles.as_ref().and_then(|profiles| profiles.get(&name)) else {
        let known = profile_names(profiles.as_ref());
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = match closest(&name, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("profiles of this document: {}", known.join(", ")),
        };
        return Err(node::at(&place, &format!("unknown profile `{name}`")).hint(hint));
    };
    document.overlay(profile.clone()).map_err(|misfit| misfit_error(document, misfit))
}

fn typed(node: &Node) -> Result<Document, StepError> {
    let document = Document::deserialize(node).map_err(|misfit| misfit_error(node, misfit))?;
    check(&document).map_err(|problem| problem_error(node, problem))?;
    Ok(document)
}

fn misfit_error(root: &Node, misfit: Misfit) -> StepError {
    let place = misfit.place.as_ref().unwrap_or(&root.place);
    let field = if misfit.path.is_empty() {
        String::new()
    } else {
        format!("`{}`: ", misfit.path.join("."))
    };
    let error = StepError::usage(format!("{place}: {field}{}", misfit.message));
    match misfit.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn problem_error(root: &Node, problem: Problem) -> StepError {
    let place = root.place_of(&problem.path);
    let error =
        StepError::usage(format!("{place}: `{}`: {}", problem.path.join("."), problem.message));
    match problem.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
