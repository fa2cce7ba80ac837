//! The settings of flow tables, a kind of tables: records of connections, as a flow tool wrote them.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::{ColumnValues, SampleColumn};
use crate::problem::{Problem, problem, require};

/// Content of the rows of a table file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Samples: a time, numbers, and optionally an entity.
    #[default]
    Table,
    /// Flows in one of the formats below, which is detected by the header or the first record.
    Flows,
    /// `nfdump -o csv`, before and after nfdump 1.7.3, and `-o csv-fast`.
    NfdumpCsv,
    /// `nfdump -o ndjson` and `nfdump -o json`.
    NfdumpJson,
    /// Flow events of Packetbeat, exported as CSV or as JSON lines.
    Packetbeat,
    /// CSV of `CICFlowMeter`, as in CIC-IDS2017 and CSE-CIC-IDS2018.
    Cicflowmeter,
    /// Zeek's `conn.log`, tab-separated or JSON lines.
    ZeekConn,
    /// `hubble observe -o json` of Cilium.
    Hubble,
    /// The `AssureMOSS` Kubernetes data set: Packetbeat flows exported from Elasticsearch.
    Assuremoss,
}

impl TableFormat {
    /// Returns whether the rows are flows.
    pub fn is_flows(self) -> bool {
        self != Self::Table
    }

    /// Returns whether the rows are samples.
    pub fn is_table(&self) -> bool {
        *self == Self::Table
    }
}

/// How flows become rows of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FlowSettings {
    /// Meaning of one row of samples.
    pub rows: FlowRows,
    /// Addresses inside the cluster, as CIDR blocks such as `10.0.0.0/8`: pods, services, nodes.
    pub cluster: Vec<String>,
    /// Addresses of services, as CIDR blocks. Flows from or to them are left out, because each flow
    /// is recorded a second time with the address of the pod behind the service.
    pub services: Vec<String>,
    /// Factor for bytes and packets, 1 or more: N for an exporter that samples one packet of N.
    pub sampling: u32,
    /// Labels of flows that mean normal. A window gets the most frequent label of its other flows.
    pub normal: Vec<String>,
    /// Most unreadable records. They are left out and counted, and a warning names the first ones.
    /// If there are more, the table is refused.
    pub max_bad_rows: u64,
}

impl Default for FlowSettings {
    fn default() -> Self {
        Self {
            rows: FlowRows::Source,
            cluster: Vec::new(),
            services: Vec::new(),
            sampling: 1,
            normal: ["normal", "benign", "0"].map(str::to_owned).to_vec(),
            max_bad_rows: 100,
        }
    }
}

/// Meaning of one row of flow samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlowRows {
    /// All flows that a source address started and that ended in the window. The entity is the
    /// source address.
    #[default]
    Source,
    /// One flow, with statistics of its source in the same window. The entity is the connection.
    Flow,
}

/// A column that is computed from flows: name, unit, and formula.
pub type FlowColumn = (&'static str, &'static str, &'static str);

/// Columns of `rows: source`: sums and shares over the flows of a source address in a window.
pub const SOURCE_COLUMNS: [FlowColumn; 22] = [
    ("flows_per_second", "per_second", "flows / step"),
    ("sent_bytes_per_second", "bytes_per_second", "bytes that the source sent / step"),
    ("received_bytes_per_second", "bytes_per_second", "bytes sent to the source / step"),
    ("sent_packets_per_second", "per_second", "packets that the source sent / step"),
    ("received_packets_per_second", "per_second", "packets sent to the source / step"),
    ("bytes_per_flow", "bytes", "bytes in both directions / flows"),
    ("bytes_per_packet", "bytes", "bytes / packets, in both directions"),
    ("sent_byte_ratio", "ratio", "bytes sent / bytes sent and received"),
    ("duration_mean_seconds", "seconds", "mean duration"),
    ("duration_max_seconds", "seconds", "longest duration"),
    ("destinations", "", "distinct destination addresses"),
    ("destination_ports", "", "distinct destination ports"),
    ("destination_port_entropy_bits", "bits", "entropy of the destination ports"),
    ("fan_out_ratio", "ratio", "distinct pairs of destination and port / flows"),
    (
        "top_destination_ratio",
        "ratio",
        "flows to the commonest pair of destination and port / flows",
    ),
    ("syn_only_ratio", "ratio", "TCP flows with SYN and without ACK / TCP flows"),
    ("failed_ratio", "ratio", "flows refused, dropped or without an answer / flows"),
    ("tcp_ratio", "ratio", "TCP flows / flows"),
    ("udp_ratio", "ratio", "UDP flows / flows"),
    ("icmp_ratio", "ratio", "ICMP flows / flows"),
    ("out_of_cluster_ratio", "ratio", "flows to addresses outside of `cluster` / flows"),
    (
        "out_of_cluster_sent_bytes_per_second",
        "bytes_per_second",
        "bytes sent to addresses outside of `cluster` / step",
    ),
];

/// Columns of one flow, of `rows: flow`; those of its source follow, with the prefix `source_`.
pub const FLOW_COLUMNS: [FlowColumn; 20] = [
    ("bytes", "bytes", "bytes in both directions"),
    ("sent_bytes", "bytes", "bytes from the source"),
    ("received_bytes", "bytes", "bytes to the source"),
    ("packets", "", "packets in both directions"),
    ("sent_packets", "", "packets from the source"),
    ("received_packets", "", "packets to the source"),
    ("duration_seconds", "seconds", "duration"),
    ("bytes_per_second", "bytes_per_second", "bytes / duration"),
    ("packets_per_second", "per_second", "packets / duration"),
    ("bytes_per_packet", "bytes", "bytes / packets"),
    ("sent_byte_ratio", "ratio", "bytes sent / bytes"),
    ("source_port", "", "port of the source"),
    ("destination_port", "", "port of the destination"),
    ("tcp", "", "1 for TCP, else 0"),
    ("udp", "", "1 for UDP, else 0"),
    ("icmp", "", "1 for ICMP, else 0"),
    ("syn_only", "", "1 with SYN and without ACK, else 0"),
    ("failed", "", "1 where refused, dropped or without an answer, else 0"),
    ("source_in_cluster", "", "1 for a source inside of `cluster`, else 0"),
    ("destination_in_cluster", "", "1 for a destination inside of `cluster`, else 0"),
];

impl FlowSettings {
    /// Returns whether all settings have their defaults.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns name, unit and formula of all columns, in order.
    pub fn column_names(&self) -> Vec<(String, &'static str, String)> {
        let plain =
            |(name, unit, formula): &FlowColumn| ((*name).to_owned(), *unit, self.formula(formula));
        let of_source = |(name, unit, formula): &FlowColumn| {
            (format!("source_{name}"), *unit, format!("of the source: {}", self.formula(formula)))
        };
        match self.rows {
            FlowRows::Source => SOURCE_COLUMNS.iter().map(plain).collect(),
            FlowRows::Flow => {
                FLOW_COLUMNS.iter().map(plain).chain(SOURCE_COLUMNS.iter().map(of_source)).collect()
            }
        }
    }

    fn formula(&self, formula: &str) -> String {
        let counts = formula.contains("bytes") || formula.contains("packets");
        match self.sampling {
            2.. if counts => format!("{formula}, times {}", self.sampling),
            _ => formula.to_owned(),
        }
    }

    /// Returns the columns of the samples.
    pub(super) fn columns(&self) -> Vec<SampleColumn> {
        let of = |(name, unit, formula): (String, &str, String)| SampleColumn {
            name,
            unit: unit.to_owned(),
            formula,
            is_promql: false,
            is_asked: false,
            is_required: false,
            values: ColumnValues::Numbers,
            entity: Some("source".to_owned()),
        };
        self.column_names().into_iter().map(of).collect()
    }

    /// Checks the settings; `path` is their field in the document.
    pub(super) fn check(&self, path: &str) -> Result<(), Problem> {
        for (name, blocks) in [("cluster", &self.cluster), ("services", &self.services)] {
            for (index, block) in blocks.iter().enumerate() {
                if Cidr::parse(block).is_none() {
                    let path = format!("{path}.{name}.{index}");
                    return Err(problem(&path, format!("`{block}` is not a CIDR block"))
                        .hint("write it as 10.0.0.0/8 or fd00::/8"));
                }
            }
        }
        require(self.sampling >= 1, &format!("{path}.sampling"), || "must be 1 or more".to_owned())
    }
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    bits: u32,
}

impl Cidr {
    /// Parses `10.0.0.0/8`, `fd00::/8`, or one address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
            None => (text.trim(), None),
        };
        let network: IpAddr = address.parse().ok()?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { network, bits })
    }

    /// Returns whether an address is in the block. An IPv4 address inside IPv6 counts as IPv4.
    pub fn contains(self, address: IpAddr) -> bool {
        let prefix = |bits: u128, width: u32| bits.checked_shr(width - self.bits).unwrap_or(0);
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let bits = |address: std::net::Ipv4Addr| u128::from(address.to_bits());
                prefix(bits(network), 32) == prefix(bits(address), 32)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                prefix(network.to_bits(), 128) == prefix(address.to_bits(), 128)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cidr_block_contains_its_addresses_only() {
        for (block, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::1"),
            ("10.1.2.3/8", "10.9.9.9", "9.9.9.9"),
        ] {
            let block = Cidr::parse(block).unwrap();
            assert!(block.contains(inside.parse().unwrap()), "{block:?} {inside}");
            assert!(!block.contains(outside.parse().unwrap()), "{block:?} {outside}");
        }
        let all = Cidr::parse("0.0.0.0/0").unwrap();
        assert!(all.contains("8.8.8.8".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
        assert!(Cidr::parse("::/0").unwrap().contains("::1".parse().unwrap()));
        for text in ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "a/8", "10.0.0.0/-1"] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sampling_rate_is_part_of_the_formula_of_counts_only() {
        let settings = FlowSettings { sampling: 100, ..FlowSettings::default() };
        let columns = settings.column_names();
        assert!(columns[1].2.ends_with("times 100"), "{:?}", columns[1]);
        assert!(!columns[0].2.contains("times"), "{:?}", columns[0]);
    }
}
