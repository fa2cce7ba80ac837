//! An HTTP server as a document describes it: one block for sources, alert channels and sinks.
//!
//! [`Http<T>`] is such a server with the settings `T` of the extension that uses it, all in one
//! mapping of the document:
//!
//! ```yaml
//! prometheus:
//!   url: https://prometheus.example.com
//!   timeout: 30s
//!   auth: {bearer_token: {file: token}}
//!   parallel: 4 # the extension's own
//! ```

mod flat;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use contract::Span;
use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::extension::Destination;
use crate::problem::{Problem, require};
use crate::secret::Secret;
use crate::url::{HttpUrl, UrlError};

pub use flat::{Http, HttpSettings};

/// An HTTP server and how it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpServer {
    /// URL of the server. A query in the URL is sent with each request. Put user and password into
    /// `auth`.
    pub url: HttpUrl,
    /// Deadline of one request, with its reply; more than 0s.
    pub timeout: Span,
    /// Number of retries after 408, 425, 429, 5xx, a timeout or a closed connection. The delay
    /// between retries grows, and is at least `Retry-After` of the server.
    pub retries: u8,
    /// Credentials; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Certificates; those of the system by default.
    #[serde(skip_serializing_if = "Tls::is_default")]
    pub tls: Tls,
    /// Further headers of each request, such as `X-Scope-OrgID`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// URL of an HTTP proxy, or `none`; by default that of the environment variables `HTTPS_PROXY`,
    /// `HTTP_PROXY` and `NO_PROXY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// The pods that accept the connection, for the network policy of a cluster. With a proxy these
    /// are the pods of the proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_cluster: Option<InCluster>,
}

/// Credentials of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// A bearer token (RFC 6750).
    BearerToken(Secret),
    /// User name and password of HTTP basic authentication (RFC 7617).
    Basic(BasicAuth),
    /// A header with a secret value, such as an API key.
    Header(HeaderAuth),
}

/// User name and password of HTTP basic authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// A header with a secret value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderAuth {
    /// Name of the header, such as `X-API-Key` or `Authorization`.
    pub name: String,
    /// Its whole value.
    pub value: Secret,
}

impl Auth {
    /// Returns the secret of these credentials.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::BearerToken(token) => token,
            Self::Basic(basic) => &basic.password,
            Self::Header(header) => &header.value,
        }
    }

    /// Returns its secret with its field.
    pub(crate) fn secret_mut(&mut self) -> (&'static str, &mut Secret) {
        match self {
            Self::BearerToken(token) => ("auth.bearer_token", token),
            Self::Basic(basic) => ("auth.basic.password", &mut basic.password),
            Self::Header(header) => ("auth.header.value", &mut header.value),
        }
    }
}

/// Certificates in PEM files, relative to the document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The CA certificates to trust instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A client certificate and its key, both in one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_identity_file: Option<PathBuf>,
}

impl Tls {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the files it names.
    pub(crate) fn files_mut(&mut self) -> Vec<&mut PathBuf> {
        self.ca_file.iter_mut().chain(&mut self.client_identity_file).collect()
    }
}

/// The pods behind a name, as a network policy selects them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InCluster {
    /// Their namespace.
    pub namespace: String,
    /// Labels of the pods; by default all pods of the namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// The pods' own port, which may differ from the Service's; by default that of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl InCluster {
    /// Checks the names; `port` 0 is not a port.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_name = !self.namespace.is_empty() && self.namespace.chars().all(plain);
        require(is_name, "in_cluster.namespace", || {
            format!("`{}` is not the name of a namespace", self.namespace)
        })?;
        require(self.port != Some(0), "in_cluster.port", || "must be 1 to 65535".to_owned())
    }
}

/// The proxy of requests, independent of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// They go straight to the server.
    None,
    /// They go through this proxy.
    Url(HttpUrl),
}

impl FromStr for Proxy {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::Url) }
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str("none"),
            Self::Url(url) => url.serialize(serializer),
        }
    }
}

impl JsonSchema for Proxy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Proxy".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^(none|https?://.*)$"})
    }
}

/// Words in the names of headers and URL parameters whose values are secrets.
const SECRETS: [&str; 8] =
    ["authorization", "cookie", "token", "api-key", "apikey", "api_key", "secret", "password"];

/// Returns whether the value of a header or URL parameter of this name is a secret.
pub fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|word| name.contains(word)) || name == "key" || name == "auth"
}

impl HttpServer {
    /// Names of the fields in a document.
    pub const FIELDS: &'static [&'static str] =
        &["url", "timeout", "retries", "auth", "tls", "headers", "proxy", "in_cluster"];

    /// Returns the network destination for pods: the proxy, or without one the server itself.
    pub fn destination(&self) -> Destination {
        let url = match &self.proxy {
            Some(Proxy::Url(proxy)) => proxy,
            Some(Proxy::None) | None => &self.url,
        };
        Destination {
            host: url.host().to_owned(),
            port: url.port(),
            in_cluster: self.in_cluster.clone(),
        }
    }

    /// Returns the secret of its credentials with its field.
    pub(crate) fn secret_mut(&mut self) -> Option<(&'static str, &mut Secret)> {
        self.auth.as_mut().map(Auth::secret_mut)
    }

    /// Checks rules that types do not enforce.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        require(self.timeout > Span::ZERO, "timeout", || "must be greater than 0s".to_owned())?;
        if let Some(name) = self.headers.keys().find(|name| names_secret(name)) {
            let problem = Problem::new(
                "headers",
                format!("`{name}` contains credentials, which must not be in a document"),
            );
            return Err(problem.hint("use the field `auth`"));
        }
        self.in_cluster.as_ref().map_or(Ok(()), InCluster::check)
    }
}
