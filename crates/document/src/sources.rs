//! The section `sources`: named sources of samples, each of one kind, and their columns.
//!
//! Each kind is described in one file below: its settings, their checks, its secrets, its data and
//! its servers. All other code uses `SourceKind`.
//!
//! To add one: write its file here and its code in `steps/collect/src/sources`, and register it by
//! one line in the table below and its `mod` line there.

mod columns;
mod entity;
pub mod flows;
mod kind;

use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Document;
use crate::extension::Extension;
use crate::http::Http;
use crate::problem::{Problem, Problems, is_name, problem, require};

pub use columns::{ColumnValues, SampleColumn, column_names};
pub use entity::Entity;
pub use kind::OfNode;

pub(crate) use kind::SourceKind;

/// Passes the table of the kinds to the macro of a name: a line for each with its name, its variant
/// of `Kind` and the type of its settings.
///
/// The name of a kind is its name in a document, and the name of its module here, which this table
/// declares, and of its module in the step `collect`. `cargo fmt` formats no modules that a macro
/// declares, so `tests/gate.sh` passes these files to `rustfmt`.
#[macro_export]
macro_rules! sources {
    ($macro:ident) => {
        $macro! {
            /// A Prometheus, or a server with its HTTP API such as Thanos or Mimir.
            prometheus: Prometheus(Http<prometheus::PrometheusSource>),
            /// Replies of a Prometheus, recorded with `collect --record`.
            recording: Recording(recording::RecordingSource),
            /// A table in a file.
            table: Table(table::TableSource),
            /// Exporters with Prometheus' text format, scraped without a Prometheus.
            exporter: Exporter(exporter::ExporterSource),
            /// An `InfluxDB`.
            influxdb: Influxdb(Http<influxdb::InfluxdbSource>),
            /// The pods of a Kubernetes cluster, from its API.
            kubernetes: Kubernetes(Http<kubernetes::KubernetesSource>),
            /// Samples that were recorded in the store.
            recorded: Recorded(recorded::RecordedSource),
            /// A table or a query of a `PostgreSQL` database.
            postgres: Postgres(postgres::PostgresSource),
            /// Process events from the JSON export of Tetragon.
            tetragon: Tetragon(tetragon::TetragonSource),
            /// A feature group of the catalogue.
            features: Features(features::FeaturesSource),
        }
    };
}

/// Declares the module of each kind, its field of [`Source`] and its variant of [`Kind`].
macro_rules! declare {
    ($($(#[$doc:meta])* $field:ident: $variant:ident($settings:ty),)*) => {
        $(pub mod $field;)*

        /// A source of samples. Exactly one kind is set; the other fields are the same for all
        /// kinds.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Source {
            $(
                $(#[$doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$settings>,
            )*
            /// Queries to a server or a recording; each fills one column.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub queries: Vec<Query>,
            /// Names of the entities: the label with the name, and rules that change it.
            #[serde(skip_serializing_if = "Entity::is_default")]
            pub entity: Entity,
            /// Label or tag of the series whose value is the label of the row. For `task: classify`
            /// this is the declared class. If an entity has several series, the first query counts.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub label: Option<String>,
            /// Greatest age of a row that is joined to a window: the last row in `(window end -
            /// tolerance, window end]` is used. With 0 only rows at the window's end are used. For
            /// a source with samples less often than `step`, set the interval of its samples.
            pub tolerance: Span,
            /// Joins the rows, which name no entity, to every entity of the other sources.
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            pub broadcast: bool,
        }

        /// The settings of a source, by kind.
        #[derive(Debug, Clone, Copy)]
        pub enum Kind<'a> {
            $($(#[$doc])* $variant(&'a $settings),)*
        }

        impl Source {
            /// Names of all kinds.
            pub const KINDS: &'static [&'static str] = &[$(stringify!($field)),*];

            /// Returns the kinds that are set, by name; one in a document that was checked.
            pub fn kinds(&self) -> Vec<(&'static str, Kind<'_>)> {
                let mut kinds = Vec::new();
                $(kinds.extend(self.$field.as_ref().map(|it| (stringify!($field), Kind::$variant(it))));)*
                kinds
            }

            /// Returns the kind to be changed; `None` if none is set.
            pub(crate) fn settings_mut(&mut self) -> Option<&mut dyn SourceKind> {
                $(if let Some(settings) = self.$field.as_mut() {
                    return Some(settings);
                })*
                None
            }

            /// Returns the kinds that are set.
            pub(crate) fn extensions_mut(&mut self) -> Vec<&mut dyn Extension> {
                let mut kinds: Vec<&mut dyn Extension> = Vec::new();
                $(kinds.extend(self.$field.as_mut().map(|it| it as &mut dyn Extension));)*
                kinds
            }
        }

        impl<'a> Kind<'a> {
            /// Returns the description of the kind.
            pub(crate) fn settings(self) -> &'a dyn SourceKind {
                match self {
                    $(Self::$variant(settings) => settings,)*
                }
            }
        }
    };
}

sources!(declare);

/// One query and the column it fills.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Name of the column: lower-case letters, digits and `_`.
    pub name: String,
    /// Unit of its values: `seconds`, `bytes`, `per_second`, `ratio`, ...
    #[serde(default)]
    pub unit: String,
    /// The query; `$rate_window` stands for the document's rate window.
    pub promql: String,
    /// Alternative queries for times at which the query has no value, in order of preference: the
    /// same quantity with the names of other distributions or exporters. All are sent as one query,
    /// joined with `or`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub or: Vec<String>,
    /// Whether a training is refused if the query returns no series. Otherwise the column is left
    /// out of the training and of the model, with a warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Label whose value is the entity, instead of the source's `entity.labels`. Without an entity
    /// label the query must return one series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
}

impl Source {
    /// Returns the kind; `None` if a document that was not checked sets none.
    pub fn kind(&self) -> Option<Kind<'_>> {
        self.kinds().first().map(|(_, kind)| *kind)
    }

    /// Returns the file or folder that holds the samples; `None` for a server.
    pub fn data(&self) -> Option<&PathBuf> {
        self.kind().and_then(|kind| kind.settings().data())
    }

    /// Makes the value of a label, tag or column the label of the rows, and returns whether the
    /// source can.
    pub(crate) fn set_label(&mut self, label: &str) -> bool {
        if self.kind().is_some_and(|kind| kind.settings().takes_label()) {
            self.label = Some(label.to_owned());
            return true;
        }
        self.settings_mut().is_some_and(|settings| settings.set_label(label))
    }

    /// Returns whether the source adds a label to its rows.
    pub(crate) fn has_label(&self) -> bool {
        self.label.is_some() || self.kind().is_some_and(|kind| kind.settings().has_label())
    }

    /// Returns whether a shard fetches only the rows with its own values of the label.
    pub(crate) fn narrows_to_shard(&self) -> bool {
        self.kind().is_some_and(|kind| kind.settings().narrows_to_shard())
    }

    /// Returns whether separate data of the source is the test part.
    pub(crate) fn has_test(&self) -> bool {
        self.kind().is_some_and(|kind| kind.settings().has_test())
    }

    /// Returns whether the samples have an end, at which `now: last_row` evaluates.
    pub fn has_last_row(&self) -> bool {
        self.kind().is_some_and(|kind| kind.settings().has_last_row())
    }

    /// Returns the name of the kind, and what an agent on each node records of the source; `None`
    /// if no agent is needed.
    pub fn of_node(&self) -> Option<(&'static str, OfNode<'_>)> {
        let (name, kind) = self.kinds().first().copied()?;
        kind.settings().of_node().map(|of_node| (name, of_node))
    }

    /// Returns how old a row may be, at most, when it is joined to a window.
    pub fn max_age(&self) -> Span {
        self.kind().and_then(|kind| kind.settings().ttl()).unwrap_or(self.tolerance)
    }

    fn check(&self, name: &str) -> Result<(), Problem> {
        let path = format!("sources.{name}");
        let kinds = self.kinds();
        let [(field, kind)] = kinds.as_slice() else {
            let known = Self::KINDS.join(", ");
            return Err(problem(&path, format!("exactly one of {known} must be set"))
                .hint("to remove a kind in an overlay, set it to null, as in `prometheus: null`"));
        };
        if let Some(label) = &self.label {
            let path = format!("{path}.label");
            require(!label.trim().is_empty(), &path, || "is empty".to_owned())?;
            require(kind.settings().takes_label(), &path, || {
                format!("the series of the source kind `{field}` have no labels")
            })?;
        }
        require(self.tolerance >= Span::ZERO, &format!("{path}.tolerance"), || {
            "must be 0s or longer".to_owned()
        })?;
        self.check_texts(&path, field, kind.settings())?;
        let has_two = kind.settings().ttl().is_some() && self.tolerance > Span::ZERO;
        require(!has_two, &format!("{path}.tolerance"), || {
            format!("is `ttl` for the source kind `{field}`")
        })?;
        if !kind.settings().takes_queries() {
            return require(self.queries.is_empty(), &format!("{path}.queries"), || {
                format!("the source kind `{field}` takes no queries")
            });
        }
        require(!self.queries.is_empty(), &format!("{path}.queries"), || {
            format!("the source kind `{field}` needs at least one query")
        })
    }

    fn check_texts(
        &self,
        path: &str,
        field: &str,
        settings: &dyn SourceKind,
    ) -> Result<(), Problem> {
        let others = settings.columns(self, Span::from_seconds(1));
        for (name, label) in &self.entity.texts {
            let path = format!("{path}.entity.texts.{name}");
            require(settings.takes_texts(), &path, || {
                format!("the source kind `{field}` has no texts of its entities")
            })?;
            check_column(name, &path)?;
            let twice = others.iter().any(|column| column.name == *name);
            require(!twice, &path, || format!("the source has a column `{name}` already"))?;
            require(!label.trim().is_empty(), &path, || "is empty".to_owned())?;
        }
        Ok(())
    }

    fn check_queries(&self, path: &str, problems: &mut Problems) {
        for index in 0..self.queries.len() {
            problems.add(self.check_query(&format!("{path}.queries.{index}"), index));
        }
    }

    fn check_query(&self, path: &str, index: usize) -> Result<(), Problem> {
        let query = &self.queries[index];
        let path = |field: &str| format!("{path}.{field}");
        check_column(&query.name, &path("name"))?;
        let twice = self.queries[..index].iter().any(|other| other.name == query.name);
        require(!twice, &path("name"), || format!("two queries are named `{}`", query.name))?;
        require(!query.promql.trim().is_empty(), &path("promql"), || "is empty".to_owned())?;
        let is_empty = query.or.iter().any(|other| other.trim().is_empty());
        require(!is_empty, &path("or"), || "contains an empty query".to_owned())
    }
}

/// Checks the name of a sample column.
pub(crate) fn check_column(name: &str, path: &str) -> Result<(), Problem> {
    require(is_name(name, '_'), path, || {
        format!(
            "`{name}` is not a column name: lower-case letters, digits and `_`, starting with a letter"
        )
    })?;
    let reserved = ["time", "entity", "label"].contains(&name);
    require(!reserved, path, || format!("`{name}` is a reserved column name: choose another"))
}

/// Checks all sources of a document.
pub(crate) fn check(document: &Document, problems: &mut Problems) {
    let sources = &document.sources;
    let message = || "at least one source is needed".to_owned();
    problems.add(require(!sources.is_empty(), "sources", message));
    for (name, source) in sources {
        problems.add(check_source(name, source, sources.len() == 1));
        source.check_queries(&format!("sources.{name}"), problems);
    }
}

fn check_source(name: &str, source: &Source, is_alone: bool) -> Result<(), Problem> {
    let path = format!("sources.{name}");
    require(is_name(name, '_'), &path, || {
        format!(
            "`{name}` is not a source name: lower-case letters, digits and `_`, starting with a letter"
        )
    })?;
    source.check(name)?;
    let has_other = source.kind().is_some_and(|kind| kind.settings().has_other_columns());
    require(is_alone || !has_other, &path, || {
        "one of several sources must list its `columns`".to_owned()
    })?;
    require(is_alone || !source.has_test(), &format!("{path}.table.test"), || {
        "works only in a document with one source; `lynceus predict` scores any table".to_owned()
    })?;
    require(!is_alone || !source.broadcast, &format!("{path}.broadcast"), || {
        "needs a second source: its rows are copied to the entities of the others".to_owned()
    })
}

/// Returns column patterns without those that match only queries without data: `present` are the
/// existing columns, or their features.
pub(crate) fn patterns_of_present(
    columns: &[SampleColumn],
    patterns: &[String],
    present: &[&str],
) -> Vec<String> {
    let is_absent = |pattern: &&String| {
        let name = pattern.trim_end_matches('*');
        // A feature is named after its column: `cpu_mean_30m`.
        let is_known = columns.iter().any(|column| {
            column.is_asked && (column.name.starts_with(name) || name.starts_with(&column.name))
        });
        !name.is_empty() && is_known && !present.iter().any(|it| it.starts_with(name))
    };
    patterns.iter().filter(|pattern| !is_absent(pattern)).cloned().collect()
}

impl Document {
    /// Returns the columns of the samples that the document names, source by source. If two sources
    /// have a column of the same name, both names begin with the name of the source.
    pub fn columns(&self) -> Vec<SampleColumn> {
        let of =
            |(name, source): (&String, &Source)| (name.clone(), source.columns(self.rate_window));
        let mut sources: Vec<(String, Vec<SampleColumn>)> = self.sources.iter().map(of).collect();
        let plain = sources.iter().map(|(name, columns)| {
            (name.as_str(), columns.iter().map(|column| column.name.as_str()).collect())
        });
        let names = column_names(&plain.collect::<Vec<_>>());
        for ((_, columns), names) in sources.iter_mut().zip(names) {
            columns.iter_mut().zip(names).for_each(|(column, name)| column.name = name);
        }
        sources.into_iter().flat_map(|(_, columns)| columns).collect()
    }

    /// Returns whether samples may have columns that the document does not name.
    pub fn has_other_columns(&self) -> bool {
        let mut kinds = self.sources.values().filter_map(Source::kind);
        kinds.any(|kind| kind.settings().has_other_columns())
    }

    /// Returns whether a source continuously has new samples: a server, not a file.
    pub fn is_live(&self) -> bool {
        self.sources.values().any(|source| source.data().is_none())
    }

    /// Returns whether a source reads samples that were recorded in the store.
    pub fn is_recorded(&self) -> bool {
        let mut kinds = self.sources.values().filter_map(Source::kind);
        kinds.any(|kind| kind.settings().is_recorded())
    }
}
