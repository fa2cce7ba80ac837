#!/usr/bin/env bash
# Scoring where there is much to score: 1,000 and 10,000 entities in one tick, and a day of minutes in one
# go, the default model first. 10,000 are left out for RUNS below 3.
# The data is a table, so that no server's speed is measured.
#
#   tests/bench/score.sh [RUNS]
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
runs=${1:-5}
. tests/bench/build.sh; export lynceus
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

# document NAME MODELS: a pipeline over a table. The default model has its default threshold, which keeps
# the highest scores of each hour of each entity.
document() {
    local vote='vote: {combine: votes, threshold: {quantile: {share: 0.999}}}'
    case "$2" in adaptive*) vote= ;; esac
    cat <<Y
format: 1
name: $1
step: 1m
range: 10d
sources: {main: {table: {path: train.csv, time: time, time_format: seconds, entity: entity}}}
features: [raw: {}]
models: {$2}
$vote
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

# many ENTITIES MODELS AIM: one tick of so many entities, and the state that it writes. The default model
# first: it keeps a state of each entity, others do not.
many() {
    tick=many-$1-$(echo "$2" | tr -cs 'a-z' '-' | cut -c1-8)
    prepare "$tick" "$1" 90 "$2"
    table "$1" 91 91 >"$work/$tick/tick.csv"
    cp -r "$work/$tick/store" "$work/$tick/kept"
    export tick; at=$(minute 91); export at
    before='aside "$work/$tick/store"; cp -r "$work/$tick/kept" "$work/$tick/store"'
    measure "score: one tick, $1 entities x 25, $2 ($3)" "$runs" bash -c \
        'exec "$lynceus" score "$work/$tick/$tick.yaml" --store "$work/$tick/store" --set sources.main.table.path="$work/$tick/tick.csv" --at "$at"'
    measure "  of it the step \`score\`" "$runs" bash -c "$(step_score "$tick")"
    wc -c <"$work/$tick/store/state/$tick/watermark.safetensors" | awk '{printf "  state written: %.2f MB\n", $1 / 1e6}'
}

# step_score NAME: the command of the step alone, on the features that the tick above has made.
step_score() {
    local features; features=$(find "$work/$1/store" -path '*feature*' -name features.parquet | sort | tail -1)
    cp "$features" "$work/$1/features.parquet"
    echo "exec \"\$lynceus\" step score --document \"$work/$1/$1.yaml\" --features \"$work/$1/features.parquet\" --store \"$work/$1/store\" --scored \"$work/$1/scored.json\" --now \"\$at\""
}

many 1000 'adaptive: {}' "0.15 s, 80 MiB"
many 1000 'isolation_forest: {}, z_score: {}' "0.15 s, 80 MiB"
[ "$runs" -lt 3 ] || many 10000 'adaptive: {}' "1.5 s, 400 MiB"

rows='isolation_forest: {}, z_score: {}'
for models in 'adaptive: {}' "$rows"; do
    day=day-$(echo "$models" | tr -cs 'a-z' '-' | cut -c1-8)
    prepare "$day" 1 600 "$models"
    table 1 540 2040 >"$work/$day/day.csv"
    cp -r "$work/$day/store" "$work/$day/kept"
    export day; at=$(minute 2040); export at
    before='aside "$work/$day/store"; cp -r "$work/$day/kept" "$work/$day/store"'
    measure "score: 1,440 windows in one go, $models (aim 10 s)" "$runs" bash -c \
        'exec "$lynceus" score "$work/$day/$day.yaml" --store "$work/$day/store" --set sources.main.table.path="$work/$day/day.csv" --at "$at"'
done
