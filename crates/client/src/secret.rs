//! Secrets in requests: read from files, kept out of debug output.

use std::collections::BTreeMap;
use std::path::Path;

use contract::StepError;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::read;

/// Keeps a value out of debug output.
#[must_use]
pub fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// Returns the secret a file holds: all of it, without the line end.
pub fn read_secret(folder: &Path, file: &Path) -> Result<String, StepError> {
    text(read(folder, file)?).ok_or_else(|| {
        StepError::usage(format!("`{}` holds no text", file.display()))
            .hint("the file must hold the secret alone, in one line")
    })
}

/// Returns the text of a secret without its line end; nothing if that leaves nothing.
pub fn text(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    let text = text.trim_end_matches(['\r', '\n']);
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns the value of `Authorization` for the bearer token that a file holds, or for a user and the
/// file with the password; nothing where a document names neither.
pub fn authorization(
    folder: &Path,
    bearer_token_file: Option<&Path>,
    user: Option<(&str, &Path)>,
) -> Result<Option<HeaderValue>, StepError> {
    match (user, bearer_token_file) {
        (Some((name, file)), _) => basic(folder, name, file).map(Some),
        (None, Some(file)) => bearer(folder, file).map(Some),
        (None, None) => Ok(None),
    }
}

fn bearer(folder: &Path, file: &Path) -> Result<HeaderValue, StepError> {
    header_value(file, &format!("Bearer {}", read_secret(folder, file)?))
}

fn basic(folder: &Path, username: &str, file: &Path) -> Result<HeaderValue, StepError> {
    let pair = format!("{username}:{}", read_secret(folder, file)?);
    header_value(file, &format!("Basic {}", base64(pair.as_bytes())))
}

fn header_value(file: &Path, text: &str) -> Result<HeaderValue, StepError> {
    HeaderValue::from_str(text).map(sensitive).map_err(|_| {
        StepError::usage(format!("`{}` holds what cannot be sent in a header", file.display()))
            .hint("the file must hold the secret alone, in one line")
    })
}

/// Makes headers of their names and values; `field` names them in errors, which never repeat a
/// value.
pub fn headers(field: &str, headers: &BTreeMap<String, String>) -> Result<HeaderMap, StepError> {
    let mut parsed = HeaderMap::new();
    for (name, value) in headers {
        let wrong = |what: &str| StepError::usage(format!("`{field}`: {what}"));
        let value = HeaderValue::from_str(value)
            .map_err(|_| wrong(&format!("the value of `{name}` cannot be sent in a header")))?;
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong(&format!("`{name}` is no header name")))?;
        parsed.insert(name, sensitive(value));
    }
    Ok(parsed)
}

/// Encodes bytes as RFC 4648 base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = ALPHABET[(bits >> shift & 63) as usize];
            text.push(if index > group.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one() {
        // RFC 4648, section 10
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_secret_is_what_the_file_holds_without_its_line_end() {
        assert_eq!(text(b"hunter2\r\n".to_vec()).as_deref(), Some("hunter2"));
        assert_eq!(text(b"two words ".to_vec()).as_deref(), Some("two words "));
        assert_eq!((text(b"\n".to_vec()), text(b"\xff".to_vec())), (None, None));
    }
}
