//! The 24 metrics of `node_exporter` that an `exporter` source reads by default.

use std::collections::BTreeMap;

use super::{Combine, ExporterMetric};

/// Network devices that carry traffic of the node itself.
const DEVICES: &[&str] =
    &["*", "!lo", "!veth*", "!cali*", "!cni*", "!docker*", "!flannel*", "!lxc*", "!virbr*"];
/// Whole disks and their like; partitions would count the same bytes again, and RAM disks are not
/// disks.
const DISKS: &[&str] = &["*", "!loop*", "!ram*", "!dm-*", "!md*", "!sr*"];
/// File systems on disks.
const FILE_SYSTEMS: &[&str] = &["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs"];

/// Returns the metrics, in the order of the table in the documentation.
pub(super) fn metrics() -> Vec<ExporterMetric> {
    let rate = |name: &str, unit: &str, metric: &str| ExporterMetric {
        counter: true,
        ..plain(name, unit, metric)
    };
    let where_label = |metric: ExporterMetric, label: &str, patterns: &[&str]| ExporterMetric {
        labels: [(label.to_owned(), patterns.iter().map(|it| (*it).to_owned()).collect())].into(),
        ..metric
    };
    let divided = |metric: ExporterMetric, by: &str| ExporterMetric {
        divide_by: Some(by.to_owned()),
        ..metric
    };
    let device = |metric: ExporterMetric| where_label(metric, "device", DEVICES);
    let disk = |metric: ExporterMetric| where_label(metric, "device", DISKS);
    let seconds = "seconds_per_second";
    let bytes = "bytes_per_second";
    vec![
        where_label(rate("cpu_idle_cores", seconds, "node_cpu_seconds_total"), "mode", &["idle"]),
        where_label(
            divided(
                plain("filesystem_available_ratio", "ratio", "node_filesystem_avail_bytes"),
                "node_filesystem_size_bytes",
            ),
            "fstype",
            FILE_SYSTEMS,
        ),
        disk(rate("disk_read_bytes", bytes, "node_disk_read_bytes_total")),
        disk(rate("disk_written_bytes", bytes, "node_disk_written_bytes_total")),
        device(rate("network_receive_bytes", bytes, "node_network_receive_bytes_total")),
        rate("major_page_faults", "per_second", "node_vmstat_pgmajfault"),
        divided(
            plain("memory_available_ratio", "ratio", "node_memory_MemAvailable_bytes"),
            "node_memory_MemTotal_bytes",
        ),
        rate("forks", "per_second", "node_forks_total"),
        rate("interrupts", "per_second", "node_intr_total"),
        plain("load_1m", "processes", "node_load1"),
        plain("load_5m", "processes", "node_load5"),
        plain("load_15m", "processes", "node_load15"),
        device(rate("network_receive_dropped", "per_second", "node_network_receive_drop_total")),
        device(rate("network_receive_errors", "per_second", "node_network_receive_errs_total")),
        device(rate(
            "network_transmit_packets",
            "per_second",
            "node_network_transmit_packets_total",
        )),
        plain("tcp_sockets_allocated", "sockets", "node_sockstat_TCP_alloc"),
        plain("tcp_sockets_in_use", "sockets", "node_sockstat_TCP_inuse"),
        plain("tcp_memory_pages", "pages", "node_sockstat_TCP_mem"),
        plain("udp_sockets_in_use", "sockets", "node_sockstat_UDP_inuse"),
        plain("udp_memory_pages", "pages", "node_sockstat_UDP_mem"),
        plain("ipv4_sockets_in_use", "sockets", "node_sockstat_sockets_used"),
        plain("tcp_connections_established", "connections", "node_netstat_Tcp_CurrEstab"),
        where_label(
            plain("tcp_connections_listening", "connections", "node_tcp_connection_states"),
            "state",
            &["listen"],
        ),
        plain("open_file_descriptors", "descriptors", "node_filefd_allocated"),
    ]
}

fn plain(name: &str, unit: &str, metric: &str) -> ExporterMetric {
    ExporterMetric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        metric: metric.to_owned(),
        counter: false,
        labels: BTreeMap::new(),
        combine: Combine::Sum,
        divide_by: None,
    }
}
