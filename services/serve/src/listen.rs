//! TCP, with TLS where a certificate is given.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use contract::StepError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::args::ServeArgs;

/// Deadline of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Pause after a failed accept, such as one for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most connections that wait to be served after their handshake.
const WAITING: usize = 64;

/// Accepted connections, with or without TLS.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    connections: mpsc::Receiver<(Connection, SocketAddr)>,
}

impl Listener {
    /// Listens on the address of the flags; handshakes run concurrently.
    pub async fn bind(args: &ServeArgs) -> Result<Self, StepError> {
        let tls = acceptor(args)?;
        let failed = |error: std::io::Error| {
            StepError::usage(format!("cannot listen on `{}`: {error}", args.options.address))
                .hint("choose another address with --address; port 0 selects a free port")
        };
        let listener = TcpListener::bind(args.options.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (sender, connections) = mpsc::channel(WAITING);
        tokio::spawn(accept(listener, tls, sender));
        Ok(Self { address, connections })
    }

    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.connections.recv().await {
            Some(accepted) => accepted,
            // The sender exists as long as the runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    sender: mpsc::Sender<(Connection, SocketAddr)>,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "Could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A small reply must not wait for the acknowledgement of the one before.
        drop(stream.set_nodelay(true));
        let (sender, tls) = (sender.clone(), tls.clone());
        let Some(tls) = tls else {
            if sender.send((Connection::Plain(stream), peer)).await.is_err() {
                return;
            }
            continue;
        };
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    // The server has ended if this fails.
                    drop(sender.send((Connection::Tls(Box::new(stream)), peer)).await);
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "A TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "A TLS handshake took too long"),
            }
        });
    }
}

/// Reads certificate and key.
fn acceptor(args: &ServeArgs) -> Result<Option<TlsAcceptor>, StepError> {
    let (Some(certificate), Some(key)) = (&args.options.tls_certificate, &args.options.tls_key)
    else {
        return Ok(None);
    };
    let wrong = |path: &std::path::Path, cause: String| {
        StepError::usage(format!("cannot use `{}` for TLS: {cause}", path.display()))
            .hint("use PEM files: the certificate with its chain, and its private key")
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| wrong(certificate, error.to_string()))?;
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| wrong(certificate, error.to_string()))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// A connection.
#[derive(Debug)]
pub enum Connection {
    /// Without TLS.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
