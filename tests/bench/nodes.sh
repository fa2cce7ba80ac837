#!/usr/bin/env bash
# A thousand nodes: scraped at once, each with a whole reply of a real node_exporter from an address of its own, and a tick
# that scores six windows of all of them.
#
#   tests/bench/nodes.sh [NODES] [RUNS]
#
# The targets are 5 s for a scrape of 1,000 nodes; the servers of the replies run in the same process.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
nodes=${1:-1000} runs=${2:-5}
command -v prometheus-node-exporter >/dev/null || { echo "needs node_exporter: apt-get install prometheus-node-exporter" >&2; exit 1; }
. tests/bench/build.sh
work=$(mktemp -d); exporter=; trap '[ -z "$exporter" ] || kill "$exporter"; wait; rm -rf "$work"' EXIT
port=$((20000 + RANDOM % 20000))
prometheus-node-exporter --web.listen-address="127.0.0.1:$port" --collector.tcpstat >"$work/exporter.log" 2>&1 &
exporter=$!
until curl -sf "http://127.0.0.1:$port/metrics" >"$work/body"; do kill -0 $exporter; done
echo "a reply of $(wc -c <"$work/body") bytes"
/usr/bin/time -f 'all steps: %e s wall, %U + %S s CPU with the servers, %M KiB peak' "$examples/nodes" scrape "$work/body" "$nodes" 5

"$examples/nodes" record "file://$work/store" "$nodes" 70
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
run=("$lynceus" run "$work/nodes.yaml" --store "$work/store" --now 2026-11-21T01:00:00Z)
/usr/bin/time -f 'training: %e s wall, %U + %S s CPU, %M KiB peak' "${run[@]}" >"$work/log" 2>&1 || { tail -5 "$work/log"; exit 1; }
tail -1 "$work/log"
"$lynceus" score "$work/nodes.yaml" --store "$work/store" --at 2026-11-21T01:00:00Z >/dev/null
# Each run scores the next minute: six windows of all nodes.
minute=0
before='minute=$((minute + 1)); at=$(date -u -d "2026-11-21T01:00:00Z + $minute minutes" +%Y-%m-%dT%H:%M:%SZ); export at'
export lynceus work
measure "score: one tick, $nodes nodes x 6 windows" "$runs" bash -c 'exec "$lynceus" score "$work/nodes.yaml" --store "$work/store" --at "$at"'
