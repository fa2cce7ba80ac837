//! A kubeconfig file: the server, its CA and the client's credentials. Credential plugins are not
//! run.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use client::Pem;
use contract::StepError;
use document::Secret;
use document::http::{Auth, HttpServer};
use fs_err as fs;
use serde::Deserialize;

use super::api::Place;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kubeconfig {
    #[serde(rename = "current-context")]
    current_context: String,
    contexts: Vec<Named<Context>>,
    clusters: Vec<Named<Cluster>>,
    users: Vec<Named<User>>,
}

/// An item of a list: its name, and its content in another field.
#[derive(Debug, Deserialize)]
struct Named<T> {
    name: String,
    #[serde(alias = "context", alias = "cluster", alias = "user")]
    item: T,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    exec: Option<serde_json::Value>,
    auth_provider: Option<serde_json::Value>,
}

/// Reads the server of a context.
///
/// Errors: usage for a file that cannot be read, a name that is not in it, and credentials that
/// need a plugin.
pub(super) fn place(
    field: &str,
    path: &Path,
    server: HttpServer,
    context: Option<&str>,
) -> Result<Place, StepError> {
    let text = fs::read_to_string(path).map_err(|error| StepError::reading(path, &error))?;
    let file = Reader { field, path };
    // The parser's message could contain a secret.
    let config: Kubeconfig =
        serde_saphyr::from_str(&text).map_err(|_| file.wrong("is not a kubeconfig"))?;
    let context = context.unwrap_or(&config.current_context);
    let names = file.find(&config.contexts, "context", context)?;
    let cluster = file.find(&config.clusters, "cluster", &names.cluster)?;
    let nobody = User::default();
    let user = if names.user.is_empty() {
        &nobody
    } else {
        file.find(&config.users, "user", &names.user)?
    };
    if cluster.insecure_skip_tls_verify {
        return Err(file
            .wrong("has `insecure-skip-tls-verify`, which is not supported")
            .hint("name the certificates to trust with certificate-authority"));
    }
    if user.exec.is_some() || user.auth_provider.is_some() {
        return Err(file
            .wrong("has a user whose credentials a program makes, which is not run")
            .hint(format!("run `kubectl proxy`, and set {field}.url to http://127.0.0.1:8001")));
    }
    let ca = file.pem(cluster.certificate_authority_data.as_deref(), None)?;
    let certificate =
        file.pem(user.client_certificate_data.as_deref(), user.client_certificate.as_deref())?;
    let key = file.pem(user.client_key_data.as_deref(), user.client_key.as_deref())?;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some([certificate, b"\n".to_vec(), key].concat()),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(file.wrong("has a client certificate or its key, and not both"));
        }
    };
    let mut server = server;
    server.url =
        cluster.server.parse().map_err(|_| file.wrong("has a server that is not a URL"))?;
    server.tls.ca_file = cluster.certificate_authority.as_ref().map(|it| file.beside(it));
    // Values of headers are kept out of errors.
    let token = user.token.as_ref().map(|token| format!("Bearer {token}"));
    server.headers.extend(token.map(|value| ("Authorization".to_owned(), value)));
    let token_file = user.token_file.as_ref().map(|it| Secret::File(file.beside(it)));
    server.auth = token_file.map(Auth::BearerToken);
    Ok(Place { server, pem: Pem { ca, identity } })
}

/// A file that is read.
struct Reader<'a> {
    field: &'a str,
    path: &'a Path,
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> StepError {
        StepError::usage(format!("`{}.kubeconfig`: `{}` {what}", self.field, self.path.display()))
            .hint("check the file with `kubectl config view`")
    }

    fn find<'c, T>(&self, all: &'c [Named<T>], kind: &str, name: &str) -> Result<&'c T, StepError> {
        let found = all.iter().find(|one| one.name == name);
        found.map(|one| &one.item).ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
            self.wrong(&format!("has no {kind} `{name}`"))
                .hint(format!("it has: {}", known.join(", ")))
        })
    }

    /// Returns a path that is relative to the file.
    fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn pem(&self, data: Option<&str>, file: Option<&Path>) -> Result<Option<Vec<u8>>, StepError> {
        match (data, file) {
            (Some(data), _) => {
                let bytes = BASE64_STANDARD.decode(data.trim());
                bytes.map(Some).map_err(|_| self.wrong("holds data that is not base64"))
            }
            (None, Some(file)) => {
                let path = self.beside(file);
                fs::read(&path).map(Some).map_err(|error| StepError::reading(&path, &error))
            }
            (None, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
apiVersion: v1
kind: Config
current-context: dev
contexts:
  - {name: dev, context: {cluster: c, user: u, namespace: x}}
  - {name: cloud, context: {cluster: c, user: cloud}}
  - {name: broken, context: {cluster: nowhere, user: u}}
  - {name: loose, context: {cluster: loose, user: u}}
clusters:
  - {name: c, cluster: {server: 'https://10.0.0.1:6443', certificate-authority-data: Q0EK}}
  - {name: loose, cluster: {server: 'https://10.0.0.1:6443', insecure-skip-tls-verify: true}}
users:
  - {name: u, user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ, token: hunter2-hunter2}}
  - {name: cloud, user: {exec: {command: gke-gcloud-auth-plugin}}}
";

    fn server() -> HttpServer {
        let url = "https://none".parse().unwrap();
        document::http::Http::new(url, document::sources::kubernetes::KubernetesSource::default())
            .server
    }

    #[test]
    fn the_context_names_server_certificates_and_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, CONFIG).unwrap();
        let found = place("sources.k.kubernetes", &path, server(), None).unwrap();
        assert_eq!(found.server.url.to_string(), "https://10.0.0.1:6443");
        assert_eq!(found.pem.ca.as_deref(), Some(&b"CA\n"[..]));
        assert_eq!(found.pem.identity.as_deref(), Some(&b"CERT\nKEY"[..]));
        assert_eq!(found.server.headers["Authorization"], "Bearer hunter2-hunter2");
        for (context, expected) in [
            ("cloud", "a program makes"),
            ("broken", "no cluster `nowhere`"),
            ("none", "no context `none`"),
            ("loose", "insecure-skip-tls-verify"),
        ] {
            let error = place("sources.k.kubernetes", &path, server(), Some(context)).unwrap_err();
            assert!(error.message.contains(expected), "{}", error.message);
            assert!(!format!("{error}").contains("hunter2"));
        }
        fs::write(&path, "users: [{token: hunter2").unwrap();
        let error = place("sources.k.kubernetes", &path, server(), None).unwrap_err();
        assert!(!format!("{error}").contains("hunter2"), "{error}");
    }
}
