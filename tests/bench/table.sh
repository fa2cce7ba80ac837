#!/usr/bin/env bash
# A pipeline of a large table, each step as a process of its own: how the peak memory grows with the rows.
#
#   tests/bench/table.sh [ROWS...]
#
# 1, 3 and 10 million rows by default (1,000 entities, a minute apart, 5 columns): as CSV in order of time, as CSV in
# which one entity comes after the other, and as Parquet with row groups of a million rows. 4 GB in the folder for temporary files.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
[ $# -gt 0 ] || set -- 1000000 3000000 10000000
python=${PYTHON:-$(tests/support/python.sh)}
. tests/bench/build.sh
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# document FILE
document() { cat <<Y
format: 1
name: table
step: 1m
range: 10d
sources: {main: {table: {path: $1, time: time, entity: entity}}}
features: [raw: {}]
models: {adaptive: {}}
gate: {max_false_alarm_ratio: 1}
Y
}
once() { # NAME COMMAND...
    local name=$1; shift
    /usr/bin/time -o "$work/figures" -f '%e %U %S %M' "$@" >/dev/null 2>"$work/error" || { echo "$name failed:"; tail -5 "$work/error"; exit 1; }
    tail -1 "$work/figures" | awk -v name="$name" '{printf "%-52s %8.2f s wall %8.2f s CPU %8.1f MiB peak\n", name, $1, $2+$3, $4/1024}'
}
collect() { # NAME FILE END
    document "$2" >"$work/table.yaml"
    once "collect $1" "$lynceus" step collect --document "$work/table.yaml" --samples "$work/samples.parquet" --now "$3"
}
for rows in "$@"; do
    end=$(date -u -d "@$((1795219200 + 60 * (rows / 1000 - 1)))" +%Y-%m-%dT%H:%M:%SZ)
    "$python" tests/bench/table.py "$rows" "$work/t.csv" --by-entity
    collect "$rows rows of CSV, entity by entity" t.csv "$end"
    "$python" tests/bench/table.py "$rows" "$work/t.csv"
    collect "$rows rows of CSV" t.csv "$end"
    rm "$work/t.csv"
    "$python" tests/bench/table.py "$rows" "$work/t.parquet"
    collect "$rows rows of Parquet" t.parquet "$end"
    rm "$work/t.parquet"
    step=(--document "$work/table.yaml")
    once "feature" "$lynceus" step feature "${step[@]}" --samples "$work/samples.parquet" --features "$work/features.parquet" --threads 2
    once "validate" "$lynceus" step validate "${step[@]}" --features "$work/features.parquet" --dataset "$work/dataset" --validation "$work/validation.json" --now "$end"
    once "train adaptive" "$lynceus" step train "${step[@]}" --dataset "$work/dataset" --candidate "$work/candidate" --model adaptive --seed 1 --threads 2
    rm -r "$work/samples.parquet" "$work/features.parquet" "$work/dataset" "$work/candidate"
done
