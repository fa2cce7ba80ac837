//! The sinks of the step `export`: one file for each, with its settings and its description.
//!
//! To add one: write its file here and its code in `steps/export/src/sinks`, and register it by one
//! variant here and one arm there.

pub mod kubernetes;
pub mod postgres;
pub mod remote_write;
pub mod textfile;

use crate::extension::register;
use crate::http::Http;

register! {
    /// A system to which scores are published.
    Sink {
        /// A server that accepts samples by the Prometheus remote-write protocol.
        RemoteWrite(Http<remote_write::RemoteWriteSink>),
        /// Classes of pods, as events and annotations in their cluster.
        Kubernetes(Http<kubernetes::KubernetesSink>),
        /// A table of a `PostgreSQL` database.
        Postgres(postgres::PostgresSink),
        /// A file in the Prometheus text format.
        Textfile(textfile::TextfileSink),
    }
}
