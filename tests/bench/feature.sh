#!/usr/bin/env bash
# The step `feature` as a whole process: a day of a hundred nodes, and the window of one tick.
#
#   tests/bench/feature.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
runs=${1:-5}
# Beside the program: alone it would be built with other features of what is shared, and all of that anew.
cargo build --release --locked --quiet -p pipelines -p feature --bin feature --example make_samples
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
make=target/release/examples/make_samples

cat >"$work/feature.yaml" <<'Y'
format: 1
name: feature
step: 10s
range: 1d
sources: {main: {table: {path: samples.csv, time: time}}}
features:
  - raw: {}
  - rolling: {window: 5m, statistics: [mean, std]}
  - rolling: {window: 15m, statistics: [mean, std]}
models: {z_score: {}}
vote: {combine: mean, limit: {quantile: {share: 0.99}}}
Y
step() { echo target/release/feature --document "$work/feature.yaml" --samples "$work/$1" --features "$work/features.parquet" --threads "$2"; }

"$make" 100 25 8640 "$work/day.parquet"
measure "feature: 864,000 rows x 25, 2 threads (10 s, 1.5 GB)" "$runs" $(step day.parquet 2)
measure "feature: the same, 1 thread" "$runs" $(step day.parquet 1)
"$make" 1 25 90 "$work/tick.parquet"
measure "feature: one window of 25 columns" "$((4 * runs))" $(step tick.parquet 1)
"$make" 1000 25 90 "$work/many.parquet"
measure "feature: one window of 1,000 entities x 25" "$runs" $(step many.parquet 2)
