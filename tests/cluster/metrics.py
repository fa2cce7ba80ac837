"""The series that pipelines/cluster.yaml asks for, as a quiet cluster would have them: a function of time,
so that the past and the present are one piece.

metrics.py backfill HOURS    prints the last HOURS as OpenMetrics, for `promtool tsdb create-blocks-from`
metrics.py serve PORT        serves the present; /fault?seconds=N multiplies processor time by 5 for N s
"""

import hashlib
import http.server
import math
import sys
import time
import urllib.parse

BUCKETS = ["0.01", "0.05", "0.1", "0.5", "1", "+Inf"]
SCRAPED = 'instance="metrics:8000",job="cluster"'
POD = 'container="app",pod="shop-1",namespace="shop"'
# name, labels, mean per second
COUNTERS = [
    ("apiserver_request_total", 'code="200",verb="GET"', 40),
    ("apiserver_request_total", 'code="500",verb="GET"', 0.02),
    ("scheduler_preemption_attempts_total", "", 0.001),
    ("container_cpu_cfs_throttled_seconds_total", POD, 0.01),
    ("container_cpu_usage_seconds_total", POD, 0.8),
    ("container_cpu_system_seconds_total", POD, 0.2),
    ("container_cpu_user_seconds_total", POD, 0.6),
    ("container_network_receive_packets_total", POD, 900),
    ("container_network_receive_packets_dropped_total", POD, 0.01),
    ("container_network_receive_errors_total", POD, 0.005),
    ("container_network_transmit_packets_total", POD, 800),
    ("container_network_transmit_packets_dropped_total", POD, 0.01),
    ("container_network_transmit_errors_total", POD, 0.005),
    ("container_network_receive_bytes_total", POD, 2e5),
    ("container_network_transmit_bytes_total", POD, 3e5),
    ("container_fs_reads_bytes_total", POD, 4e4),
    ("container_fs_writes_bytes_total", POD, 9e4),
]
GAUGES = [
    ("scheduler_pending_pods", 'queue="unschedulable"', 1),
    ("workqueue_depth", 'name="jobs"', 3),
    ("nginx_connections_active", "", 30),
    ("nginx_connections_reading", "", 2),
    ("nginx_connections_waiting", "", 20),
    ("nginx_connections_writing", "", 8),
    ("container_memory_working_set_bytes", POD, 4e8),
]
HISTOGRAMS = [
    ("apiserver_request_duration_seconds", 'verb="GET"', 40),
    ("scheduler_scheduling_attempt_duration_seconds", 'result="scheduled"', 0.3),
]
STEP = 15
EPOCH = 1_700_000_000
fault = {"from": math.inf, "to": 0.0}


def noise(name, slot):
    """Returns a number between -1 and 1 that is the same each time."""
    digest = hashlib.sha256(f"{name}{slot}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**31 - 1


def counter(name, mean, now):
    """Integrates a rate that swings with the hour and is uneven from sample to sample."""
    swing = 0.15 * 3600 / (2 * math.pi) * (1 - math.cos(2 * math.pi * now / 3600))
    value = mean * (now - EPOCH + swing + 0.3 * STEP * noise(name, int(now // STEP)))
    if name.startswith("container_cpu"):
        value += 4 * mean * max(0.0, min(now, fault["to"]) - fault["from"])
    return value


def gauge(name, mean, now):
    swing = 0.1 * math.sin(2 * math.pi * now / 3600)
    return mean * (1 + swing + 0.1 * noise(name, int(now // STEP)))


def samples(now):
    """Returns the series of each family: name, labels, value."""
    families = {}
    for name, labels, mean in COUNTERS:
        families.setdefault(name, []).append((name, labels, counter(name + labels, mean, now)))
    for name, labels, mean in GAUGES:
        families.setdefault(name, []).append((name, labels, gauge(name, mean, now)))
    for name, labels, mean in HISTOGRAMS:
        total = counter(name, mean, now)
        for index, bound in enumerate(BUCKETS):
            share = 1 - 0.4 ** (index + 1) if bound != "+Inf" else 1
            bucket = (f"{name}_bucket", f'{labels},le="{bound}"', total * share)
            families.setdefault(name, []).append(bucket)
    return families


def lines(now, stamp):
    for name, rows in samples(now).items():
        for series, labels, value in rows:
            # The past has the labels that a scrape adds, else it would be another series beside the present.
            target = SCRAPED if stamp else ""
            braces = f"{{{','.join(filter(None, [labels, target]))}}}"
            yield name, f"{series}{braces} {value!r}{f' {now}' if stamp else ''}\n"


def backfill(hours):
    end = int(time.time()) // STEP * STEP
    collected = {}
    for now in range(end - int(hours * 3600), end, STEP):
        for name, line in lines(now, True):
            collected.setdefault(name, []).append(line)
    for name, rows in collected.items():
        # One type for all: series of counters are named as they are scraped.
        sys.stdout.write(f"# TYPE {name} unknown\n")
        rows.sort(key=lambda line: line.rsplit(" ", 2)[0])
        sys.stdout.writelines(rows)
    sys.stdout.write("# EOF\n")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        if url.path == "/fault":
            seconds = float(urllib.parse.parse_qs(url.query)["seconds"][0])
            fault["from"], fault["to"] = time.time(), time.time() + seconds
        body = "".join(line for _, line in lines(time.time(), False)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


if sys.argv[1] == "backfill":
    backfill(float(sys.argv[2]))
else:
    http.server.ThreadingHTTPServer(("", int(sys.argv[2])), Handler).serve_forever()
