//! Reads objects of the Kubernetes API, one at a time.

use std::collections::BTreeMap;
use std::path::Path;

use client::{Request, Server};
use contract::{SYSTEM_HINT, Span, StepError};
use document::http::{Auth, HttpServer, Proxy, Tls};
use document::sources::kubernetes::KubernetesSource;
use document::{HttpUrl, Secret};
use serde_json::Value;

/// Status code for a missing object.
const NOT_FOUND: u16 = 404;

/// Deadline of one request, and number of retries.
const TIMEOUT: Span = Span::from_seconds(10);
const RETRIES: u8 = 3;

/// An API server.
pub(super) struct Api {
    settings: HttpServer,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    /// Opens the API server of a URL, or of the cluster in which this pod runs; nothing is sent
    /// yet.
    ///
    /// Errors: usage (2) outside of a cluster without a URL.
    pub(super) fn open(url: Option<&HttpUrl>) -> Result<Self, StepError> {
        let account = Path::new(KubernetesSource::SERVICE_ACCOUNT);
        if url.is_none() && !account.join("token").is_file() {
            return Err(StepError::usage("this is not a pod with a service account's token").hint(
                "set the URL of the API with --kubernetes, as in http://127.0.0.1:8001 of `kubectl \
                 proxy`",
            ));
        }
        let (auth, tls) = match url {
            Some(_) => (None, Tls::default()),
            None => (
                Some(Auth::BearerToken(Secret::File(account.join("token")))),
                Tls { ca_file: Some(account.join("ca.crt")), ..Tls::default() },
            ),
        };
        let own = || {
            let url = KubernetesSource::IN_CLUSTER;
            url.parse().map_err(|error| StepError::bug(format!("{url}: {error}")))
        };
        let settings = HttpServer {
            url: url.map_or_else(own, |url| Ok(url.clone()))?,
            timeout: TIMEOUT,
            retries: RETRIES,
            auth,
            tls,
            headers: BTreeMap::new(),
            proxy: Some(Proxy::None),
            in_cluster: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(
            |error| {
                StepError::unavailable(format!("cannot start to fetch: {error}")).hint(SYSTEM_HINT)
            },
        )?;
        Ok(Self { settings, runtime })
    }

    /// Returns an object; `None` if there is none.
    ///
    /// Errors: according to the server's error status; unavailable (4) if all retries failed.
    pub(super) fn get(&self, path: &str) -> Result<Option<Value>, StepError> {
        // The token is read for each request, because it is rotated every hour.
        let server = Server::open(&self.settings, "--kubernetes", Path::new("."))?;
        let request = Request::get(self.settings.url.join(path));
        let sent = self.runtime.block_on(server.send(&request, |reply| {
            let read = serde_json::from_slice::<Value>(&reply.body);
            if reply.is_success() {
                return read.map(Some).map_err(|error| {
                    let said = format!("no JSON: {error}");
                    server.refusal(&request, &reply, &said)
                });
            }
            if reply.status == NOT_FOUND {
                return Ok(None);
            }
            // Kubernetes describes the error in a `Status` object.
            let said = read.ok().and_then(|it| it["message"].as_str().map(str::to_owned));
            Err(server.refusal(&request, &reply, &said.unwrap_or_default()))
        }));
        sent.map_err(|failed| failed.error)
    }
}
