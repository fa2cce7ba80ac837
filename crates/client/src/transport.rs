//! The HTTP client of a server: certificates, proxy, deadline.

use std::path::Path;

use contract::StepError;
use document::http::{HttpServer, Proxy};
use fs_err as fs;
use reqwest::{Certificate, Client, ClientBuilder, Identity, redirect};

/// Certificates in memory, which are used if the document names no file.
#[derive(Default)]
pub struct Pem {
    /// The CA certificates to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// A client certificate and its key.
    pub identity: Option<Vec<u8>>,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ca, identity } = self;
        write!(f, "Pem {{ ca: {}, identity: {} }}", ca.is_some(), identity.is_some())
    }
}

/// Makes the client of a server.
///
/// Errors: usage for a missing or invalid file.
pub(crate) fn client(
    server: &HttpServer,
    field: &str,
    folder: &Path,
    at_hand: &Pem,
) -> Result<Client, StepError> {
    use_ring();
    let mut builder = Client::builder()
        .user_agent(concat!("lynceus/", env!("CARGO_PKG_VERSION")))
        .timeout(server.timeout.to_std())
        // A redirect turns the POST into a GET, and could carry credentials to another host.
        .redirect(redirect::Policy::none());
    builder = with_proxy(builder, server, field)?;
    if server.url.is_loopback() {
        // Without a network compression only costs time.
        builder = builder.gzip(false);
    }
    let ca = bytes(folder, server.tls.ca_file.as_deref(), at_hand.ca.as_ref())?;
    if let Some((pem, ca_file)) = ca {
        let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if certificates.is_empty() {
            return Err(not_pem(field, "ca_file", ca_file, "certificate"));
        }
        builder = builder.tls_certs_only(certificates);
    } else if !uses_tls(server) {
        // No certificate is verified, so the system's certificates are not read and may be missing.
        builder = builder.tls_certs_only([]);
    }
    let identity_file = server.tls.client_identity_file.as_deref();
    let identity = bytes(folder, identity_file, at_hand.identity.as_ref())?;
    if let Some((pem, identity_file)) = identity {
        let identity = Identity::from_pem(&pem).map_err(|_| {
            not_pem(field, "client_identity_file", identity_file, "certificate with its key")
        })?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|error| {
        StepError::usage(format!("cannot set up TLS for `{field}`: {}", causes(&error)))
            .hint(format!("name the certificates to trust with {field}.tls.ca_file"))
    })
}

/// Makes reqwest and rustls use ring, as the store and the mail channel do. So the program has one
/// implementation of TLS, and no C library that takes two minutes to compile. Call it before a
/// client is built.
pub fn use_ring() {
    // An error means that the process has a provider already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Sets the proxy of the document, or else of the environment. The latter never applies to this
/// machine itself.
fn with_proxy(
    builder: ClientBuilder,
    server: &HttpServer,
    field: &str,
) -> Result<ClientBuilder, StepError> {
    match &server.proxy {
        Some(Proxy::Url(proxy)) => {
            let proxy = reqwest::Proxy::all(proxy.url().clone()).map_err(|error| {
                StepError::usage(format!("`{field}.proxy` cannot be used: {}", causes(&error))).hint("write it as in proxy: http://proxy.example.com:3128, or `none` to use no proxy")
            })?;
            Ok(builder.proxy(proxy))
        }
        Some(Proxy::None) => Ok(builder.no_proxy()),
        None if server.url.is_loopback() => Ok(builder.no_proxy()),
        None => Ok(builder),
    }
}

fn uses_tls(server: &HttpServer) -> bool {
    let proxy_uses_tls = match &server.proxy {
        Some(Proxy::Url(proxy)) => proxy.url().scheme() == "https",
        Some(Proxy::None) => false,
        // The environment may set a proxy.
        None => !server.url.is_loopback(),
    };
    server.url.url().scheme() == "https" || proxy_uses_tls
}

/// Returns the error of a TLS failure, which a setting below `field` can correct; `None` for other
/// failures. Trust is a setting, so a retry does not help. `message` describes the request.
pub fn tls_failure(
    causes: &str,
    field: &str,
    message: impl Fn(&str) -> String,
) -> Option<StepError> {
    if causes.to_lowercase().contains("certificate") {
        let error = StepError::usage(message(&format!("no secure connection: {causes}")));
        return Some(error.hint(format!(
            "{field}.tls.ca_file names the certificates to trust, {field}.tls.client_identity_file the client's own"
        )));
    }
    let is_plain = causes.contains("InvalidContentType");
    is_plain.then(|| {
        StepError::usage(message("the server does not speak TLS"))
            .hint(format!("write http:// in {field}.url"))
    })
}

/// Returns the messages of an error and of what caused it, without URLs.
pub fn causes(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        // Wrappers repeat the text of the error that they wrap.
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

/// Returns the content of a file, or else the content in memory, with its name for errors.
fn bytes<'a>(
    folder: &Path,
    file: Option<&'a Path>,
    at_hand: Option<&Vec<u8>>,
) -> Result<Option<(Vec<u8>, &'a Path)>, StepError> {
    match file {
        Some(file) => Ok(Some((read(folder, file)?, file))),
        None => Ok(at_hand.map(|pem| (pem.clone(), Path::new("data")))),
    }
}

fn read(folder: &Path, file: &Path) -> Result<Vec<u8>, StepError> {
    let path = folder.join(file);
    fs::read(&path).map_err(|error| StepError::reading(&path, &error))
}

fn not_pem(field: &str, name: &str, file: &Path, what: &str) -> StepError {
    StepError::usage(format!("`{field}.tls.{name}`: `{}` holds no {what} in PEM", file.display()))
        .hint("name a PEM file: its parts begin with -----BEGIN; openssl converts other formats")
}
