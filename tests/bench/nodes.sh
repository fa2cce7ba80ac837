#!/usr/bin/env bash
# A thousand nodes: scraped at once, each with a whole reply of a real node_exporter from an address of its own, and a tick
# that scores six windows of all of them.
#
#   tests/bench/nodes.sh [NODES] [RUNS]
#
# The targets are 5 s for a scrape of 1,000 nodes; the servers of the replies run in the same process. Every command has a
# deadline: a benchmark that hangs fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
nodes=${1:-1000} runs=${2:-5}
command -v prometheus-node-exporter >/dev/null || { echo "needs node_exporter: apt-get install prometheus-node-exporter" >&2; exit 1; }
. tests/bench/build.sh
work=$(mktemp -d) exporter=
finish() { [ -z "$exporter" ] || { kill "$exporter" && wait "$exporter"; } 2>/dev/null; rm -rf "$work"; }
trap 'finish || true' EXIT
# within SECONDS NAME COMMAND...: fails with the end of what was said where the command fails or takes longer.
within() {
    local seconds=$1 name=$2; shift 2
    timeout --kill-after=5 "$seconds" "$@" >"$work/log" 2>&1 && return
    local code=$?; [ $code = 124 ] && echo "$name: not done in $seconds s" || echo "$name failed with $code"
    tail -20 "$work/log"; exit 1
}

# A free port of the system's choice, which the exporter says.
prometheus-node-exporter --web.listen-address=127.0.0.1:0 --collector.tcpstat >"$work/exporter.log" 2>&1 &
exporter=$! address=
for _ in $(seq 100); do
    kill -0 "$exporter" 2>/dev/null || { cat "$work/exporter.log"; exporter=; exit 1; }
    address=$(sed -n 's/.*Listening on.*address=\([0-9.:]*\).*/\1/p' "$work/exporter.log")
    [ -z "$address" ] || break
    sleep 0.1
done
[ -n "$address" ] || { echo "node_exporter does not listen after 10 s"; cat "$work/exporter.log"; exit 1; }
curl --noproxy '*' --max-time 30 -sSf "http://$address/metrics" >"$work/body"
echo "a reply of $(wc -c <"$work/body") bytes"
within 300 scrape /usr/bin/time -f 'all scrapes: %e s wall, %U + %S s CPU with the servers, %M KiB peak' "$examples/nodes" scrape "$work/body" "$nodes" 5
cat "$work/log"

within 600 record "$examples/nodes" record "file://$work/store" "$nodes" 70
cat "$work/log"
cat >"$work/nodes.yaml" <<Y
format: 1
name: nodes
step: 10s
range: 1h
sources: {metrics: {exporter: {endpoints: ["http://localhost:9100/metrics"]}, entity: {labels: [nodename]}}}
features: [peers: {columns: ["*"], window: 10m, own: true}]
models: {z_score: {threshold: 2}}
vote: {combine: votes, threshold: {quantile: {share: 0.999}}}
gate: {max_false_alarm_ratio: 1}
scoring: {every: 1m, delay: 0s, catch_up: 1h}
alerts: {for: 2, resolve_after: 3, cool_down: 1h, channels: []}
Y
within 1200 training /usr/bin/time -f 'training: %e s wall, %U + %S s CPU, %M KiB peak' \
    "$lynceus" run "$work/nodes.yaml" --store "$work/store" --now 2026-11-21T01:00:00Z
tail -1 "$work/log"
within 300 'first tick' "$lynceus" score "$work/nodes.yaml" --store "$work/store" --at 2026-11-21T01:00:00Z
# Each run scores the next minute: six windows of all nodes.
minute=0
before='minute=$((minute + 1)); at=$(date -u -d "2026-11-21T01:00:00Z + $minute minutes" +%Y-%m-%dT%H:%M:%SZ); export at'
export lynceus work
measure "score: one tick, $nodes nodes x 6 windows" "$runs" timeout --kill-after=5 300 \
    bash -c 'exec "$lynceus" score "$work/nodes.yaml" --store "$work/store" --at "$at"'
