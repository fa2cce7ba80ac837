//! Secrets, read where the document says when they are needed.

use std::path::Path;

use client::{read_secret, text};
use contract::StepError;
use document::alerts::Secret;

/// Reads a secret; `folder` is the document's.
pub(super) fn read(secret: &Secret, folder: &Path) -> Result<String, StepError> {
    match secret {
        Secret::File(file) => read_secret(folder, file),
        Secret::Env(name) => {
            let value = std::env::var_os(name);
            let value = value.and_then(|value| text(value.into_encoded_bytes()));
            value.ok_or_else(|| {
                StepError::usage(format!("environment variable `{name}` holds no text"))
                    .hint("set it to the secret that the document takes from there")
            })
        }
    }
}

/// Returns where a secret is, for a channel's name.
pub(super) fn place(secret: &Secret) -> String {
    match secret {
        Secret::File(file) => file.display().to_string(),
        Secret::Env(name) => format!("${name}"),
    }
}
