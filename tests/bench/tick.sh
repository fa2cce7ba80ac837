#!/usr/bin/env bash
# One scoring tick against a local Prometheus that holds the sample's raw series.
#
#   tests/bench/tick.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
runs=${1:-11}
for tool in prometheus promtool; do command -v $tool >/dev/null || { echo "needs $tool: apt-get install prometheus" >&2; exit 1; }; done
. tests/bench/build.sh
work=$(mktemp -d); prometheus=; trap '[ -z "$prometheus" ] || kill "$prometheus"; wait; rm -rf "$work"' EXIT

gzip -dc pipelines/samples/cluster/raw.openmetrics.gz >"$work/raw.openmetrics"
promtool tsdb create-blocks-from openmetrics "$work/raw.openmetrics" "$work/data" >/dev/null
printf 'global: {}\n' >"$work/prometheus.yml"
port=$((20000 + RANDOM % 20000))
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" --storage.tsdb.retention.time=100y \
    --web.listen-address="127.0.0.1:$port" >"$work/prometheus.log" 2>&1 &
prometheus=$!
until curl -sf "http://127.0.0.1:$port/-/ready" >/dev/null; do kill -0 $prometheus; done

cat >"$work/live.yaml" <<Y
sources: {metrics: {prometheus: {url: "http://127.0.0.1:$port"}, recording: null}}
Y
args=(cluster --overlay pipelines/samples/cluster.yaml --overlay "$work/live.yaml" --store "$work/store")
# Trained on the recorded replies: the raw series do not stand behind every query.
"$lynceus" run cluster --overlay pipelines/samples/cluster.yaml --store "$work/store" --now 2026-11-21T08:36:00Z >/dev/null 2>&1
"$lynceus" score "${args[@]}" --at 2026-11-21T08:36:00Z >/dev/null
# Each run scores the next window: one window a tick.
tick=0
before='tick=$((tick + 1)); at=$(date -u -d "2026-11-21T08:36:00Z + $((tick * 5)) seconds" +%Y-%m-%dT%H:%M:%SZ); export at'
export lynceus work
measure "score: one tick, one window (target 0.060 s, 80 MiB)" "$runs" bash -c 'exec "$lynceus" score cluster --overlay pipelines/samples/cluster.yaml --overlay "$work/live.yaml" --store "$work/store" --at "$at"'
