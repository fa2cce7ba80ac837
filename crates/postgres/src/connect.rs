//! Makes a connection from settings: address, password, encryption.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::read_secret;
use contract::StepError;
use document::postgres::{PostgresServer, PostgresTls};
use fs_err as fs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_rustls::TlsConnector;

use crate::failure::Words;

/// What a client sends to ask for TLS: the length of the message, and its number.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const DEFAULT_PORT: u16 = 5432;

/// A client and the task that moves its bytes.
pub(crate) type Connected = (Client, JoinHandle<Result<(), tokio_postgres::Error>>);

/// A server, with everything that a connection to it needs.
pub(crate) struct Server {
    config: Config,
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Its name in errors.
    pub(crate) words: Words,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("words", &self.words).finish_non_exhaustive()
    }
}

enum Address {
    Tcp(String, u16),
    Socket(PathBuf),
}

impl Server {
    /// Reads the files that the settings name; nothing is sent yet. `field` is the field of the
    /// settings in the document, `folder` the folder of the document.
    pub(crate) fn new(
        field: &str,
        settings: &PostgresServer,
        folder: &Path,
    ) -> Result<Self, StepError> {
        let wrong = |what: &str| {
            StepError::usage(format!("`{field}.server.url` {what}"))
                .hint("write it as in postgresql://lynceus@db.monitoring:5432/metrics")
        };
        // The message of the parser could contain a secret.
        let mut config: Config = settings.url.parse().map_err(|_| wrong("is not a URL"))?;
        let port = config.get_ports().first().copied().unwrap_or(DEFAULT_PORT);
        let database = config.get_dbname().unwrap_or_default().to_owned();
        let (address, host) = match config.get_hosts() {
            [Host::Tcp(host)] => (Address::Tcp(host.clone(), port), host.clone()),
            [Host::Unix(folder)] => {
                let socket = folder.join(format!(".s.PGSQL.{port}"));
                (Address::Socket(socket), folder.display().to_string())
            }
            _ => return Err(wrong("does not name one host")),
        };
        let secret = settings.password.as_ref();
        let secret = secret.map(|secret| read_secret(secret, folder)).transpose()?;
        if let Some(secret) = &secret {
            config.password(secret);
        }
        config.application_name("lynceus");
        // Encryption is done before this client gets the bytes.
        config.ssl_mode(SslMode::Disable);
        let is_encrypted = match (settings.tls, &address) {
            (_, Address::Socket(_)) | (PostgresTls::Off, _) => false,
            (PostgresTls::VerifyFull, _) => true,
            (PostgresTls::Auto, Address::Tcp(host, _)) => !is_loopback(host),
        };
        let tls = is_encrypted.then(|| encryption(field, settings, folder, &host)).transpose()?;
        let shown = match &address {
            Address::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}/{database}"),
            Address::Tcp(host, port) => format!("{host}:{port}/{database}"),
            Address::Socket(_) => format!("{host}/{database}"),
        };
        let words = Words { field: field.to_owned(), shown, secret };
        Ok(Self { config, address, tls, words })
    }

    /// Connects and signs in.
    pub(crate) async fn connect(&self) -> Result<Connected, StepError> {
        let unreachable = |error: &io::Error| self.words.unreachable(&error.to_string());
        match &self.address {
            Address::Socket(path) => {
                let stream =
                    UnixStream::connect(path).await.map_err(|error| unreachable(&error))?;
                self.sign_in(stream).await
            }
            Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| unreachable(&error))?;
                // Small statements are answered one by one.
                stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
                match &self.tls {
                    Some((connector, name)) => {
                        let stream = self.encrypt(stream, connector, name).await?;
                        self.sign_in(stream).await
                    }
                    None => self.sign_in(stream).await,
                }
            }
        }
    }

    async fn encrypt(
        &self,
        mut stream: TcpStream,
        connector: &TlsConnector,
        name: &ServerName<'static>,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, StepError> {
        let unreachable = |error: io::Error| self.words.unreachable(&error.to_string());
        stream.write_all(&TLS_REQUEST).await.map_err(unreachable)?;
        match stream.read_u8().await.map_err(unreachable)? {
            b'S' => {}
            b'N' => return Err(self.words.plain_only()),
            _ => return Err(self.words.unreachable("it does not speak PostgreSQL's protocol")),
        }
        let encrypted = connector.connect(name.clone(), stream).await;
        encrypted.map_err(|error| self.words.untrusted(&error))
    }

    async fn sign_in<S>(&self, stream: S) -> Result<Connected, StepError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connected = self.config.connect_raw(stream, NoTls).await;
        let (client, connection) =
            connected.map_err(|error| self.words.of("cannot connect", &error))?;
        Ok((client, tokio::spawn(connection)))
    }
}

fn encryption(
    field: &str,
    settings: &PostgresServer,
    folder: &Path,
    host: &str,
) -> Result<(TlsConnector, ServerName<'static>), StepError> {
    let wrong = |error: rustls::Error| {
        StepError::usage(format!("cannot set up TLS for `{field}`: {error}"))
            .hint("report it with the version of Lynceus: this build lacks the TLS versions that it needs")
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(wrong)?;
    let config = if let Some(file) = &settings.ca_file {
        let path = folder.join(file);
        let pem = fs::read(&path).map_err(|error| StepError::reading(&path, &error))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        if roots.is_empty() {
            return Err(StepError::usage(format!(
                "`{field}.server.ca_file`: `{}` contains no PEM certificate",
                file.display()
            ))
            .hint("name a PEM file: it begins with -----BEGIN CERTIFICATE-----"));
        }
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        let hint = format!("name the certificates to trust with {field}.server.ca_file");
        let verified =
            builder.with_platform_verifier().map_err(|error| wrong(error).hint(&hint))?;
        verified.with_no_client_auth()
    };
    let name = settings.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| {
        StepError::usage(format!("`{field}`: `{name}` is not a valid certificate name"))
            .hint(format!("set {field}.server.server_name"))
    })?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
