//! HTTP clients for outside services: whom they trust, what each request carries, and what errors
//! may say of it.

mod secret;

use std::path::Path;

use contract::{Span, StepError};
use fs_err as fs;
use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, Identity, Url, redirect};

pub use secret::{authorization, headers, masked, masked_headers, read_secret, sensitive, text};

/// A server as a document describes it.
#[derive(Debug)]
pub struct Server<'a> {
    /// Where it stands in the document, for errors, such as `sources.metrics.prometheus`.
    pub field: &'a str,
    /// Its URL.
    pub url: &'a Url,
    /// Deadline of one request.
    pub timeout: Span,
    /// What each request carries.
    pub headers: HeaderMap,
    /// Its files.
    pub files: Files<'a>,
}

/// Certificates of a server, in files.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// The folder that paths are relative to: the document's.
    pub folder: &'a Path,
    /// The CA certificates to trust instead of the system's.
    pub ca_file: Option<&'a Path>,
    /// A client certificate and its key.
    pub client_identity_file: Option<&'a Path>,
}

/// Makes the client of a server.
///
/// Errors: usage for a file that is not there or not what it should be.
pub fn client(server: Server<'_>) -> Result<Client, StepError> {
    let Server { field, url, timeout, headers, files } = server;
    use_ring();
    let mut builder = Client::builder()
        .user_agent(concat!("lynceus/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .timeout(timeout.to_std())
        // A redirect turns the POST into a GET, and could carry credentials to another host.
        .redirect(redirect::Policy::none())
        // The server is the one the document names, whatever the surroundings say.
        .no_proxy();
    if is_loopback(url) {
        // Compressing for a wire that is not there only costs both sides time.
        builder = builder.gzip(false);
    }
    if let Some(ca_file) = files.ca_file {
        let pem = read(files.folder, ca_file)?;
        let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if certificates.is_empty() {
            return Err(no_pem(field, "ca_file", ca_file, "certificate"));
        }
        builder = builder.tls_certs_only(certificates);
    } else if url.scheme() == "http" {
        // Nothing will be verified: the system's certificates need not be there, nor be read.
        builder = builder.tls_certs_only([]);
    }
    if let Some(identity_file) = files.client_identity_file {
        let pem = read(files.folder, identity_file)?;
        let identity = Identity::from_pem(&pem).map_err(|_| {
            no_pem(field, "client_identity_file", identity_file, "certificate with its key")
        })?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| {
        StepError::usage(format!("cannot set up TLS for `{field}`: {}", causes(&error)))
            .hint(format!("name the certificates to trust with {field}.ca_file"))
    })
}

/// Makes ring what reqwest and rustls encrypt with, as the store and the mail channel do: one
/// implementation in the program, and no C library that takes two minutes to compile. To be called
/// before a client is built.
pub fn use_ring() {
    // An error says that the process has chosen already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Parses the URL of a server, without query and fragment; `field` names it in errors, which never
/// repeat it: it may hold a password.
pub fn base_url(field: &str, text: &str) -> Result<Url, StepError> {
    let wrong = |what: &str| {
        StepError::usage(format!("`{field}` {what}"))
            .hint("write it as in http://prometheus.monitoring:9090")
    };
    let mut url = Url::parse(text).map_err(|error| wrong(&format!("is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("is neither http:// nor https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("carries a user or a password; use basic_auth"));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Appends a path to a URL.
#[must_use]
pub fn below(mut url: Url, path: &str) -> Url {
    let path = format!("{}{path}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

/// Returns a URL without user, password, query and fragment.
pub fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// Returns the messages of an error and of what caused it, without URLs.
pub fn causes(error: &reqwest::Error) -> String {
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

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read(folder: &Path, file: &Path) -> Result<Vec<u8>, StepError> {
    let path = folder.join(file);
    fs::read(&path).map_err(|error| StepError::reading(&path, &error))
}

fn no_pem(field: &str, name: &str, file: &Path, what: &str) -> StepError {
    StepError::usage(format!("`{field}.{name}`: `{}` holds no {what} in PEM", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let url = Url::parse("https://user:hunter2@host:9090/path?token=hunter2#x").unwrap();
        assert_eq!(shown(&url), "https://host:9090/path");
    }

    #[test]
    fn what_is_no_server_is_refused_without_being_repeated() {
        for text in ["", "host", "ftp://h", "http://", "http://u:hunter2@h"] {
            let error = base_url("sources.metrics.prometheus.url", text).unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
        let url = base_url("x", "http://[::1]:1/a/b/?x=y#z").unwrap();
        assert_eq!(below(url, "/c").as_str(), "http://[::1]:1/a/b/c");
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
