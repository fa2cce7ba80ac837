//! A server of the protocol in this process, over a temporary folder.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::access::S3Access;
use s3s::auth::SimpleAuth;
use s3s::dto::PutObjectInput;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Request, S3Result};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};

use super::{Access, BUCKET};

/// A running server; it ends, and its folder goes, with this.
pub(crate) struct InProcess {
    access: Access,
    /// Ends the server when it is dropped.
    _end: oneshot::Sender<()>,
    _folder: tempfile::TempDir,
}

impl InProcess {
    /// Starts a server that does what the protocol says.
    pub(crate) fn start() -> Result<Self> {
        Self::with_conditions(true)
    }

    /// Starts a server that, like some, takes conditional writes for plain ones.
    pub(crate) fn ignoring_conditions() -> Result<Self> {
        Self::with_conditions(false)
    }

    fn with_conditions(conditions: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs_err::create_dir(folder.path().join(BUCKET))?;
        let files = FileSystem::new(folder.path()).map_err(|e| anyhow!("{e:?}"))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single("owner", "owner-secret"));
        if !conditions {
            builder.set_access(IgnoringConditions);
        }
        let root = folder.path().to_owned();
        let service = OneWriter { service: builder.build(), turn: Arc::default(), root };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            runtime.spawn(serve(listener, service));
            // The server ends here, whether the send succeeds or not.
            drop(runtime.block_on(ended));
        });
        let (key, secret) = ("owner".to_owned(), "owner-secret".to_owned());
        let access = Access { endpoint, key, secret, is_in_process: true };
        Ok(Self { access, _end: end, _folder: folder })
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }
}

async fn serve(listener: TcpListener, service: OneWriter) {
    while let Ok((socket, _)) = listener.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            let builder = Builder::new(TokioExecutor::new());
            // A client that goes away is none of the server's business.
            drop(builder.serve_connection(TokioIo::new(socket), service).await);
        });
    }
}

/// Lets everything through, and forgets what a write depends on.
struct IgnoringConditions;

impl S3Access for IgnoringConditions {
    fn put_object<'this, 'request, 'both>(
        &'this self,
        request: &'request mut S3Request<PutObjectInput>,
    ) -> Pin<Box<dyn Future<Output = S3Result<()>> + Send + 'both>>
    where
        'this: 'both,
        'request: 'both,
        Self: 'both,
    {
        request.input.if_match = None;
        request.input.if_none_match = None;
        Box::pin(async { Ok(()) })
    }
}

/// The server checks a condition and then writes, which is not one step: one writer at a time
/// makes it one.
#[derive(Clone)]
struct OneWriter {
    service: S3Service,
    turn: Arc<Mutex<()>>,
    root: PathBuf,
}

impl OneWriter {
    /// Says that a request reads an object by a key which is a folder, or lies below a file: the
    /// server would fail, where a bucket has no such object.
    fn reads_no_object(&self, request: &Request<Incoming>) -> bool {
        // Of the characters that a key may hold, only this one is escaped.
        let path = request.uri().path().trim_start_matches('/').replace("%3D", "=");
        let path = self.root.join(path);
        let bucket = self.root.join(BUCKET);
        let reads = matches!(request.method().as_str(), "GET" | "HEAD");
        reads && path.starts_with(&bucket) && path != bucket && !path.is_file()
    }
}

type Reply = Pin<Box<dyn Future<Output = Result<s3s::HttpResponse, s3s::HttpError>> + Send>>;

impl Service<Request<Incoming>> for OneWriter {
    type Response = s3s::HttpResponse;
    type Error = s3s::HttpError;
    type Future = Reply;

    fn call(&self, request: Request<Incoming>) -> Reply {
        let (service, turn) = (self.service.clone(), Arc::clone(&self.turn));
        let reads_no_object = self.reads_no_object(&request);
        Box::pin(async move {
            if reads_no_object {
                let body = "<Error><Code>NoSuchKey</Code></Error>".to_owned();
                let mut reply = s3s::HttpResponse::new(s3s::Body::from(body));
                *reply.status_mut() = hyper::StatusCode::NOT_FOUND;
                return Ok(reply);
            }
            let reads = matches!(request.method().as_str(), "GET" | "HEAD");
            let _turn = if reads { None } else { Some(turn.lock().await) };
            Service::call(&service, request).await
        })
    }
}
