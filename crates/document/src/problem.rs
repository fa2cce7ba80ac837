//! Inconsistencies of a document, and what checks of every part use.

/// An inconsistency of a document, with its field.
#[derive(Debug)]
pub struct Problem {
    pub(crate) path: Vec<String>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    /// Makes a problem of a field, such as `scoring.delay`.
    pub fn new(path: &str, message: impl Into<String>) -> Self {
        let path = path.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self { path, message: message.into(), hint: None }
    }

    /// Adds a hint with the correction.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prefixes the field with the path of its section.
    #[must_use]
    pub(crate) fn inside(mut self, path: &str) -> Self {
        self.path.splice(0..0, path.split('.').map(str::to_owned));
        self
    }
}

pub(crate) fn problem(path: &str, message: impl Into<String>) -> Problem {
    Problem::new(path, message)
}

pub(crate) fn require(
    holds: bool,
    path: &str,
    message: impl FnOnce() -> String,
) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(problem(path, message())) }
}

/// All problems of a document.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// Adds the problem of a failed check; each part of a document has at most one.
    pub(crate) fn add(&mut self, checked: Result<(), Problem>) {
        self.0.extend(checked.err());
    }
}

pub(crate) fn is_name(name: &str, joiner: char) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 100
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == joiner)
}
