#!/usr/bin/env bash
# The step `collect`: 25 queries x 10 days at 60 s from a local Prometheus, beside curl asking for the same bytes.
#
#   tests/bench/collect.sh [RUNS]
#
# The ten days are the recorded samples, one a minute, repeated every 92 minutes: enough for a measurement of speed, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
runs=${1:-5}
for tool in prometheus promtool curl; do command -v $tool >/dev/null || { echo "needs $tool: apt-get install prometheus curl" >&2; exit 1; }; done
. tests/bench/build.sh
collect=$built/collect
work=$(mktemp -d); prometheus=; trap '[ -z "$prometheus" ] || kill "$prometheus"; wait; rm -rf "$work"' EXIT

# One sample a minute of each series, then 157 copies of the 92 minutes, the last one at its own time.
gzip -dc pipelines/samples/cluster/raw.openmetrics.gz | awk '
    function copies(  k, i) {
        for (k = 156; k >= 0; k--) for (i = 1; i <= n; i++) printf "%s %.3f\n", line[i], time[i] - 5520 * k
        n = 0
    }
    /^# EOF/ { next }
    /^#/ { copies(); print; next }
    { series = $0; sub(/ [^ ]+ [^ ]+$/, "", series); minute = int($NF / 60)
      if (kept[series] == minute) next
      kept[series] = minute; time[++n] = $NF; sub(/ [^ ]+$/, ""); line[n] = $0 }
    END { copies(); print "# EOF" }' >"$work/raw.openmetrics"
promtool tsdb create-blocks-from openmetrics --max-block-duration=162h "$work/raw.openmetrics" "$work/data" >/dev/null
rm "$work/raw.openmetrics"
printf 'global: {}\n' >"$work/prometheus.yml"
port=$((20000 + RANDOM % 20000))
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" --storage.tsdb.retention.time=100y \
    --web.listen-address="127.0.0.1:$port" >"$work/prometheus.log" 2>&1 &
prometheus=$!
until curl -sf "http://127.0.0.1:$port/-/ready" >/dev/null; do kill -0 $prometheus; done

rates='container_cpu_usage_seconds_total container_cpu_system_seconds_total container_cpu_user_seconds_total container_network_receive_bytes_total
container_network_transmit_bytes_total container_network_receive_packets_total container_network_transmit_packets_total nginx_http_requests_total node_cpu_seconds_total
node_forks_total node_intr_total node_context_switches_total node_disk_read_bytes_total node_disk_written_bytes_total node_network_receive_bytes_total node_network_transmit_bytes_total'
gauges='container_memory_working_set_bytes workqueue_depth scheduler_pending_pods nginx_connections_active nginx_connections_waiting node_memory_MemAvailable_bytes
node_load1 node_filefd_allocated node_netstat_Tcp_CurrEstab'
queries() { for name in $rates; do echo "sum(rate($name[5m]))"; done; for name in $gauges; do echo "sum($name)"; done; }
[ "$(queries | wc -l)" = 25 ]

document() { # SOURCE SETTINGS
    printf 'format: 1\nname: bench\nstep: 1m\nrange: 10d\nsources:\n  main:\n    %s\n    queries:\n' "$1"
    queries | nl -ba | while read -r number query; do echo "      - {name: q$number, promql: '$query'}"; done
    printf 'features: [raw: {}]\nmodels: {z_score: {}}\nvote: {combine: mean, threshold: {quantile: {share: 0.99}}}\n'
}
url=http://127.0.0.1:$port
document "prometheus: {url: '$url'}" >"$work/four.yaml"
document "prometheus: {url: '$url', parallel: 1}" >"$work/one.yaml"
document 'recording: {path: record}' >"$work/replay.yaml"

# The same questions as collect asks, for curl: two chunks of each query.
end=1795252920 first=$((1795252920 - 14399 * 60)) cut=$((1795252920 - 14399 * 60 + 10999 * 60))
for range in "$first $cut" "$((cut + 60)) $end"; do
    queries | while read -r query; do
        printf 'url = %s/api/v1/query_range\ndata-urlencode = "query=%s"\ndata = "start=%s&end=%s&step=60"\noutput = /dev/null\nsilent\nfail\nnext\n' "$url" "$query" $range
    done
done | sed '$d' >"$work/curl"

step() { echo "$collect" --now 2026-11-21T09:22:00Z --document "$work/$1.yaml" --samples "$work/samples.parquet" --outcome "$work/outcome.json" "${@:2}"; }
measure "curl, 50 requests one after another" "$runs" curl -K "$work/curl"
measure "curl, four at once" "$runs" curl -Z --parallel-max 4 -K "$work/curl"
measure "collect, one at a time (target 1.3 x curl, 100 MiB)" "$runs" $(step one)
measure "collect, four at once (the default)" "$runs" $(step four)
grep -E '"(rows|columns|requests|chunks|points|retries)"' "$work/outcome.json" | tr -d ' \n'; echo
measure "collect, and keep a recording" "$runs" $(step four --record "$work/record")
measure "collect from that recording" "$runs" $(step replay)
measure "collect, one point of each query" "$((4 * runs))" $(step four --start 2026-11-21T09:21:00Z)
