//! The settings of the source `tetragon`.

use std::path::PathBuf;

use contract::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{ColumnValues, SampleColumn};
use super::{OfNode, Source, SourceKind, check_column};
use crate::extension::Extension;
use crate::problem::{Problem, require};

/// The JSON export of Tetragon: process events, counted for each node and step.
///
/// A line is an event of Tetragon, unchanged, or wrapped by a container runtime (CRI, Docker) or by
/// Fluent Bit. An event counts in the step of its own time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TetragonSource {
    /// A file, plain or gzip; a folder with files `*.log`, `*.json` or `*.jsonl`, optionally with
    /// `.gz` (rotated files are read before the live one); or `-` for standard input. With `follow`
    /// the live file.
    pub path: PathBuf,
    /// Whether the live file is followed through its rotations: `lynceus record` reads it, and all
    /// other commands read the recorded samples in the store.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// How late an event may appear in the file, compared with the latest event before it. Later
    /// events are left out and counted. A window is complete this long after its end.
    pub lateness: Span,
    /// A node without events has rows of zeros for this time. After that its windows are missing,
    /// because it is unknown whether Tetragon still runs.
    pub quiet: Span,
    /// What an entity is.
    #[serde(skip_serializing_if = "EventEntity::is_node")]
    pub entity: EventEntity,
    /// Node name for events without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Folders from which no program should be started.
    pub temporary_folders: Vec<String>,
    /// Kernel functions whose events are connections. List only one of them if several policies
    /// report the same connection.
    pub connect_functions: Vec<String>,
    /// Whether connections to loopback addresses count, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub loopback: bool,
    /// Ports to which crypto miners and reverse shells usually connect.
    pub mining_ports: Vec<u16>,
    /// Events with a separate column, `event_<name>_count`: `exit`, `loader`, `uprobe`, `usdt`, or
    /// the name of a kernel function, tracepoint or system call without its prefix, such as
    /// `tcp_close` or `ptrace`. All others are counted in `event_other_count`.
    pub events: Vec<String>,
}

/// What an entity of process events is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventEntity {
    /// The node.
    #[default]
    Node,
    /// The pod, as `namespace/name`. Events without a pod count for their node.
    Pod,
}

impl EventEntity {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    fn is_node(&self) -> bool {
        *self == Self::Node
    }
}

impl Default for TetragonSource {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            path: "/var/log/tetragon/tetragon.log".into(),
            follow: false,
            lateness: Span::from_seconds(10),
            quiet: Span::from_seconds(300),
            entity: EventEntity::Node,
            node: None,
            temporary_folders: words(&["/tmp", "/dev/shm", "/var/tmp", "/run/shm"]),
            connect_functions: words(&["tcp_connect"]),
            loopback: false,
            mining_ports: vec![3333, 4444, 5555, 7777, 8333, 9999, 14433, 14444, 45560, 45700],
            events: words(&[
                "exit",
                "tcp_close",
                "tcp_sendmsg",
                "ptrace",
                "mount",
                "setns",
                "unshare",
                "bpf",
            ]),
        }
    }
}

impl TetragonSource {
    /// Columns before those of the named events, with their units.
    const FIRST: [(&'static str, &'static str); 8] = [
        ("exec_count", "events"),
        ("unique_process_count", "programs"),
        ("process_name_entropy_bits", "bits"),
        ("tmp_exec_count", "events"),
        ("in_container_exec_count", "events"),
        ("outbound_connect_count", "events"),
        ("unique_destination_count", "destinations"),
        ("mining_port_count", "events"),
    ];
    /// Columns after those of the named events.
    const LAST: [(&'static str, &'static str); 3] = [
        ("event_other_count", "events"),
        ("dropped_event_count", "events"),
        ("incomplete_events_ratio", "ratio"),
    ];

    /// Returns the names and units of the columns, in their order.
    pub fn named_columns(&self) -> Vec<(String, &'static str)> {
        let plain = |(name, unit): (&str, &'static str)| (name.to_owned(), unit);
        let named = self.events.iter().map(|name| (format!("event_{name}_count"), "events"));
        let first = Self::FIRST.into_iter().map(plain);
        first.chain(named).chain(Self::LAST.into_iter().map(plain)).collect()
    }
}

impl Extension for TetragonSource {
    fn name(&self) -> &'static str {
        "tetragon"
    }

    fn check(&self) -> Result<(), Problem> {
        require(!self.path.as_os_str().is_empty(), "path", || "is empty".to_owned())?;
        for (name, span) in [("lateness", self.lateness), ("quiet", self.quiet)] {
            require(span >= Span::ZERO, name, || "must be 0s or longer".to_owned())?;
        }
        for (index, folder) in self.temporary_folders.iter().enumerate() {
            require(folder.starts_with('/'), &format!("temporary_folders.{index}"), || {
                format!("`{folder}` is not an absolute path")
            })?;
        }
        for (index, name) in self.events.iter().enumerate() {
            let field = format!("events.{index}");
            check_column(name, &field)?;
            let reserved = name == "other" || self.events[..index].contains(name);
            require(!reserved, &field, || {
                format!("`{name}` is already a column of this source: use another name")
            })?;
        }
        Ok(())
    }
}

impl SourceKind for TetragonSource {
    fn columns(&self, _: &Source, _: Span) -> Vec<SampleColumn> {
        let of = |(name, unit): (String, &str)| SampleColumn {
            formula: format!("tetragon {name}"),
            name,
            unit: unit.to_owned(),
            is_promql: false,
            is_asked: false,
            is_required: true,
            values: ColumnValues::Numbers,
            entity: Some("node_name".to_owned()),
        };
        self.named_columns().into_iter().map(of).collect()
    }

    fn data(&self) -> Option<&PathBuf> {
        (!self.follow).then_some(&self.path)
    }

    fn is_recorded(&self) -> bool {
        self.follow
    }

    fn of_node(&self) -> Option<OfNode<'_>> {
        self.follow.then_some(OfNode::Log(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(yaml: &str) -> Option<String> {
        let settings: TetragonSource = serde_json::from_str(yaml).unwrap();
        settings.check().err().map(|problem| problem.message)
    }

    #[test]
    fn defaults_are_in_order_and_bad_settings_are_refused() {
        assert_eq!(checked("{}"), None);
        assert!(checked(r#"{"events": ["exit", "exit"]}"#).unwrap().contains("already"));
        assert!(checked(r#"{"events": ["other"]}"#).unwrap().contains("already"));
        assert!(checked(r#"{"events": ["Exit"]}"#).unwrap().contains("not a column name"));
        assert!(checked(r#"{"temporary_folders": ["tmp"]}"#).unwrap().contains("absolute"));
        assert!(checked(r#"{"path": ""}"#).unwrap().contains("empty"));
    }

    #[test]
    fn each_named_event_has_a_column_and_one_counts_the_rest() {
        let settings = TetragonSource { events: vec!["exit".to_owned()], ..Default::default() };
        let names: Vec<String> = settings.named_columns().into_iter().map(|it| it.0).collect();
        assert_eq!(
            names[8..],
            [
                "event_exit_count",
                "event_other_count",
                "dropped_event_count",
                "incomplete_events_ratio"
            ]
        );
        assert_eq!(settings.data(), Some(&settings.path));
        let followed = TetragonSource { follow: true, ..Default::default() };
        assert!(followed.data().is_none() && followed.is_recorded());
    }
}
