//! The URL of an HTTP server, parsed once, when the document is read.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

/// An `http://` or `https://` URL with a host and without user, password and fragment.
/// Its query is kept and sent with each request: it may identify the tenant.
/// For that reason `Display` and `Debug` leave it out, and no error repeats the text.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use document::HttpUrl;
///
/// let base: HttpUrl = "https://prometheus.example.com/prometheus".parse()?;
/// assert_eq!(
///     base.join("/api/v1/query").to_string(),
///     "https://prometheus.example.com/prometheus/api/v1/query"
/// );
/// assert!("https://user:password@prometheus.example.com".parse::<HttpUrl>().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpUrl(Url);

/// Why a text is not the URL of an HTTP server. The text is not repeated, because it may contain a
/// password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It does not parse.
    #[error("is not a URL: {0}; write it as in http://prometheus.monitoring:9090")]
    Syntax(#[from] url::ParseError),
    /// Another scheme.
    #[error(
        "does not begin with http:// or https:// and a host; write it as in http://prometheus.monitoring:9090"
    )]
    Scheme,
    /// A user or a password.
    #[error("must not hold a user or a password; use the field `auth`")]
    Credentials,
}

impl HttpUrl {
    /// Returns the parsed URL with its query.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Returns the text that a document has, with the query that errors leave out.
    pub fn with_its_query(&self) -> String {
        match self.0.query() {
            Some(query) => format!("{self}?{query}"),
            None => self.to_string(),
        }
    }

    /// Appends a path and keeps the query: `http://h/base?x=y` and `/api` give
    /// `http://h/base/api?x=y`.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        Self(url)
    }

    /// Adds parameters to the query, after those it has.
    #[must_use]
    pub fn with_query<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut url = self.0.clone();
        url.query_pairs_mut().extend_pairs(pairs);
        Self(url)
    }

    /// Returns the URL with its host replaced by an address.
    pub fn with_address(&self, address: std::net::IpAddr) -> Option<Self> {
        let mut url = self.0.clone();
        url.set_ip_host(address).ok()?;
        Some(Self(url))
    }

    /// Returns the name or address of the server, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let host = self.0.host_str().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the TCP port; 80 or 443 if the URL has none.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(80)
    }

    /// Returns whether scheme, host and port are those of another URL.
    pub fn has_origin_of(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// Returns whether the server is on this machine, by its name or address.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// The URL without its query, and without the `/` of an empty path.
impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.0.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = if self.0.path() == "/" { "" } else { self.0.path() };
        write!(f, "{}://{}{port}{path}", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}

impl FromStr for HttpUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let mut url = Url::parse(text)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(UrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Credentials);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }
}

impl<'de> Deserialize<'de> for HttpUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for HttpUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.with_its_query())
    }
}

impl JsonSchema for HttpUrl {
    fn schema_name() -> Cow<'static, str> {
        "HttpUrl".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "uri", "pattern": "^https?://"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> HttpUrl {
        text.parse().unwrap()
    }

    #[test]
    fn url_of_another_kind_is_refused_and_not_repeated() {
        for text in ["", "host", "ftp://h", "http://", "http://u:hunter2@h", "h:9090", "http://u@h"]
        {
            let error = text.parse::<HttpUrl>().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn query_is_sent_and_not_shown() {
        let url = url("https://host:8443/a/?token=hunter2#x");
        assert_eq!(url.join("/b").url().as_str(), "https://host:8443/a/b?token=hunter2");
        assert_eq!(url.to_string(), "https://host:8443/a/");
        let more = url.with_query([("q", "a&b")]);
        assert_eq!(more.url().query(), Some("token=hunter2&q=a%26b"));
        assert!(!format!("{url:?}").contains("hunter2"));
        let written = serde_json::to_string(&url).unwrap();
        assert_eq!(serde_json::from_str::<HttpUrl>(&written).unwrap(), url);
    }

    #[test]
    fn url_round_trips_unchanged() {
        for text in ["http://h:9090", "https://h/a/b", "http://[::1]:1/a?x=y", "http://h?x=y"] {
            assert_eq!(serde_json::to_value(url(text)).unwrap(), text);
        }
    }

    #[test]
    fn path_is_appended_to_any_base() {
        for (base, expected) in [
            ("http://h:9090", "http://h:9090/api"),
            ("http://h:9090/", "http://h:9090/api"),
            ("https://h/prometheus/", "https://h/prometheus/api"),
            ("http://[::1]:1/a/b?x=y", "http://[::1]:1/a/b/api?x=y"),
        ] {
            assert_eq!(url(base).join("/api").url().as_str(), expected);
        }
    }

    #[test]
    fn host_and_port_are_known_for_every_url() {
        for (text, host, port) in [
            ("http://h", "h", 80),
            ("https://h/x", "h", 443),
            ("http://[2001:db8::1]:9090", "2001:db8::1", 9090),
        ] {
            assert_eq!((url(text).host(), url(text).port()), (host, port));
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (text, is_loopback) in [
            ("http://localhost:1", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:9090", true),
            ("http://10.0.0.1", false),
            ("http://prometheus", false),
        ] {
            assert_eq!(url(text).is_loopback(), is_loopback, "{text}");
        }
    }
}
