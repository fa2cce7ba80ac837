#!/usr/bin/env bash
# The main job on the bundled sample, and the same again with everything cached.
#
#   tests/bench/main_job.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
runs=${1:-5}
. tests/bench/build.sh
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
store=$work/store

before='aside "$store"' measure "run cluster --sample (target 5 s, 400 MiB)" "$runs" "$lynceus" run cluster --sample --store "$store"
train=("$lynceus" run cluster --overlay pipelines/samples/cluster.yaml --now 2026-11-21T08:36:00Z --store "$store")
before='aside "$store"' measure "training alone" "$runs" "${train[@]}"
measure "the same again, everything cached (target 0.3 s)" "$runs" "${train[@]}"
