//! The sinks of the step `export`: one file for each, with its settings and its description.
//!
//! To add one: write its file here and its code in `steps/export/src/sinks`, and register it by one
//! line in the table below and its `mod` line there.

use crate::extension::register;
use crate::http::Http;

/// Passes the table of the sinks to the macro of a name: a line for each with its name, its variant
/// of `Sink` and the type of its settings.
///
/// The name of a sink is its name in a document, and the name of its module here, which this table
/// declares, and of its module in the step `export`. `cargo fmt` formats no modules that a macro
/// declares, so `tests/gate.sh` passes these files to `rustfmt`.
#[macro_export]
macro_rules! sinks {
    ($macro:ident) => {
        $macro! {
            /// A server that accepts samples by the Prometheus remote-write protocol.
            remote_write: RemoteWrite(Http<remote_write::RemoteWriteSink>),
            /// Classes of pods, as events and annotations in their cluster.
            kubernetes: Kubernetes(Http<kubernetes::KubernetesSink>),
            /// A table of a `PostgreSQL` database.
            postgres: Postgres(postgres::PostgresSink),
            /// A file in the Prometheus text format.
            textfile: Textfile(textfile::TextfileSink),
        }
    };
}

/// Declares the modules and [`Sink`].
macro_rules! declare {
    ($($table:tt)*) => {
        register! {
            /// A system to which scores are published.
            Sink { $($table)* }
        }
    };
}

sinks!(declare);
