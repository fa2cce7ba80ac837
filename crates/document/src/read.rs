//! Reads a document: file, profile, overlays, single fields, types, consistency - in that order.

use std::path::Path;

use contract::{StepError, artifact};
use fs_err as fs;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;

use crate::Document;
use crate::check::check;
use crate::deserialize::{Misfit, MisfitKind, closest};
use crate::node::{self, Node, Value};
use crate::problem::Problem;

/// Changes that are applied to a document when it is read.
#[derive(Debug, Clone, Default)]
pub struct Changes<'a> {
    /// Partial documents, applied in this order.
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

/// Reads a document, applies its profile, then the overlays, then the single fields, and checks the
/// result as a whole.
pub fn read_with(path: &Path, changes: &Changes<'_>) -> Result<Document, StepError> {
    let mut document = read_node(path)?;
    lay_over(&mut document, changed(changes)?)?;
    typed(&document)
}

/// Reads the changes of a document, in their order.
fn changed(changes: &Changes<'_>) -> Result<Vec<Node>, StepError> {
    let overlays = changes.overlays.iter().map(|overlay| read_node(overlay));
    let mut over: Vec<Node> = overlays.collect::<Result<_, _>>()?;
    // Fields of the command line are applied together: an index refers to the original list, even
    // if other fields remove items.
    let mut together: Option<Node> = None;
    for set in &changes.sets {
        let node = parse_set(set)?;
        match &mut together {
            Some(known) if known.joins(&node) => known.join(node),
            known => over.extend(known.replace(node)),
        }
    }
    over.extend(together);
    Ok(over)
}

/// Applies the profile and the changes to a document. An overlay may have its own part for a
/// profile. This part is applied after the rest of the overlay, because the profile may remove what
/// the overlay adds.
fn lay_over(document: &mut Node, over: Vec<Node>) -> Result<(), StepError> {
    let profile = lay_profile(document, &over)?;
    for mut node in over {
        let own = node.take("profiles").zip(profile.as_ref());
        let own = own.and_then(|(mut profiles, name)| profiles.take(name));
        for part in std::iter::once(node).chain(own) {
            document.overlay(part).map_err(|misfit| misfit_error(document, misfit))?;
        }
    }
    // What was laid over is part of the document now.
    drop((document.take("profiles"), document.take("profile")));
    Ok(())
}

/// Reads another kind of YAML file, with the same errors as for a document: file, line, column and
/// field.
pub fn read_as<T: DeserializeOwned>(path: &Path) -> Result<T, StepError> {
    let node = read_node(path)?;
    T::deserialize(&node).map_err(|misfit| misfit_error(&node, misfit))
}

/// Returns the names of a document's profiles.
pub fn profiles(path: &Path) -> Result<Vec<String>, StepError> {
    Ok(profile_names(read_node(path)?.get("profiles")))
}

fn profile_names(profiles: Option<&Node>) -> Vec<String> {
    let Some(Value::Map(entries)) = profiles.map(|profiles| &profiles.value) else {
        return Vec::new();
    };
    entries.iter().map(|(key, _)| key.text.clone()).collect()
}

/// Parses a document's text; `name` is the name of the file in errors.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = "format: 1
/// name: hosts
/// step: 1m
/// range: 1d
/// sources: {rows: {table: {path: rows.csv, time: time}}}
/// features: [raw]
/// models: {z_score: {}}
/// ";
/// let document = document::parse("hosts.yaml", text)?;
/// assert_eq!(document.step.to_string(), "1m");
///
/// let misspelt = document::parse("hosts.yaml", &text.replace("range:", "rnage:"));
/// let error = misspelt.unwrap_err();
/// assert_eq!(error.message, "hosts.yaml:4:1: unknown field `rnage`");
/// assert_eq!(error.hint.as_deref(), Some("did you mean `range`?"));
/// # Ok(())
/// # }
/// ```
pub fn parse(name: &str, text: &str) -> Result<Document, StepError> {
    let mut document = node::parse(name, text)?;
    lay_over(&mut document, Vec::new())?;
    typed(&document)
}

/// Writes a document so that [`read`] returns the same document.
pub fn write(path: &Path, document: &Document) -> Result<(), StepError> {
    artifact::write_file(path, to_yaml(document)?.as_bytes())
}

/// Returns a document's text, with all defaults written out, so that [`parse`] returns the same
/// document.
pub fn to_yaml(document: &Document) -> Result<String, StepError> {
    serde_saphyr::to_string(document)
        .map_err(|e| StepError::bug(format!("cannot write the document as YAML: {e}")))
}

fn read_node(path: &Path) -> Result<Node, StepError> {
    let text = fs::read(path).map_err(|e| StepError::reading(path, &e))?;
    let shown = path.display().to_string();
    let text = String::from_utf8(text).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].split(|b| *b == b'\n').count();
        StepError::usage(format!("{shown}:{line}: not UTF-8 text"))
            .hint("save the document as UTF-8")
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

/// Applies the profile that the last of document, overlays and fields names, and returns its name.
fn lay_profile(document: &mut Node, over: &[Node]) -> Result<Option<String>, StepError> {
    let named = over.iter().rev().find_map(|node| node.get("profile")).or(document.get("profile"));
    let (name, place) = match named.cloned() {
        None | Some(Node { value: Value::Null, .. }) => return Ok(None),
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
    document.overlay(profile.clone()).map_err(|misfit| misfit_error(document, misfit))?;
    Ok(Some(name))
}

fn typed(node: &Node) -> Result<Document, StepError> {
    let document = Document::deserialize(node).map_err(|misfit| misfit_error(node, misfit))?;
    match check(&document).into_iter().next() {
        None => Ok(document),
        Some(problem) => Err(problem_error(node, problem)),
    }
}

/// Returns line and column, from 1, of the value of a field such as `sources.main.queries.0.promql`
/// in a document's own file; `None` if the file cannot be read.
pub fn place_of(path: &Path, field: &str) -> Option<(u64, u64)> {
    let node = read_node(path).ok()?;
    let path: Vec<String> = field.split('.').map(str::to_owned).collect();
    let place = node.place_of(&path);
    Some((place.line.try_into().ok()?, place.column.try_into().ok()?))
}

/// Returns all errors of a document, in the order in which they are found; empty if [`read_with`]
/// succeeds.
pub fn problems(path: &Path, changes: &Changes<'_>) -> Vec<StepError> {
    let read = || -> Result<Node, StepError> {
        let mut document = read_node(path)?;
        let over = changed(changes)?;
        lay_over(&mut document, over)?;
        Ok(document)
    };
    match read() {
        Ok(node) => problems_of(node),
        Err(error) => vec![error],
    }
}

/// Returns all errors of a document's text; `name` is the name of the file.
pub fn problems_in(name: &str, text: &str) -> Vec<StepError> {
    let read = || -> Result<Node, StepError> {
        let mut document = node::parse(name, text)?;
        lay_over(&mut document, Vec::new())?;
        Ok(document)
    };
    match read() {
        Ok(node) => problems_of(node),
        Err(error) => vec![error],
    }
}

/// Unknown fields and fields of the wrong type are removed one after the other, so that later
/// errors are found too; a missing required field ends the search.
fn problems_of(mut node: Node) -> Vec<StepError> {
    let mut found = Vec::new();
    let mut removed: Vec<Vec<String>> = Vec::new();
    loop {
        match Document::deserialize(&node) {
            Ok(document) => {
                let problems = check(&document).into_iter();
                found.extend(problems.map(|problem| problem_error(&node, problem)));
                return found;
            }
            Err(misfit) => {
                let path = misfit.path.clone();
                // A field that was removed because of its value is missing now, and reported already.
                let is_follow_up =
                    misfit.kind == MisfitKind::Missing && removed.contains(&misfit.path);
                let error = misfit_error(&node, misfit);
                let is_new = !found.iter().any(|known: &StepError| known == &error);
                if is_new && !is_follow_up {
                    found.push(error);
                }
                if is_follow_up || !is_new || !node.remove(&path) {
                    return found;
                }
                removed.push(path);
            }
        }
    }
}

fn misfit_error(root: &Node, misfit: Misfit) -> StepError {
    let place = misfit.place.as_ref().unwrap_or(&root.place);
    // The message names the unknown or missing field; the path is that of its parent.
    let path = &misfit.path[..misfit.path.len() - usize::from(misfit.kind != MisfitKind::Value)];
    let field = if path.is_empty() { String::new() } else { format!("`{}`: ", path.join(".")) };
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
