//! Default columns of an `influxdb` source: metrics of pods from Telegraf's inputs `kubernetes` and
//! `docker`.

use super::InfluxdbColumn;

const CONTAINER: &str = "kubernetes_pod_container";
const VOLUME: &str = "kubernetes_pod_volume";
const NETWORK: &str = "kubernetes_pod_network";
/// Only nodes with Docker have this measurement; nodes with containerd do not.
const DISK: &str = "docker_container_blkio";

/// Returns the columns.
pub(super) fn columns() -> Vec<InfluxdbColumn> {
    let plain = |name: &str, unit: &str, measurement: &str, field: &str, part: &str| {
        let is_part = !part.is_empty();
        InfluxdbColumn {
            name: name.to_owned(),
            unit: unit.to_owned(),
            measurement: measurement.to_owned(),
            field: field.to_owned(),
            parts: is_part.then(|| part.to_owned()).into_iter().collect(),
            ..InfluxdbColumn::default()
        }
    };
    let rate = |name: &str, measurement: &str, field: &str, part: &str| InfluxdbColumn {
        counter: true,
        ..plain(name, "bytes_per_second", measurement, field, part)
    };
    // `total` is the sum of the devices, which have their own series.
    let disk = |name: &str, field: &str| InfluxdbColumn {
        tags: [("device".to_owned(), vec!["total".to_owned()])].into(),
        ..rate(name, DISK, field, "container_name")
    };
    let memory =
        plain("memory_usage_bytes", "bytes", CONTAINER, "memory_usage_bytes", "container_name");
    vec![
        // A running container uses memory, so 0 means that the kubelet has no value.
        InfluxdbColumn { zero_is_gap: true, required: true, ..memory },
        plain(
            "cpu_usage_nanocores",
            "nanocores",
            CONTAINER,
            "cpu_usage_nanocores",
            "container_name",
        ),
        plain("logs_used_bytes", "bytes", CONTAINER, "logsfs_used_bytes", "container_name"),
        plain("rootfs_used_bytes", "bytes", CONTAINER, "rootfs_used_bytes", "container_name"),
        plain("volume_used_bytes", "bytes", VOLUME, "used_bytes", "volume_name"),
        rate("network_receive_bytes_per_second", NETWORK, "rx_bytes", ""),
        rate("network_transmit_bytes_per_second", NETWORK, "tx_bytes", ""),
        disk("fs_read_bytes_per_second", "io_service_bytes_recursive_read"),
        disk("fs_write_bytes_per_second", "io_service_bytes_recursive_write"),
    ]
}
