#!/usr/bin/env bash
# Scoring where there is much to score: 1,000 entities in one tick, and a day of minutes in one go.
# The data is a table, so that no server's speed is measured.
#
#   tests/bench/score.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
runs=${1:-5}
if [ -z "${LYNCEUS:-}" ]; then cargo build --release --locked --quiet --bin lynceus; fi
export lynceus=${LYNCEUS:-$PWD/target/release/lynceus}
export work; work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# table ENTITIES FIRST LAST: rows of 25 restless columns for the minutes FIRST to LAST of 2026-11-21.
table() {
    awk -v entities="$1" -v first="$2" -v last="$3" 'BEGIN {
        printf "time,entity"; for (c = 1; c <= 25; c++) printf ",signal_%d", c; print ""
        for (m = first; m <= last; m++) for (e = 1; e <= entities; e++) {
            printf "%d,node-%04d", 1795219200 + 60 * m, e
            for (c = 1; c <= 25; c++) printf ",%.4f", ((m * (31 + 2 * c) + e * 13 + c * 7) % 97) / 97 + c
            print ""
        }
    }'
}

# document NAME: a pipeline over a table; the paper's three models, or the default one.
document() {
    cat <<Y
format: 1
name: $1
step: 1m
range: 10d
sources: {main: {table: {path: train.csv, time: time, time_format: seconds, entity: entity}}}
features: [raw: {}]
models: {$2}
vote: {combine: votes, limit: {quantile: {share: 0.999}}}
gate: {max_false_alarm_ratio: 1}
scoring: {delay: 0s, catch_up: 2d}
alerts: {channels: [{file: {path: told.jsonl}}]}
Y
}

minute() { date -u -d "@$((1795219200 + 60 * $1))" +%Y-%m-%dT%H:%M:%SZ; }

# prepare FOLDER ENTITIES MINUTES MODELS: trains on the first minutes and scores the last of them.
prepare() {
    mkdir "$work/$1"
    document "$1" "$4" >"$work/$1/$1.yaml"
    table "$2" 1 "$3" >"$work/$1/train.csv"
    "$lynceus" run "$work/$1/$1.yaml" --store "$work/$1/store" --now "$(minute "$3")" >/dev/null 2>&1
    "$lynceus" score "$work/$1/$1.yaml" --store "$work/$1/store" --at "$(minute "$3")" >/dev/null
}

rows='isolation_forest: {}, z_score: {}'
prepare nodes 1000 60 "$rows"
table 1000 61 61 >"$work/nodes/tick.csv"
cp -r "$work/nodes/store" "$work/nodes/kept"
export at; at=$(minute 61)
before='aside "$work/nodes/store"; cp -r "$work/nodes/kept" "$work/nodes/store"'
measure "score: one tick, 1,000 entities x 25 (aim 0.5 s, 150 MiB)" "$runs" bash -c \
    'exec "$lynceus" score "$work/nodes/nodes.yaml" --store "$work/nodes/store" --set sources.main.table.path="$work/nodes/tick.csv" --at "$at"'

for models in "$rows" 'adaptive: {}'; do
    day=day-$(echo "$models" | tr -cs 'a-z' '-' | cut -c1-8)
    prepare "$day" 1 600 "$models"
    table 1 540 2040 >"$work/$day/day.csv"
    cp -r "$work/$day/store" "$work/$day/kept"
    export day; at=$(minute 2040)
    before='aside "$work/$day/store"; cp -r "$work/$day/kept" "$work/$day/store"'
    measure "score: 1,440 windows in one go, $models (aim 10 s)" "$runs" bash -c \
        'exec "$lynceus" score "$work/$day/$day.yaml" --store "$work/$day/store" --set sources.main.table.path="$work/$day/day.csv" --at "$at"'
done
