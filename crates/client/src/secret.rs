//! Secrets in requests: read from files, kept out of debug output.

use std::collections::BTreeMap;
use std::path::Path;

use contract::StepError;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::read;

/// What stands for a secret.
const MASK: &str = "***";
/// Characters of a header's value below which it is the name of a tenant, not a secret, and would
/// be found in any text.
const SHORTEST_SECRET: usize = 6;

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

/// Replaces a secret in what another side said: as a whole, and each of its longer parts, since a
/// server may repeat it escaped, encoded or cut.
pub fn masked(text: &str, secret: &str) -> String {
    const SHORTEST_PART: usize = 9;
    if secret.is_empty() {
        return text.to_owned();
    }
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let parts = secret.split(|letter| !is_letter(letter));
    let mut parts: Vec<&str> = parts.filter(|part| part.len() >= SHORTEST_PART).collect();
    // One may be the beginning of another.
    parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.len()));
    let whole = text.replace(secret, MASK);
    parts.into_iter().fold(whole, |text, part| text.replace(part, MASK))
}

/// Replaces what the headers keep secret in what another side said.
pub fn masked_headers(text: &str, headers: &HeaderMap) -> String {
    let secrets = headers.values().filter(|value| value.is_sensitive());
    let secrets = secrets.filter_map(|value| value.to_str().ok());
    secrets.fold(text.to_owned(), |text, value| {
        // The scheme of an `Authorization` is none.
        let secret = value.split_once(' ').map_or(value, |(_, secret)| secret);
        if secret.len() < SHORTEST_SECRET { text } else { masked(&text, secret) }
    })
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
    fn a_secret_is_found_in_whatever_form_it_is_repeated() {
        let path = "/services/T00000000/B00000000/hunter2hunter2";
        for said in [
            path.to_owned(),
            path.replace('/', "\\/"),
            "no hook T00000000/B00000000/hunter2hunter2".to_owned(),
            "hunter2hunter2".to_owned(),
        ] {
            let masked = masked(&said, path);
            assert!(!masked.contains("hunter2") && masked.contains("***"), "{masked}");
        }
        assert!(!masked("at 123456789%3AAAF-hunter2_x", "123456789:AAF-hunter2_x").contains("hun"));
        assert!(!masked("key is hunter2hunter2", "key=hunter2hunter2").contains("hunter2"));
        assert_eq!(masked("as it was", ""), "as it was");
    }

    #[test]
    fn a_header_that_is_kept_secret_is_not_repeated() {
        let pairs = [("authorization", "Bearer hunter2"), ("x-scope-orgid", "1")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let headers = headers("x", &pairs.into()).unwrap();
        assert_eq!(masked_headers("token hunter2, 1 of 1", &headers), "token ***, 1 of 1");
    }

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
