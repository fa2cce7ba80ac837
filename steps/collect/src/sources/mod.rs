//! The kinds of sources: one module for each, and code of several.

pub(crate) mod exporter;
pub(crate) mod features;
pub(crate) mod influxdb;
pub(crate) mod kubernetes;
pub(crate) mod postgres;
pub(crate) mod prometheus;
pub(crate) mod queries;
pub(crate) mod recorded;
pub(crate) mod recording;
pub(crate) mod table;
pub(crate) mod tetragon;
