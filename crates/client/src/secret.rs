//! Secrets in requests: read from the file or variable in the document, and kept out of errors and
//! debug output.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use contract::StepError;
use document::Secret;
use document::http::Auth;
use fs_err as fs;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

/// Text that replaces a secret.
const MASK: &str = "***";
/// A header value with fewer characters is not treated as a secret: it is rather the name of a
/// tenant, and would be found in many texts.
const SHORTEST_SECRET: usize = 6;

/// Returns a secret without its line end; relative files are below `folder`, the folder of the
/// document.
pub fn read_secret(secret: &Secret, folder: &Path) -> Result<String, StepError> {
    match secret {
        Secret::File(file) => {
            let path = folder.join(file);
            let bytes = fs::read(&path).map_err(|error| StepError::reading(&path, &error))?;
            text(bytes).ok_or_else(|| {
                StepError::usage(format!("`{}` contains no text", file.display()))
                    .hint("the file must contain only the secret, in one line")
            })
        }
        Secret::Env(name) => {
            let value = std::env::var_os(name);
            value.and_then(|value| text(value.into_encoded_bytes())).ok_or_else(|| {
                StepError::usage(format!("environment variable `{name}` contains no text"))
                    .hint("set it to the secret that the document reads from it")
            })
        }
    }
}

/// Returns the location of a secret for messages: the file, or the variable as in `$TOKEN`.
pub fn secret_place(secret: &Secret) -> String {
    match secret {
        Secret::File(file) => file.display().to_string(),
        Secret::Env(name) => format!("${name}"),
    }
}

/// Returns the text of a secret without its line end; `None` if it is then empty.
fn text(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    let text = text.trim_end_matches(['\r', '\n']);
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns the header with the credentials, from the secret that was read.
pub(crate) fn authorization(
    auth: &Auth,
    secret: &str,
    field: &str,
) -> Result<(HeaderName, HeaderValue), StepError> {
    let (name, value) = match auth {
        Auth::BearerToken(_) => (AUTHORIZATION, format!("Bearer {secret}")),
        Auth::Basic(basic) => {
            let pair = format!("{}:{secret}", basic.username);
            (AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(pair)))
        }
        Auth::Header(header) => {
            let name = header.name.parse().map_err(|_| {
                let name = &header.name;
                StepError::usage(format!(
                    "`{field}.auth.header.name`: `{name}` is not a header name"
                ))
                .hint("a header name has letters, digits and `-`, as in X-Api-Key")
            })?;
            (name, secret.to_owned())
        }
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| {
        let place = secret_place(auth.secret());
        StepError::usage(format!("`{place}` contains characters that cannot be sent in a header"))
            .hint("the file must contain only the secret, in one line")
    })?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Makes headers from names and values; `field` is their field in errors, which never repeat a
/// value.
pub(crate) fn headers(
    field: &str,
    headers: &BTreeMap<String, String>,
) -> Result<HeaderMap, StepError> {
    let mut parsed = HeaderMap::new();
    for (name, value) in headers {
        let wrong = |what: &str| {
            StepError::usage(format!("`{field}`: {what}"))
                .hint("a header's name has letters, digits and `-`; its value is one line of ASCII")
        };
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| wrong(&format!("the value of `{name}` cannot be sent in a header")))?;
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong(&format!("`{name}` is not a header name")))?;
        value.set_sensitive(true);
        parsed.insert(name, value);
    }
    Ok(parsed)
}

/// Replaces a secret in a text from outside: the whole secret, and each of its longer parts,
/// because a server may repeat it escaped, encoded or truncated.
pub fn masked(text: &str, secret: &str) -> String {
    const SHORTEST_PART: usize = 9;
    if secret.is_empty() {
        return text.to_owned();
    }
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let parts = secret.split(|letter| !is_letter(letter));
    let mut parts: Vec<&str> = parts.filter(|part| part.len() >= SHORTEST_PART).collect();
    // One text may be the beginning of another.
    parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.len()));
    let whole = text.replace(secret, MASK);
    parts.into_iter().fold(whole, |text, part| text.replace(part, MASK))
}

/// Replaces the secrets of the headers in a text from outside.
pub(crate) fn masked_headers(text: &str, headers: &HeaderMap) -> String {
    let secrets = headers.values().filter(|value| value.is_sensitive());
    let secrets = secrets.filter_map(|value| value.to_str().ok());
    secrets.fold(text.to_owned(), |text, value| {
        // The scheme of an `Authorization` header is not a secret.
        let secret = value.split_once(' ').map_or(value, |(_, secret)| secret);
        if secret.len() < SHORTEST_SECRET { text } else { masked(&text, secret) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_masked_in_every_encoding() {
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
    fn secret_is_the_file_content_without_line_end() {
        assert_eq!(text(b"hunter2\r\n".to_vec()).as_deref(), Some("hunter2"));
        assert_eq!(text(b"two words ".to_vec()).as_deref(), Some("two words "));
        assert_eq!((text(b"\n".to_vec()), text(b"\xff".to_vec())), (None, None));
    }
}
