#!/usr/bin/env python3
"""Turns the recorder's samples into a table: table.py RAW.openmetrics.gz OUT.csv.gz

A row a pod and scrape, with gauges as they are and counters as rates over 30 s, as the queries of
container.yaml ask a Prometheus for them (a counter that was reset begins at 0).
"""

import collections
import csv
import datetime
import gzip
import io
import re
import sys

SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+) (\S+)$")
STEP, WINDOW = 10, 30
RATES = {
    "cpu_user_cores": "container_cpu_user_seconds_total",
    "cpu_system_cores": "container_cpu_system_seconds_total",
    "page_faults_per_second": "container_memory_failures_total/pgfault",
    "network_receive_bytes_per_second": "container_network_receive_bytes_total",
    "network_transmit_bytes_per_second": "container_network_transmit_bytes_total",
    "network_receive_packets_per_second": "container_network_receive_packets_total",
    "network_transmit_packets_per_second": "container_network_transmit_packets_total",
    "fs_read_bytes_per_second": "container_fs_reads_bytes_total",
    "fs_write_bytes_per_second": "container_fs_writes_bytes_total",
}
GAUGES = {
    "memory_working_set_bytes": "container_memory_working_set_bytes",
    "memory_rss_bytes": "container_memory_rss",
    "memory_cache_bytes": "container_memory_cache",
    "memory_mapped_bytes": "container_memory_mapped_file",
    "fs_usage_bytes": "container_fs_usage_bytes",
    "processes": "container_processes",
    "threads": "container_threads",
    "sockets": "container_sockets",
    "file_descriptors": "container_file_descriptors",
}


def read(path):
    series, images = collections.defaultdict(list), {}
    for line in gzip.open(path, "rt"):
        if not (found := SAMPLE.match(line)):
            continue
        name, labels, value, stamp = found.groups()
        labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if kind := labels.get("failure_type"):
            name = f"{name}/{kind}"
        series[labels["pod"], name].append((float(stamp), float(value)))
        images[labels["pod"]] = labels["image"]
    return series, images


def rate(samples, end):
    inside = [(stamp, value) for stamp, value in samples if end - WINDOW < stamp - 0.5 <= end]
    if len(inside) < 2:
        return None
    steps = zip(inside, inside[1:])
    grown = sum(later[1] - earlier[1] if later[1] >= earlier[1] else later[1] for earlier, later in steps)
    return grown / (inside[-1][0] - inside[0][0])


def gauge(samples, end):
    inside = [value for stamp, value in samples if end - STEP < stamp - 0.5 <= end]
    return inside[-1] if inside else None


def main():
    series, images = read(sys.argv[1])
    stamps = [stamp for samples in series.values() for stamp, _ in samples]
    first, last = (round(bound / STEP) * STEP for bound in (min(stamps), max(stamps)))
    with open(sys.argv[2], "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
        out = csv.writer(io.TextIOWrapper(packed, newline="", write_through=True), lineterminator="\n")
        out.writerow(["time", "pod", "image", *GAUGES, *RATES])
        for end in range(first, last + 1, STEP):
            time = datetime.datetime.fromtimestamp(end, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            for pod in sorted(images):
                row = [gauge(series[pod, name], end) for name in GAUGES.values()]
                if all(value is None for value in row):
                    continue
                row += [rate(series[pod, name], end) for name in RATES.values()]
                out.writerow([time, pod, images[pod], *("" if value is None else f"{value:.6g}" for value in row)])


main()
