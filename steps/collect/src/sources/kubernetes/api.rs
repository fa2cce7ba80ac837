//! Lists of the API server, page by page.

use std::path::{Path, PathBuf};

use client::{Failed, Pem, Reply, Request, Server};
use contract::{SYSTEM_HINT, StepError};
use document::http::{Auth, Http, HttpServer};
use document::sources::kubernetes::KubernetesSource;
use document::{HttpUrl, Secret};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue};
use serde::de::DeserializeOwned;

use super::kubeconfig;
use super::objects::{Page, Status};
use crate::sources::prometheus::request::{LONGEST_REPLY_BYTES, unpacked};

/// How often a list that expired between two pages is restarted.
const MOST_RESTARTS: u32 = 3;
/// Status of a list whose next page has expired.
const GONE: u16 = 410;
/// Status of a request without valid credentials.
const UNAUTHORIZED: u16 = 401;

/// An API server.
pub(super) struct Api<'a> {
    field: &'a str,
    folder: &'a Path,
    place: Place,
    runtime: tokio::runtime::Runtime,
    /// Requests so far.
    pub(super) requests: usize,
}

/// The address of a server, and its client.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) server: HttpServer,
    pub(super) pem: Pem,
}

/// The objects to list.
pub(super) struct Listed {
    path: String,
    selector: Option<String>,
    page_size: u32,
}

impl Listed {
    /// All nodes.
    pub(super) fn nodes(settings: &KubernetesSource) -> Self {
        Self { path: "/api/v1/nodes".to_owned(), selector: None, page_size: settings.page_size }
    }

    /// The pods of each namespace, or of all of them at once.
    pub(super) fn pods(settings: &KubernetesSource) -> Vec<Self> {
        let of = |path: String| Self {
            path,
            selector: settings.selector.clone(),
            page_size: settings.page_size,
        };
        match settings.namespaces.as_slice() {
            [] => vec![of("/api/v1/pods".to_owned())],
            names => names.iter().map(|it| of(format!("/api/v1/namespaces/{it}/pods"))).collect(),
        }
    }
}

impl<'a> Api<'a> {
    /// Finds the address of the server; nothing is sent yet.
    pub(super) fn new(
        field: &'a str,
        settings: &Http<KubernetesSource>,
        folder: &'a Path,
    ) -> Result<Self, StepError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(
            |error| {
                StepError::unavailable(format!("cannot start to fetch: {error}")).hint(SYSTEM_HINT)
            },
        )?;
        Ok(Self { field, folder, place: place(field, settings, folder)?, runtime, requests: 0 })
    }

    /// Returns the URL as errors show it.
    pub(super) fn shown(&self) -> String {
        self.place.server.url.to_string()
    }

    /// Returns all items of a list.
    ///
    /// Errors: usage for a missing address, token or permission; unavailable for a server that
    /// failed until the last retry, and for a list that changes faster than it can be read.
    pub(super) fn list<T: DeserializeOwned>(
        &mut self,
        listed: &Listed,
    ) -> Result<Vec<T>, StepError> {
        for _ in 0..=MOST_RESTARTS {
            if let Some(items) = self.pages(listed)? {
                return Ok(items);
            }
            tracing::info!("The list `{}` changed while it was read: beginning anew", listed.path);
        }
        let (shown, path) = (self.shown(), &listed.path);
        Err(StepError::unavailable(format!(
            "`{shown}{path}`: the list expired before it was read completely"
        ))
        .hint(format!("a larger `{}.page_size` reads it in fewer requests", self.field)))
    }

    /// Reads a list from its beginning; `None` if it expired meanwhile.
    fn pages<T: DeserializeOwned>(&mut self, listed: &Listed) -> Result<Option<Vec<T>>, StepError> {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let Some(page) = self.page::<T>(listed, &next)? else { return Ok(None) };
            items.extend(page.items.unwrap_or_default());
            if page.metadata.next.is_empty() {
                return Ok(Some(items));
            }
            next = page.metadata.next;
        }
    }

    /// Reads a page; `None` if it has expired. Credentials in a file are read for each page,
    /// because they may be rotated at any time.
    fn page<T: DeserializeOwned>(
        &mut self,
        listed: &Listed,
        next: &str,
    ) -> Result<Option<Page<T>>, StepError> {
        let limit = listed.page_size.to_string();
        let mut pairs = vec![("limit", limit.as_str())];
        pairs.extend(listed.selector.as_deref().map(|selector| ("labelSelector", selector)));
        pairs.extend((!next.is_empty()).then_some(("continue", next)));
        let url = self.place.server.url.join(&listed.path).with_query(pairs);
        let mut request = Request::get(url);
        request.longest_reply_bytes = LONGEST_REPLY_BYTES;
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let mut failed = self.send(&request)?;
        if failed.as_ref().is_err_and(|failed| failed.status == Some(UNAUTHORIZED)) {
            failed = self.send(&request)?;
        }
        match failed {
            Ok(page) => Ok(Some(page)),
            Err(failed) if failed.status == Some(GONE) => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    fn send<T: DeserializeOwned>(
        &mut self,
        request: &Request,
    ) -> Result<Result<Page<T>, Failed>, StepError> {
        let Place { server, pem } = &self.place;
        let server = Server::open_with(server, self.field, self.folder, pem)?;
        let judge = |reply: Reply| judged(&server, request, &reply);
        let sent = self.runtime.block_on(server.send(request, judge));
        self.requests += server.counts().0;
        Ok(sent)
    }
}

/// Parses a page from a reply, or returns why it is not one.
fn judged<T: DeserializeOwned>(
    server: &Server,
    request: &Request,
    reply: &Reply,
) -> Result<Page<T>, Failed> {
    let (url, field) = (&request.url, server.field());
    let broken = |what: String| {
        Failed::passing(
            StepError::unavailable(format!("`{url}`: the reply {what}"))
                .hint("check the API server, and any proxy before it. The request is repeated"),
        )
    };
    let body = unpacked(reply.body.clone())
        .map_err(|error| broken(format!("cannot be unpacked: {error}")))?;
    let body = body.unwrap_or_default();
    if reply.is_success() {
        return serde_json::from_slice(&body).map_err(|error| {
            if body.trim_ascii_start().starts_with(b"<") {
                let error = StepError::usage(format!("`{url}`: the reply is a web page"));
                let hint = format!("{field}.url must be the URL of the Kubernetes API");
                return Failed::for_good(error.hint(hint));
            }
            broken(format!("is cut or no list: {error}"))
        });
    }
    let message = serde_json::from_slice::<Status>(&body).unwrap_or_default().message;
    let said =
        if message.is_empty() { String::from_utf8_lossy(&body).into_owned() } else { message };
    let failed = server.refusal(request, reply, &said);
    match reply.status {
        403 => {
            let hint = "the account needs a ClusterRole with the verb `list` on `pods` and `nodes`";
            Err(Failed { error: failed.error.hint(hint), ..failed })
        }
        _ => Err(failed),
    }
}

/// Finds the address of the server.
fn place(
    field: &str,
    settings: &Http<KubernetesSource>,
    folder: &Path,
) -> Result<Place, StepError> {
    let mut server = settings.server.clone();
    if let Some(file) = &settings.own.kubeconfig {
        let path = folder.join(file);
        return kubeconfig::place(field, &path, server, settings.own.context.as_deref());
    }
    let is_inside =
        KubernetesSource::IN_CLUSTER.parse::<HttpUrl>().ok().as_ref() == Some(&server.url);
    if is_inside && server.auth.is_none() {
        let account = Path::new(KubernetesSource::SERVICE_ACCOUNT);
        let token: PathBuf = account.join("token");
        if !token.is_file() {
            return Err(StepError::usage(format!(
                "`{field}` names no API server, and this is not a pod with a service account"
            ))
            .hint(format!(
                "set {field}.url, for example of `kubectl proxy`, or {field}.kubeconfig"
            )));
        }
        server.auth = Some(Auth::BearerToken(Secret::File(token)));
        server.tls.ca_file.get_or_insert(account.join("ca.crt"));
    }
    Ok(Place { server, pem: Pem::default() })
}
