#!/usr/bin/env bash
# Training the default model where there is much to train on, each step as a process of its own: samples to
# features, data set, candidate and bundle. The rows are noisy waves of 25 columns, a minute apart.
#
#   tests/bench/train.sh [ENTITIES] [DAYS]
#
# 1,000 entities over 10 days are 14.4 million rows: 10 GB in the folder for temporary files.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
entities=${1:-1000} days=${2:-10}
. tests/bench/build.sh
step=("$lynceus" step)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$examples/make_samples" "$entities" 25 $((days * 1440)) "$work/samples.parquet" 60

cat >"$work/train.yaml" <<'Y'
format: 1
name: train
step: 1m
range: 10d
sources: {main: {table: {path: samples.csv, time: time}}}
features: [raw: {}]
models: {adaptive: {}}
gate: {max_false_alarm_ratio: 1}
Y
at="$(date -u -d "@$((1795219200 + 60 * (days * 1440 - 1)))" +%Y-%m-%dT%H:%M:%SZ)"
document=(--document "$work/train.yaml")
of="of $((entities * days * 1440)) rows x 25, $entities entities"
once() { runs=0; local figures; figures=$(mktemp); local name=$1; shift
    /usr/bin/time -o "$figures" -f '%e %U %S %M' "$@" >/dev/null 2>"$figures.err" || { echo "$name failed:"; tail -5 "$figures.err"; exit 1; }
    tail -1 "$figures" | awk -v name="$name" '{printf "%-52s %8.2f s wall %8.2f s CPU %8.1f MiB peak\n", name, $1, $2+$3, $4/1024}'
    rm -f "$figures" "$figures".*
}
once "feature $of" "${step[@]}" feature "${document[@]}" --samples "$work/samples.parquet" --features "$work/features.parquet" --threads 2
once "validate $of" "${step[@]}" validate "${document[@]}" --features "$work/features.parquet" --dataset "$work/dataset" --validation "$work/validation.json" --now "$at"
once "train adaptive $of (5 min, 1.5 GiB)" "${step[@]}" train "${document[@]}" --dataset "$work/dataset" --candidate "$work/candidate" --model adaptive --seed 1 --threads 2
