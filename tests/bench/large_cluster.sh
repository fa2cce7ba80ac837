#!/usr/bin/env bash
# Training the shipped `cluster.yaml`, ten days of it, from a Prometheus with its default limits (50 million samples a query,
# 2 minutes) that holds 10,000 buckets of the API server and 5,000 pods: how often requests had to shrink, how long it takes.
#
#   tests/bench/large_cluster.sh [FOLDER]
#
# FOLDER keeps the Prometheus' data for another run. Two things are smaller than in such a cluster: there is a sample every 150 s
# (two in each window of 5 minutes), since what a query costs is its series times its points; and pods have their processor time
# alone, since the other quantities are asked for in the same way. That is 86 million samples, filled a day at a time.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
for tool in prometheus promtool curl; do command -v $tool >/dev/null || { echo "needs $tool: apt-get install prometheus curl" >&2; exit 1; }; done
. tests/bench/build.sh
days=${DAYS:-10} end=1795608000 # 2026-11-25T12:00:00Z
work=$(mktemp -d); prometheus=; trap '[ -z "$prometheus" ] || kill "$prometheus"; wait; rm -rf "$work"' EXIT
data=${1:-$work/data}

day() { # FIRST LAST: all samples of a day as OpenMetrics text
    mawk -v first="$1" -v last="$2" -v step=150 -v start=$((end - days * 86400)) '
    BEGIN {
        for (combination = 0; combination < 400; combination++) for (le = 1; le <= 25; le++)
            bucket[++buckets] = sprintf("apiserver_request_duration_seconds_bucket{verb=\"%s\",resource=\"r%d\",le=\"%s\"} ", combination % 2 ? "GET" : "LIST", combination, le == 25 ? "+Inf" : le / 20)
        for (pod = 0; pod < 5000; pod++) {
            labels = sprintf("{namespace=\"shop-%d\",pod=\"web-%d\",container=\"app\"} ", pod % 40, pod)
            processor[pod] = "container_cpu_usage_seconds_total" labels
        }
        print "# TYPE apiserver_request_duration_seconds histogram"
        for (time = first; time <= last; time += step) {
            passed = (time - start) / step; at = sprintf("%d", time)
            # Most requests end in the first buckets, more of them in some hours than in others.
            for (i = 1; i <= buckets; i++) { le = (i - 1) % 25 + 1; print bucket[i] sprintf("%d ", passed * (20 - 20 / (le + 1)) + (2 + le % 3) * 9 * sin(passed / 99 + le / 9)) at }
        }
        print "# TYPE container_cpu_usage_seconds counter"
        for (time = first; time <= last; time += step) {
            passed = (time - start) / step; at = sprintf("%d", time)
            for (i = 0; i < 5000; i++) print processor[i] sprintf("%d ", passed * (2 + i % 7) + 30 * sin(passed / 60 + i % 5)) at
        }
        print "# EOF"
    }'
}
mkdir -p "$data"
for day in $(seq 1 "$days"); do
    [ ! -e "$data/filled.$day" ] || continue
    last=$((end - (days - day) * 86400))
    day $((last - 86400 + 150)) "$last" >"$work/day.openmetrics"
    promtool tsdb create-blocks-from openmetrics --max-block-duration=162h "$work/day.openmetrics" "$data" >/dev/null
    rm "$work/day.openmetrics"
    touch "$data/filled.$day"
done
printf 'global: {}\n' >"$work/prometheus.yml"
port=$((20000 + RANDOM % 20000))
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$data" --storage.tsdb.retention.time=100y \
    --storage.tsdb.min-block-duration=2h --storage.tsdb.max-block-duration=2h \
    --web.listen-address="127.0.0.1:$port" >"$work/prometheus.log" 2>&1 &
prometheus=$!
until curl -sf "http://127.0.0.1:$port/-/ready" >/dev/null; do kill -0 $prometheus; done
printf 'series: '; curl -s "http://127.0.0.1:$port/api/v1/query?time=$end" --data-urlencode 'query=count({__name__!=""})' | grep -o '"[0-9]*"\]' | tr -d '"]'

now=$(date -u -d "@$end" +%Y-%m-%dT%H:%M:%SZ)
for sets in "" "--set sources.metrics.prometheus.max_points=2000"; do
    store=$(mktemp -d -p "$work")
    /usr/bin/time -o "$work/figures" -f '%e %U %S %M' "$lynceus" run cluster --store "$store" --now "$now" \
        --set "sources.metrics.prometheus.url=http://127.0.0.1:$port" $sets >"$work/out" 2>"$work/error" || { echo "training failed:"; tail -20 "$work/error"; exit 1; }
    tail -1 "$work/figures" | awk -v name="training, ten days ${sets##*.}" '{printf "%-52s %8.2f s wall %8.2f s CPU %8.1f MiB peak\n", name, $1, $2+$3, $4/1024}'
    outcome=$(find "$store" -path '*collect*' -name 'outcome*.json' | head -1)
    grep -E '"(rows|columns|requests|retries|points|seconds|peak_memory_bytes)"' "$outcome" | tr -d ' \n'; echo
    awk '/VmHWM/ {printf "Prometheus: %.0f MiB peak so far\n", $2 / 1024}' "/proc/$prometheus/status"
    grep -o 'the server refused long requests[^"]*' "$outcome" || echo "no request was refused"
done
