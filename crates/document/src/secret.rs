//! Where a secret is kept: a document names the place and never contains the secret.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::problem::{Problem, require};

/// Location of a secret. A document never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// A file that contains only the secret, relative to the document.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl Secret {
    /// Returns the file the secret is in, if it is in one.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(file) => Some(file),
            Self::Env(_) => None,
        }
    }

    /// Returns the environment variable the secret is in, if it is in one.
    pub fn variable(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            Self::Env(name) => Some(name),
        }
    }

    /// Checks the place; `field` is where the document names it. Errors do not repeat the place: it
    /// may be the secret itself in the wrong field.
    pub(crate) fn check(&self, field: &str) -> Result<(), Problem> {
        match self {
            Self::File(file) => {
                let is_empty = file.as_os_str().is_empty();
                require(!is_empty, &format!("{field}.file"), || "is empty".to_owned())
            }
            Self::Env(name) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                require(is_name && name.chars().all(plain), &format!("{field}.env"), || {
                    "is not the name of an environment variable: letters, digits and `_`".to_owned()
                })
            }
        }
    }

    /// Returns the file the secret is in, to be made absolute.
    pub(crate) fn file_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::File(file) => Some(file),
            Self::Env(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// Makes errors without repeating the found value: it may be the secret itself.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = serde_json::Value::deserialize(deserializer)?;
        let field = |name: &str| found.get(name).and_then(serde_json::Value::as_str);
        let is_single = found.as_object().is_some_and(|fields| fields.len() == 1);
        match (field("file"), field("env")) {
            (Some(file), None) if is_single => Ok(Self::File(file.into())),
            (None, Some(name)) if is_single => Ok(Self::Env(name.to_owned())),
            _ => Err(D::Error::custom(
                "a document holds no secrets: write where it is, `file: PATH` or `env: NAME`",
            )),
        }
    }
}
