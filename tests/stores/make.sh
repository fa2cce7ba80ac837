#!/usr/bin/env bash
# Makes a store of the formats of this version: a trained run, ten scored windows of two hosts, an open
# alarm. tests/old_stores.rs reads those of all versions: a folder here is never made anew, a new format
# gets a folder of its own.
#
#   tests/stores/make.sh FOLDER [PROGRAM]     FOLDER below tests/stores; PROGRAM is target/debug/lynceus
set -euo pipefail
cd "$(dirname "$0")/../.."
to=tests/stores/${1:?name a folder}
program=$(realpath "${2:-target/debug/lynceus}")
[ ! -e "$to" ] || { echo "$to is there: later versions have to read it as it is" >&2; exit 1; }
to=$PWD/$to
# Runs name the folder of the document; this one is the same on every machine.
place=/tmp/lynceus-store
rm -rf "$place"
mkdir "$place"
trap 'rm -rf "$place"' EXIT
cd "$place"
unset LYNCEUS_STORE LYNCEUS_PIPELINES

# Two hosts, a row a minute from 2026-11-21T00:00:00Z; from 05:05 on something is wrong with h1.
awk 'BEGIN {
    print "time,host,requests,errors"
    for (minute = 0; minute < 330; minute++) for (host = 0; host < 2; host++) {
        odd = host == 1 && minute >= 305 && minute < 315
        printf "%d,h%d,%.4f,%.4f\n", 1795219200 + 60 * minute, host, (minute * 31 + host * 13) % 97 / 97 + (odd ? 9 : 0), (minute * 57 + host * 13) % 97 / 97
    }
}' >rows.csv
cat >hosts.yaml <<'YAML'
format: 1
name: hosts
step: 1m
range: 5h
sources:
  rows: {table: {path: rows.csv, time: time, time_format: seconds, entity: host}}
features: [raw]
models: {adaptive: {}}
vote: {combine: votes, threshold: {quantile: {share: 0.99}}}
gate: {max_false_alarm_ratio: 1}
scoring: {every: 1m, delay: 0s, catch_up: 2h}
alerts: {for: 2, resolve_after: 2, channels: [{file: {path: sent.jsonl}}]}
YAML
"$program" run hosts.yaml --store store --now 2026-11-21T05:00:00Z --tag purpose=fixture --note "a store of its time" >/dev/null
"$program" score hosts.yaml --store store --since 2026-11-21T05:00:00Z --at 2026-11-21T05:10:00Z
# What can be made again, and what is about the process, is not a format.
rm -rf store/cache store/scored store/.lynceus store/runs/hosts/*/report.tables
find store -name 'log.jsonl' -delete -o -name '.lock' -delete -o -name 'report.html' -delete -o -name '.*.json' -delete
mkdir -p "$to"
cp -R hosts.yaml rows.csv sent.jsonl store "$to"
du -sh "$to"
