#!/usr/bin/env python3
"""Writes the raw samples behind most of the queries as OpenMetrics text: raw.py URL START END FILE.gz

They are what a Prometheus is filled with for tests: promtool tsdb create-blocks-from openmetrics.
"""

import datetime
import gzip
import json
import sys
import urllib.parse
import urllib.request

# Name, type: counters have their ending `_total` in the samples alone.
METRICS = [
    ("container_cpu_usage_seconds_total", "counter"),
    ("container_cpu_system_seconds_total", "counter"),
    ("container_cpu_user_seconds_total", "counter"),
    ("container_memory_working_set_bytes", "gauge"),
    ("container_network_receive_bytes_total", "counter"),
    ("container_network_transmit_bytes_total", "counter"),
    ("container_network_receive_packets_total", "counter"),
    ("container_network_transmit_packets_total", "counter"),
    ("workqueue_depth", "gauge"),
    ("scheduler_pending_pods", "gauge"),
    ("nginx_connections_active", "gauge"),
    ("nginx_connections_waiting", "gauge"),
    ("nginx_http_requests_total", "counter"),
    ("node_cpu_seconds_total", "counter"),
    ("node_memory_MemAvailable_bytes", "gauge"),
    ("node_load1", "gauge"),
    ("node_forks_total", "counter"),
    ("node_intr_total", "counter"),
    ("node_context_switches_total", "counter"),
    ("node_disk_read_bytes_total", "counter"),
    ("node_disk_written_bytes_total", "counter"),
    ("node_network_receive_bytes_total", "counter"),
    ("node_network_transmit_bytes_total", "counter"),
    ("node_vmstat_pgmajfault", "gauge"),
    ("node_filefd_allocated", "gauge"),
    ("node_netstat_Tcp_CurrEstab", "gauge"),
    ("up", "gauge"),
]


def seconds(text):
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def series(url, metric, start, end):
    # A range selector at one time gives samples as they were scraped.
    form = urllib.parse.urlencode({"query": f"{metric}[{end - start}s]", "time": end}).encode()
    with urllib.request.urlopen(f"{url}/api/v1/query", form, timeout=120) as reply:
        return json.load(reply)["data"]["result"]


def main(url, start, end, path):
    start, end = seconds(start), seconds(end)
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as packed:
        for metric, kind in METRICS:
            found = series(url, metric, start, end)
            if found:
                packed.write(f"# TYPE {metric.removesuffix('_total')} {kind}\n".encode())
            for one in found:
                labels = {name: text for name, text in sorted(one["metric"].items()) if name != "__name__"}
                pairs = ",".join(f"{name}={json.dumps(text, ensure_ascii=False)}" for name, text in labels.items())
                for time, text in one["values"]:
                    packed.write(f"{metric}{{{pairs}}} {text} {time}\n".encode())
        packed.write(b"# EOF\n")


main(*sys.argv[1:])
