#!/usr/bin/env bash
# The step `feature` as a whole process: a day of a hundred nodes, the window of one tick, and ten days of
# a thousand nodes (10 GB of files in the folder for temporary ones; left out for RUNS below 3).
#
#   tests/bench/feature.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
runs=${1:-5}
. tests/bench/build.sh
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
make=$examples/make_samples

# document FILE STEP FEATURES
document() { cat >"$work/$1" <<Y
format: 1
name: feature
step: $2
range: 1d
sources: {main: {table: {path: samples.csv, time: time}}}
features: [$3]
models: {z_score: {}}
vote: {combine: mean, threshold: {quantile: {share: 0.99}}}
Y
}
rolling='{rolling: {window: 5m, statistics: [mean, std]}}, {rolling: {window: 15m, statistics: [mean, std]}}'
document feature.yaml 10s "{raw: {}}, $rolling"
document plain.yaml 1m "{raw: {}}"
step() { echo "$built/feature" --document "$work/${3:-feature.yaml}" --samples "$work/$1" --features "$work/features.parquet" --threads "$2"; }

"$make" 100 25 8640 "$work/day.parquet"
measure "feature: 864,000 rows x 25, 2 threads (10 s, 1.5 GB)" "$runs" $(step day.parquet 2)
measure "feature: the same, 1 thread" "$runs" $(step day.parquet 1)
"$make" 1 25 90 "$work/tick.parquet"
measure "feature: one window of 25 columns" "$((4 * runs))" $(step tick.parquet 1)
"$make" 1000 25 90 "$work/many.parquet"
measure "feature: one window of 1,000 entities x 25" "$runs" $(step many.parquet 2)
[ "$runs" -ge 3 ] || exit 0
"$make" 1000 25 14400 "$work/days.parquet" 60
measure "feature: 14.4 M rows x 25, what \`adaptive\` reads (1 GiB)" 1 $(step days.parquet 2 plain.yaml)
