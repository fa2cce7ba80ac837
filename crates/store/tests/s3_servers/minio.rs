//! A real `MinIO` with the tests' bucket.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::Result;

use super::{Access, BUCKET};

#[path = "../../../../tests/support/minio.rs"]
pub(crate) mod server;

pub(crate) use server::is_off;

/// A running server.
pub(crate) struct Minio {
    access: Access,
    _server: server::Server,
}

/// Returns the server of this test program; `None` if `LYNCEUS_TEST_MINIO` is `off`.
pub(crate) fn minio() -> Result<Option<&'static Minio>> {
    static MINIO: OnceLock<std::result::Result<Minio, String>> = OnceLock::new();
    if is_off() {
        return Ok(None);
    }
    let started = MINIO.get_or_init(|| Minio::start(None).map_err(|e| format!("{e:#}")));
    started.as_ref().map(Some).map_err(|error| anyhow::anyhow!("{error}"))
}

impl Minio {
    /// Starts a server with the bucket; with `certificates` (a folder with `public.crt` and
    /// `private.key`) it speaks TLS, and the bucket is left to the caller.
    pub(crate) fn start(certificates: Option<&Path>) -> Result<Self> {
        let server = server::Server::start(certificates)?;
        let endpoint = server.endpoint.clone();
        let (key, secret) = (server::KEY.to_owned(), server::SECRET.to_owned());
        let access = Access { endpoint, key, secret, is_in_process: false };
        if certificates.is_none() {
            access.with_client(async |client| {
                client.create_bucket().bucket(BUCKET).send().await?;
                Ok(())
            })?;
        }
        Ok(Self { access, _server: server })
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }
}
