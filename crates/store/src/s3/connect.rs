//! Makes a client from settings.

use std::path::Path;

use aws_config::SdkConfig;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::credentials::EnvironmentVariableCredentialsProvider;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, SharedCredentialsProvider,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_types::service_config::ServiceConfigKey;
use contract::StepError;
use fs_err as fs;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::settings::S3Settings;
use super::transfer;

/// Default region, which servers other than AWS expect.
const DEFAULT_REGION: &str = "us-east-1";

/// Idle connections kept: as many as concurrent requests, so that connections are reused.
const IDLE_CONNECTIONS: usize = super::SMALL_IN_FLIGHT;

/// A client, and its endpoint for messages.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    /// The same client without the checksum headers that SDKs send since 2025; some servers answer
    /// 501 to these headers.
    pub(super) plain: Client,
    pub(super) endpoint: String,
}

/// Reads the environment and makes the client; nothing is sent to the store yet.
pub(super) async fn connect(settings: &S3Settings) -> Result<Connection, StepError> {
    let secure = https_client(settings.ca_bundle.as_deref())?;
    let region = region(settings).await;
    let retries = RetryConfig::standard()
        .with_max_attempts(settings.attempts.max(1))
        .with_initial_backoff(settings.first_wait);
    let stalled =
        StalledStreamProtectionConfig::enabled().grace_period(settings.reply_deadline).build();
    // The source of credentials depends on the endpoint, so the endpoint is read first.
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(region.clone())
        .http_client(secure.clone())
        .no_credentials()
        .timeout_config(transfer::timeouts(settings, 0))
        .retry_config(retries)
        .stalled_stream_protection(stalled);
    if let Some(endpoint) = &settings.endpoint_url {
        loader = loader.endpoint_url(endpoint);
    }
    let shared = loader.load().await;
    let endpoint = endpoint(&shared);
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .credentials_provider(credentials(settings, endpoint.is_some(), &region, secure))
        .force_path_style(settings.path_style.unwrap_or(endpoint.is_some()));
    if endpoint.as_ref().is_some_and(|url| url.starts_with("http://")) {
        // Certificates are read only if they are needed.
        config.set_http_client(Some(client_builder().build_http()));
    }
    let endpoint = match endpoint {
        Some(url) => shown(&url)?,
        None => format!("S3 in region {region}"),
    };
    let config = config.build();
    let plain = config
        .to_builder()
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .build();
    let (client, plain) = (Client::from_conf(config), Client::from_conf(plain));
    Ok(Connection { client, plain, endpoint })
}

/// Returns the region, without network requests.
async fn region(settings: &S3Settings) -> Region {
    let explicit = settings.region.clone().map(Region::new);
    RegionProviderChain::first_try(explicit)
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .region()
        .await
        // Manifests set missing settings to empty variables.
        .filter(|region| !region.as_ref().is_empty())
        .unwrap_or(Region::from_static(DEFAULT_REGION))
}

/// Returns the endpoint set in the environment or profile, for this service or for all.
fn endpoint(shared: &SdkConfig) -> Option<String> {
    let all = shared.endpoint_url().map(str::to_owned);
    if shared.get_origin("endpoint_url").is_client_config() {
        return all;
    }
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    shared.service_config().and_then(|config| config.load_config(key)).or(all)
}

/// Returns the source of credentials, in the usual order. The instance metadata service is queried
/// only for an AWS endpoint: its credentials are not valid elsewhere.
fn credentials(
    settings: &S3Settings,
    endpoint_is_set: bool,
    region: &Region,
    client: SharedHttpClient,
) -> SharedCredentialsProvider {
    if let Some(keys) = &settings.credentials {
        return SharedCredentialsProvider::new(keys.clone());
    }
    let config =
        ProviderConfig::default().with_region(Some(region.clone())).with_http_client(client);
    let chain = CredentialsProviderChain::first_try(
        "environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else("profile", ProfileFileCredentialsProvider::builder().configure(&config).build())
    .or_else(
        "web identity",
        WebIdentityTokenCredentialsProvider::builder().configure(&config).build(),
    )
    .or_else("container", EcsCredentialsProvider::builder().configure(&config).build());
    if endpoint_is_set {
        return SharedCredentialsProvider::new(chain);
    }
    let machine = ImdsCredentialsProvider::builder().configure(&config).build();
    SharedCredentialsProvider::new(chain.or_else("machine", machine))
}

fn client_builder() -> aws_smithy_http_client::Builder {
    aws_smithy_http_client::Builder::new().pool_max_idle_per_host(IDLE_CONNECTIONS)
}

/// Makes the HTTPS client, which trusts either the given certificates or the system's.
fn https_client(ca_bundle: Option<&Path>) -> Result<SharedHttpClient, StepError> {
    let mut context = TlsContext::builder();
    if let Some(path) = ca_bundle {
        let pem = fs::read(path).map_err(|e| StepError::reading(path, &e))?;
        check_certificates(path, &pem)?;
        context = context.with_trust_store(TrustStore::empty().with_pem_certificate(pem));
    }
    let context = context.build().map_err(|e| StepError::bug(format!("no TLS context: {e}")))?;
    let provider = Provider::Rustls(CryptoMode::Ring);
    Ok(client_builder().tls_provider(provider).tls_context(context).build_https())
}

/// Checks that the certificates are valid. The client panics on an invalid certificate, so this
/// check comes first.
fn check_certificates(path: &Path, pem: &[u8]) -> Result<(), StepError> {
    let refused = |why: &str| {
        Err(StepError::usage(format!("`{}` {why}", path.display()))
            .hint("`AWS_CA_BUNDLE` names a PEM file with the certificates to trust"))
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        if !certificate.is_ok_and(|certificate| store.add(certificate).is_ok()) {
            return refused("holds something that is not a certificate");
        }
    }
    if store.is_empty() { refused("holds no certificate") } else { Ok(()) }
}

/// Returns the endpoint without parts that could contain secrets.
fn shown(url: &str) -> Result<String, StepError> {
    let wrong = |why: &str| {
        Err(StepError::usage(format!("the endpoint's URL {why}"))
            .hint("`AWS_ENDPOINT_URL_S3` is like `http://minio.example:9000`"))
    };
    let Some((scheme @ ("http" | "https"), rest)) = url.split_once("://") else {
        return wrong("begins with neither `http://` nor `https://`");
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return wrong("holds a user or password, which belong into `AWS_ACCESS_KEY_ID`");
    }
    Ok(format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_shown_without_secrets() {
        assert_eq!(shown("https://minio:9000/x?y=hunter2").unwrap(), "https://minio:9000");
        for url in ["ftp://host", "minio:9000", "http://me:hunter2@host"] {
            let error = shown(url).unwrap_err();
            assert_eq!(error.kind, contract::ErrorKind::Usage);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn invalid_bundle_path_is_a_usage_error_that_names_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("ca.pem");
        let wrong = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (content, words) in [("", "no certificate"), (wrong, "not a certificate")] {
            contract::artifact::write_file(&path, content.as_bytes()).unwrap();
            let error = https_client(Some(&path)).unwrap_err();
            assert_eq!(error.kind, contract::ErrorKind::Usage);
            assert!(error.message.contains("ca.pem") && error.message.contains(words), "{error}");
        }
        https_client(Some(&temp.path().join("absent"))).unwrap_err();
    }
}
