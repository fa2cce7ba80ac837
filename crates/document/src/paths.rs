//! The files a document names: secrets, certificates, files of channels and metrics.

use std::path::{Path, PathBuf};

use crate::Document;
use crate::alerts::{Channel, Secret};
use crate::document::BasicAuth;
use crate::scoring::Metrics;
use crate::sources::Source;

/// The files a document names, by what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedFiles {
    /// Secrets and certificates of the sources.
    pub source: Vec<PathBuf>,
    /// Secrets and certificates of the server that takes metrics, and the file they are written to.
    pub metrics: Vec<PathBuf>,
    /// Secrets and certificates of the alert channels, and the files they are.
    pub alerts: Vec<PathBuf>,
}

impl Document {
    /// Makes the files it names absolute: relative ones are below `base`, the document's folder, so
    /// that a copy of the document elsewhere names the same files.
    ///
    /// Where the samples and the scenario log lie is not among them: the steps get those as flags.
    #[must_use]
    pub fn with_base(mut self, base: &Path) -> Self {
        for path in self.paths_mut().filter(|path| path.is_relative()) {
            *path = base.join(&*path);
        }
        self
    }

    /// Returns the files it names, as it names them.
    pub fn files(&self) -> NamedFiles {
        let mut document = self.clone();
        let copies =
            |paths: Vec<&mut PathBuf>| paths.into_iter().map(|path| path.clone()).collect();
        NamedFiles {
            source: copies(document.sources.values_mut().flat_map(Source::files_mut).collect()),
            metrics: copies(of_metrics(&mut document.scoring.metrics)),
            alerts: copies(document.alerts.channels.iter_mut().flat_map(of_channel).collect()),
        }
    }

    fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let paths = self.sources.values_mut().flat_map(Source::files_mut);
        let paths = paths.chain(of_metrics(&mut self.scoring.metrics));
        paths.chain(self.alerts.channels.iter_mut().flat_map(of_channel))
    }
}

fn of_metrics(metrics: &mut Metrics) -> Vec<&mut PathBuf> {
    let mut paths: Vec<&mut PathBuf> = Vec::new();
    paths.extend(&mut metrics.textfile);
    if let Some(remote) = &mut metrics.remote_write {
        paths.extend(&mut remote.bearer_token_file);
        paths.extend(password(&mut remote.basic_auth));
        paths.extend(&mut remote.ca_file);
        paths.extend(&mut remote.client_identity_file);
    }
    paths
}

fn of_channel(channel: &mut Channel) -> Vec<&mut PathBuf> {
    let mut paths: Vec<&mut PathBuf> = Vec::new();
    match channel {
        Channel::Stdout(_) => {}
        Channel::File(channel) => paths.push(&mut channel.path),
        Channel::Telegram(channel) => paths.extend(secret(&mut channel.token)),
        Channel::Slack(channel) => paths.extend(secret(&mut channel.webhook)),
        Channel::Alertmanager(channel) => {
            paths.extend(&mut channel.bearer_token_file);
            paths.extend(password(&mut channel.basic_auth));
            paths.extend(&mut channel.ca_file);
            paths.extend(&mut channel.client_identity_file);
        }
        Channel::Webhook(channel) => {
            paths.extend(channel.signing_key.as_mut().and_then(secret));
            paths.extend(&mut channel.ca_file);
        }
        Channel::Email(channel) => {
            paths.extend(channel.password.as_mut().and_then(secret));
            paths.extend(&mut channel.ca_file);
        }
    }
    paths
}

fn password(auth: &mut Option<BasicAuth>) -> Option<&mut PathBuf> {
    auth.as_mut().map(|auth| &mut auth.password_file)
}

fn secret(secret: &mut Secret) -> Option<&mut PathBuf> {
    match secret {
        Secret::File(path) => Some(path),
        Secret::Env(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relative_file_is_below_the_base_and_absolute_ones_stay() {
        let auth = "{username: u, password_file: p}";
        let text = format!(
            "format: 1\nname: x\nstep: 1m\nrange: 1d\n\
             sources: {{main: {{prometheus: {{url: 'http://h', bearer_token_file: t, ca_file: /c}}, \
             queries: [{{name: up, promql: up}}]}}}}\nfeatures: [{{raw: {{}}}}]\nmodels: {{z_score: {{}}}}\n\
             vote: {{combine: mean, limit: {{quantile: {{share: 0.99}}}}}}\n\
             scoring: {{metrics: {{textfile: m, remote_write: {{url: 'http://h', basic_auth: {auth}}}}}}}\n\
             alerts: {{channels: [{{file: {{path: f}}}}, {{telegram: {{chat: '1', token: {{file: t}}}}}}, \
             {{slack: {{webhook: {{env: S}}}}}}]}}\n"
        );
        let mut document = crate::parse("x.yaml", &text).unwrap().with_base(Path::new("/base"));
        let paths: Vec<&Path> = document.paths_mut().map(|path| path.as_path()).collect();
        let expected = ["/base/t", "/c", "/base/m", "/base/p", "/base/f", "/base/t"];
        assert_eq!(paths, expected.map(Path::new));
        let NamedFiles { source, metrics, alerts } = document.files();
        assert_eq!([source, metrics, alerts].concat(), expected.map(PathBuf::from));
    }
}
