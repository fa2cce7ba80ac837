#!/usr/bin/env python3
"""Makes the table of the sample from what node_exporter said: metrics.py TABLE.csv.gz OUT...

The columns are those of a source `exporter` without `metrics` (crates/document/src/sources/exporter/node.rs),
made by its rules: counters become increases per second, a fall is a reset, series are filtered and summed.
"""

import csv
import datetime
import gzip
import io
import pathlib
import re
import sys

DEVICES = ("lo", "veth", "cali", "cni", "docker", "flannel", "lxc", "virbr")
DISKS = ("loop", "ram", "dm-", "md", "sr")
FILE_SYSTEMS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs")


def device(labels):
    return labels["device"] != "lo" and not labels["device"].startswith(DEVICES[1:])


def disk(labels):
    return not labels["device"].startswith(DISKS)


def anything(_):
    return True


# Name, metric, whether it is a counter, which series, divisor.
COLUMNS = [
    ("cpu_idle_cores", "node_cpu_seconds_total", True, lambda labels: labels["mode"] == "idle", None),
    ("filesystem_available_ratio", "node_filesystem_avail_bytes", False, lambda labels: labels["fstype"] in FILE_SYSTEMS, "node_filesystem_size_bytes"),
    ("disk_read_bytes", "node_disk_read_bytes_total", True, disk, None),
    ("disk_written_bytes", "node_disk_written_bytes_total", True, disk, None),
    ("network_receive_bytes", "node_network_receive_bytes_total", True, device, None),
    ("major_page_faults", "node_vmstat_pgmajfault", True, anything, None),
    ("memory_available_ratio", "node_memory_MemAvailable_bytes", False, anything, "node_memory_MemTotal_bytes"),
    ("forks", "node_forks_total", True, anything, None),
    ("interrupts", "node_intr_total", True, anything, None),
    ("load_1m", "node_load1", False, anything, None),
    ("load_5m", "node_load5", False, anything, None),
    ("load_15m", "node_load15", False, anything, None),
    ("network_receive_dropped", "node_network_receive_drop_total", True, device, None),
    ("network_receive_errors", "node_network_receive_errs_total", True, device, None),
    ("network_transmit_packets", "node_network_transmit_packets_total", True, device, None),
    ("tcp_sockets_allocated", "node_sockstat_TCP_alloc", False, anything, None),
    ("tcp_sockets_in_use", "node_sockstat_TCP_inuse", False, anything, None),
    ("tcp_memory_pages", "node_sockstat_TCP_mem", False, anything, None),
    ("udp_sockets_in_use", "node_sockstat_UDP_inuse", False, anything, None),
    ("udp_memory_pages", "node_sockstat_UDP_mem", False, anything, None),
    ("ipv4_sockets_in_use", "node_sockstat_sockets_used", False, anything, None),
    ("tcp_connections_established", "node_netstat_Tcp_CurrEstab", False, anything, None),
    ("tcp_connections_listening", "node_tcp_connection_states", False, lambda labels: labels["state"] == "listen", None),
    ("open_file_descriptors", "node_filefd_allocated", False, anything, None),
]
WANTED = {name for column in COLUMNS for name in (column[1], column[4]) if name}
SERIES = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def read(path):
    series = {}
    for line in path.read_text().splitlines():
        found = SERIES.match(line)
        if found and found[1] in WANTED:
            labels = dict(LABEL.findall(found[2] or ""))
            series.setdefault(found[1], []).append((found[2] or "", labels, float(found[3])))
    return series


def row(series, before, seconds):
    values = []
    for _, metric, counter, chosen, divisor in COLUMNS:
        found = [(key, value) for key, labels, value in series.get(metric, []) if chosen(labels)]
        if counter:
            earlier = {key: value for key, _, value in (before or {}).get(metric, [])}
            found = [(now - earlier[key] if now >= earlier[key] else now) / seconds for key, now in found if key in earlier]
        else:
            found = [value for _, value in found]
        value = sum(found) if found else None
        if divisor and value is not None:
            below = sum(value for _, labels, value in series.get(divisor, []) if chosen(labels))
            value = value / below if below > 0 else None
        values.append(value)
    return values


def main(table, *folders):
    rows = []
    for node in (node for folder in folders for node in sorted(pathlib.Path(folder).glob("node-*"))):
        before = last = None
        for path in sorted((node / "metrics").glob("*.prom")):
            time = int(path.stem)
            series = read(path)
            gap = time - last if last else 0
            rows.append((time, node.name, row(series, before if 0 < gap <= 300 else None, gap)))
            before, last = series, time
    rows.sort(key=lambda row: row[:2])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["time", "node"] + [column[0] for column in COLUMNS])
    for time, node, values in rows:
        at = datetime.datetime.fromtimestamp(time, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        writer.writerow([at, node] + ["" if value is None else f"{value:.7g}" for value in values])
    with open(table, "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as packed:
        packed.write(text.getvalue().encode())


main(*sys.argv[1:])
