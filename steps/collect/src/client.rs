//! The HTTP client: whom it trusts, and what it says of itself.

use std::path::{Path, PathBuf};

use contract::StepError;
use document::document::PrometheusSource;
use fs_err as fs;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Identity, Url, redirect};

/// A client for one server, with everything each request carries.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Where range queries go.
    pub(crate) url: Url,
    /// The URL as errors show it: without user, password and query.
    pub(crate) shown: String,
    client: Client,
}

impl Endpoint {
    /// Makes the client of a source; its files are relative to `folder`, the document's.
    pub(crate) fn new(source: &PrometheusSource, folder: &Path) -> Result<Self, StepError> {
        let url = range_url(&source.url)?;
        let shown = shown(&url);
        let mut builder = Client::builder()
            .user_agent(concat!("lynceus/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(source, folder)?)
            .timeout(source.timeout.to_std())
            // A redirect turns the POST into a GET, and could carry credentials to another host.
            .redirect(redirect::Policy::none())
            // The server is the one the document names, whatever the surroundings say.
            .no_proxy();
        if is_loopback(&url) {
            // Compressing for a wire that is not there only costs both sides time.
            builder = builder.gzip(false);
        }
        if let Some(ca_file) = &source.ca_file {
            let pem = read(folder, ca_file)?;
            let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if certificates.is_empty() {
                return Err(no_pem("ca_file", ca_file, "certificate"));
            }
            builder = builder.tls_certs_only(certificates);
        } else if url.scheme() == "http" {
            // Nothing will be verified: the system's certificates need not be there, nor be read.
            builder = builder.tls_certs_only([]);
        }
        if let Some(identity_file) = &source.client_identity_file {
            let pem = read(folder, identity_file)?;
            let identity = Identity::from_pem(&pem).map_err(|_| {
                no_pem("client_identity_file", identity_file, "certificate with its key")
            })?;
            builder = builder.identity(identity);
        }
        let client = builder.build().map_err(|error| {
            StepError::usage(format!("cannot set up TLS for `{shown}`: {}", causes(&error)))
                .hint("name the certificates to trust with source.prometheus.ca_file")
        })?;
        Ok(Self { url, shown, client })
    }

    /// Starts a request with this form as its body.
    pub(crate) fn post(&self, form: String) -> reqwest::RequestBuilder {
        self.client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
    }
}

fn range_url(base: &str) -> Result<Url, StepError> {
    let wrong = |what: &str| {
        // The text is not repeated: it may hold a password.
        StepError::usage(format!("`source.prometheus.url` {what}"))
            .hint("write it as in http://prometheus.monitoring:9090")
    };
    let mut url = Url::parse(base).map_err(|error| wrong(&format!("is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("is neither http:// nor https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("carries a user or a password; use basic_auth"));
    }
    let path = format!("{}/api/v1/query_range", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Returns a URL without anything that may be secret.
pub(crate) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn headers(source: &PrometheusSource, folder: &Path) -> Result<HeaderMap, StepError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &source.headers {
        let wrong = |what: &str| StepError::usage(format!("`source.prometheus.headers`: {what}"));
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong(&format!("`{name}` is no header name")))?;
        let value = HeaderValue::from_str(value)
            .map_err(|_| wrong(&format!("the value of `{name}` cannot be sent in a header")))?;
        headers.insert(parsed, secret(value));
    }
    if let Some(file) = &source.bearer_token_file {
        let token = read_secret(folder, file)?;
        headers.insert(AUTHORIZATION, authorization(file, &format!("Bearer {token}"))?);
    }
    if let Some(basic) = &source.basic_auth {
        let password = read_secret(folder, &basic.password_file)?;
        let pair = base64(format!("{}:{password}", basic.username).as_bytes());
        headers
            .insert(AUTHORIZATION, authorization(&basic.password_file, &format!("Basic {pair}"))?);
    }
    Ok(headers)
}

fn authorization(file: &Path, value: &str) -> Result<HeaderValue, StepError> {
    HeaderValue::from_str(value).map(secret).map_err(|_| {
        StepError::usage(format!("`{}` holds what cannot be sent in a header", file.display()))
            .hint("the file must hold the secret alone, in one line")
    })
}

/// Keeps a value out of debug output.
fn secret(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn read(folder: &Path, file: &PathBuf) -> Result<Vec<u8>, StepError> {
    let path = folder.join(file);
    fs::read(&path).map_err(|error| StepError::reading(&path, &error))
}

fn read_secret(folder: &Path, file: &PathBuf) -> Result<String, StepError> {
    let secret = String::from_utf8(read(folder, file)?).unwrap_or_default();
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(StepError::usage(format!("`{}` holds no text", file.display())));
    }
    Ok(secret.to_owned())
}

fn no_pem(field: &str, file: &Path, what: &str) -> StepError {
    StepError::usage(format!(
        "`source.prometheus.{field}`: `{}` holds no {what} in PEM",
        file.display()
    ))
}

/// Returns the messages of an error and of what caused it, without URLs.
pub(crate) fn causes(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        // Wrappers repeat the text of what they wrap.
        texts.retain(|known| !text.contains(known.as_str()));
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    if texts.is_empty() {
        return "no reason given".to_owned();
    }
    texts.join(": ")
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
    fn a_url_is_shown_without_its_secrets() {
        let url = Url::parse("https://user:hunter2@host:9090/path?token=hunter2#x").unwrap();
        assert_eq!(shown(&url), "https://host:9090/path");
    }

    #[test]
    fn the_api_is_found_below_any_base() {
        for (base, expected) in [
            ("http://h:9090", "http://h:9090/api/v1/query_range"),
            ("http://h:9090/", "http://h:9090/api/v1/query_range"),
            ("https://h/prometheus/", "https://h/prometheus/api/v1/query_range"),
            ("http://[::1]:1/a/b?x=y", "http://[::1]:1/a/b/api/v1/query_range"),
        ] {
            assert_eq!(range_url(base).unwrap().as_str(), expected);
        }
        for base in ["", "host", "ftp://h", "http://", "http://u:hunter2@h"] {
            let error = range_url(base).unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (url, loopback) in [
            ("http://localhost:1", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:9090", true),
            ("http://10.0.0.1", false),
            ("http://prometheus", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), loopback, "{url}");
        }
    }
}
