//! Servers of the S3 protocol for the tests: one within this process, and a real `MinIO`.

#![allow(dead_code, reason = "each test program that has this module uses a part of it")]

pub(crate) mod in_process;
pub(crate) mod minio;
pub(crate) mod proxy;

use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use store::{S3Settings, S3Store};

/// The bucket that every server has.
pub(crate) const BUCKET: &str = "lynceus";

/// Where a server is and how its owner signs in.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) endpoint: String,
    pub(crate) key: String,
    pub(crate) secret: String,
    /// Whether it is the one within this process, which does less.
    pub(crate) is_in_process: bool,
}

impl Access {
    /// Settings as a user has them, with short waits, and more of them: a busy server may say more
    /// than once that it cannot now, and half a second must be enough of a wait here too.
    pub(crate) fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint_url: Some(self.endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            credentials: Some(Credentials::new(&self.key, &self.secret, None, None, "test")),
            first_wait: Duration::from_millis(2),
            attempts: 9,
            ..S3Settings::default()
        }
    }

    /// Opens a store whose keys begin with `prefix`.
    pub(crate) fn store(&self, prefix: &str) -> Result<S3Store> {
        Ok(S3Store::with_settings(&format!("s3://{BUCKET}/{prefix}"), self.settings())?)
    }

    /// What a process needs in its environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", self.key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// The same server, by another way.
    pub(crate) fn by(&self, endpoint: String) -> Self {
        Self { endpoint, ..self.clone() }
    }

    pub(crate) fn as_user(&self, key: &str, secret: &str) -> Self {
        Self { key: key.to_owned(), secret: secret.to_owned(), ..self.clone() }
    }

    pub(crate) fn port(&self) -> Result<u16> {
        Ok(self.endpoint.rsplit(':').next().context("no port")?.parse()?)
    }

    /// Does something with the protocol's client itself.
    pub(crate) fn with_client<T, F>(&self, work: impl FnOnce(Client) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let config = aws_sdk_s3::config::Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("us-east-1"))
            .endpoint_url(&self.endpoint)
            .force_path_style(true)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(Credentials::new(&self.key, &self.secret, None, None, "test"))
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work(Client::from_conf(config)))
    }
}

/// Runs a test on every server there is, and says on which one it failed.
pub(crate) fn on_every_server(test: impl Fn(&Access) -> Result<()>) -> Result<()> {
    let in_process = in_process::InProcess::start()?;
    test(in_process.access()).context("on the server within this process")?;
    match minio::minio()? {
        Some(minio) => test(minio.access()).context("on MinIO"),
        None => Ok(()),
    }
}
