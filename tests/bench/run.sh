#!/usr/bin/env bash
# Every benchmark, one after the other; needs `time`, `curl` and `prometheus` (Debian packages).
set -euo pipefail
cd "$(dirname "$0")"
for benchmark in main_job tick score collect feature train report; do
    echo "== $benchmark"
    "./$benchmark.sh"
done
