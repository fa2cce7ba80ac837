//! The description of an extension (a source, an alert channel, a sink) for other code; it is in
//! the same file as the extension's settings.
//!
//! The checks of a document, its list of files, and the network policies and Secrets of a cluster
//! are loops over the extensions of a document. To add an extension, write its file and register
//! it.

use std::path::{Path, PathBuf};

use contract::Stage;

use crate::Document;
use crate::below::below;
use crate::http::{Http, HttpSettings, InCluster};
use crate::postgres::PostgresTable;
use crate::problem::{Problem, Problems};
use crate::secret::Secret;

/// The settings of an extension.
pub trait Extension {
    /// Returns its name in a document, such as `telegram`.
    fn name(&self) -> &'static str;

    /// Checks rules that types do not enforce; fields in the problem are those of the extension.
    fn check(&self) -> Result<(), Problem> {
        Ok(())
    }

    /// Returns the secrets it names, each with its field.
    fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        Vec::new()
    }

    /// Returns the files it names, apart from those of its secrets.
    fn files_mut(&mut self) -> Vec<(FileUse, &mut PathBuf)> {
        Vec::new()
    }

    /// Returns its network destinations.
    fn destinations(&self) -> Vec<Destination> {
        Vec::new()
    }

    /// Returns the permissions that its account needs in a cluster: resource of the core API, and
    /// verb.
    fn permissions(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// Returns whether its output is lost with the pod that sent it.
    fn is_lost_with_pod(&self) -> bool {
        false
    }

    /// Returns the table into which recorders write their samples, if it is configured for samples.
    fn samples(&self) -> Option<PostgresTable<'_>> {
        None
    }
}

/// Declares the modules of a table of extensions, and the enum of the document: a variant for each,
/// with its name in snake case, which returns its settings as an [`Extension`].
macro_rules! register {
    (
        $(#[$about:meta])* $section:ident {
            $($(#[$doc:meta])* $module:ident: $name:ident($settings:ty),)*
        }
    ) => {
        $(pub mod $module;)*

        $(#[$about])*
        #[derive(
            Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        #[serde(rename_all = "snake_case")]
        #[allow(clippy::large_enum_variant, reason = "a document holds a handful of them")]
        pub enum $section {
            $($(#[$doc])* $name($settings),)*
        }

        impl $section {
            /// Returns the settings of the variant as an extension.
            pub fn extension(&self) -> &dyn $crate::extension::Extension {
                match self {
                    $(Self::$name(settings) => settings,)*
                }
            }

            /// Returns the settings of the variant as a mutable extension.
            pub(crate) fn extension_mut(&mut self) -> &mut dyn $crate::extension::Extension {
                match self {
                    $(Self::$name(settings) => settings,)*
                }
            }
        }
    };
}
pub(crate) use register;

/// An extension with an HTTP server has the server's secrets, files and destination, and adds its
/// own.
impl<T: HttpSettings> Extension for Http<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn check(&self) -> Result<(), Problem> {
        self.server.check()?;
        self.own.check()
    }

    fn secrets_mut(&mut self) -> Vec<(&'static str, &mut Secret)> {
        let mut secrets = self.own.secrets_mut();
        secrets.extend(self.server.secret_mut());
        secrets
    }

    fn files_mut(&mut self) -> Vec<(FileUse, &mut PathBuf)> {
        let files = self.own.files_mut().into_iter().chain(self.server.tls.files_mut());
        files.map(|path| (FileUse::Read, path)).collect()
    }

    fn destinations(&self) -> Vec<Destination> {
        vec![self.server.destination()]
    }

    fn permissions(&self) -> Vec<(&'static str, &'static str)> {
        self.own.permissions()
    }
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileUse {
    /// It must exist: a secret or a certificate.
    Read,
    /// It is created or replaced.
    Written,
}

/// A network destination that a pod must be able to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Name or address of the server, an IPv6 address without brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The pods behind the name, if the document sets them.
    pub in_cluster: Option<InCluster>,
}

/// A file that a document names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The extension that names it, such as `alerts.channels.0.telegram`.
    pub field: String,
    /// What it is for.
    pub file_use: FileUse,
    /// The file, as the document names it.
    pub path: PathBuf,
}

/// Requirements of the extensions of one step on its environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Files they read and write.
    pub files: Vec<NamedFile>,
    /// Environment variables they take secrets from.
    pub variables: Vec<String>,
    /// Their network destinations, without duplicates.
    pub destinations: Vec<Destination>,
}

/// An extension and its field in a document.
pub(crate) struct Registered<'a> {
    /// The step that holds its code.
    pub(crate) stage: Stage,
    /// Its section, without its name, such as `alerts.channels.0`.
    section: String,
    pub(crate) extension: &'a mut dyn Extension,
}

impl Registered<'_> {
    /// Returns its field, such as `alerts.channels.0.telegram`.
    pub(crate) fn field(&self) -> String {
        format!("{}.{}", self.section, self.extension.name())
    }
}

impl Document {
    /// Returns every extension that the document uses; all other lists are derived from this one.
    pub(crate) fn extensions_mut(&mut self) -> Vec<Registered<'_>> {
        let sources = self.sources.iter_mut().flat_map(|(name, source)| {
            source.extensions_mut().into_iter().map(move |extension| Registered {
                stage: Stage::Collect,
                section: format!("sources.{name}"),
                extension,
            })
        });
        let sinks = self.exports.iter_mut().map(|(name, sink)| Registered {
            stage: Stage::Export,
            section: format!("exports.{name}"),
            extension: sink.extension_mut(),
        });
        let channels = self.alerts.channels.iter_mut().enumerate();
        let channels = channels.map(|(index, channel)| Registered {
            stage: Stage::Alert,
            section: format!("alerts.channels.{index}"),
            extension: channel.extension_mut(),
        });
        let heartbeat = self.alerts.heartbeat.iter_mut().map(|heartbeat| Registered {
            stage: Stage::Alert,
            section: "alerts".to_owned(),
            extension: heartbeat,
        });
        // No step contains this code: it runs in the program that started the training.
        let tracking = self.tracking.extensions_mut().into_iter().map(|extension| Registered {
            stage: Stage::Report,
            section: "tracking".to_owned(),
            extension,
        });
        sources.chain(sinks).chain(channels).chain(heartbeat).chain(tracking).collect()
    }

    /// Returns the requirements of the extensions of a step.
    pub fn needs(&self, stage: Stage) -> Needs {
        let mut document = self.clone();
        let mut needs = Needs::default();
        let of_stage = |it: &Registered<'_>| it.stage == stage;
        for it in document.extensions_mut().into_iter().filter(of_stage) {
            let field = it.field();
            let named = |file_use, path: &PathBuf| NamedFile {
                field: field.clone(),
                file_use,
                path: path.clone(),
            };
            for (_, secret) in it.extension.secrets_mut() {
                needs.files.extend(secret.file().map(|path| named(FileUse::Read, path)));
                needs.variables.extend(secret.variable().map(str::to_owned));
            }
            let files = it.extension.files_mut();
            needs.files.extend(files.into_iter().map(|(file_use, path)| named(file_use, path)));
            for destination in it.extension.destinations() {
                if !needs.destinations.contains(&destination) {
                    needs.destinations.push(destination);
                }
            }
        }
        needs
    }

    /// Makes the files it names absolute: relative ones are below `base`, the document's folder, so
    /// that a copy of the document elsewhere names the same files.
    ///
    /// The paths of samples and of the scenario log are not among them: steps get these as flags.
    #[must_use]
    pub fn with_base(mut self, base: &Path) -> Self {
        let absolute = |path: &mut PathBuf| *path = below(base, path);
        for it in self.extensions_mut() {
            for (_, secret) in it.extension.secrets_mut() {
                secret.file_mut().into_iter().for_each(absolute);
            }
            it.extension.files_mut().into_iter().for_each(|(_, path)| absolute(path));
        }
        self
    }

    /// Checks every extension; each has at most one problem.
    pub(crate) fn check_extensions(&self, problems: &mut Problems) {
        for it in self.clone().extensions_mut() {
            let field = it.field();
            let mut checked = it.extension.check();
            for (name, secret) in it.extension.secrets_mut() {
                checked = checked.and_then(|()| secret.check(name));
            }
            problems.add(checked.map_err(|problem| problem.inside(&field)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let text = "format: 1\nname: x\nstep: 1m\nrange: 1d\n\
             sources: {main: {prometheus: {url: 'http://h', auth: {bearer_token: {file: t}}, \
             tls: {ca_file: /c}}, queries: [{name: up, promql: up}]}}\nfeatures: [raw]\nmodels: {z_score: {}}\n\
             vote: {combine: mean, threshold: {quantile: {share: 0.99}}}\n\
             exports:\n  node: {textfile: {path: m}}\n  mimir: {remote_write: {url: 'http://h', \
             auth: {basic: {username: u, password: {file: p}}}}}\n\
             alerts: {channels: [{file: {path: f}}, {telegram: {chat: '1', token: {file: t}}}, \
             {slack: {webhook: {env: S}}}, {webhook: {url: 'https://api.telegram.org'}}]}\n";
        crate::parse("x.yaml", text).unwrap()
    }

    #[test]
    fn relative_files_are_below_the_base_and_absolute_ones_stay() {
        let document = document().with_base(Path::new("/base"));
        let files = |stage| document.needs(stage).files.into_iter().map(|file| file.path);
        assert_eq!(files(Stage::Collect).collect::<Vec<_>>(), ["/base/t", "/c"].map(PathBuf::from));
        assert_eq!(
            files(Stage::Export).collect::<Vec<_>>(),
            ["/base/p", "/base/m"].map(PathBuf::from)
        );
        assert_eq!(
            files(Stage::Alert).collect::<Vec<_>>(),
            ["/base/f", "/base/t"].map(PathBuf::from)
        );
    }

    #[test]
    fn needs_of_a_step_are_those_of_its_extensions() {
        let needs = document().needs(Stage::Alert);
        assert_eq!(needs.variables, ["S"]);
        let hosts: Vec<&str> = needs.destinations.iter().map(|it| it.host.as_str()).collect();
        assert_eq!(hosts, ["api.telegram.org", "hooks.slack.com"], "each once");
        assert_eq!(needs.files[0].field, "alerts.channels.0.file");
        assert_eq!(needs.files[0].file_use, FileUse::Written);
        assert_eq!(document().needs(Stage::Feature), Needs::default());
    }

    #[test]
    fn name_of_an_extension_is_that_of_its_field() {
        let mut document = document();
        let written = serde_json::to_value(&document).unwrap();
        for it in document.extensions_mut() {
            let place = format!("/{}", it.field().replace('.', "/"));
            assert!(written.pointer(&place).is_some(), "{place}");
        }
    }
}
