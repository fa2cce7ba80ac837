#!/usr/bin/env bash
# Every benchmark, one after the other; needs `time`, `curl`, `wrk`, `prometheus` and
# `postgresql` (Debian packages). Those that need data from elsewhere are not among them: labelled, flows, quality, peers.
set -euo pipefail
cd "$(dirname "$0")"
for benchmark in main_job tick score collect feature train table large_cluster report containers tetragon postgres serve; do
    echo "== $benchmark"
    "./$benchmark.sh"
done
