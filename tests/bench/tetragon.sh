#!/usr/bin/env bash
# The source `tetragon`: a file of process events in Tetragon's shape, 1.1 kB a line, on one core.
#
#   tests/bench/tetragon.sh [RUNS] [EVENTS]
#
# The target is 200,000 events a second; memory must not grow with the file.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
runs=${1:-5} events=${2:-1000000}
. tests/bench/build.sh
collect=$built/collect
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# Execs, exits and connections of three nodes, 2,000 a second, each with process, parent and pod.
generate() { # EVENTS
    awk -v events="$1" 'BEGIN {
        pod = "\"pod\":{\"namespace\":\"shop\",\"name\":\"web-7d9c-abcde\",\"uid\":\"5799a5ba-8d6c-432e-8107-92428f12824b\",\"container\":{\"id\":\"containerd://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"name\":\"web\",\"image\":{\"id\":\"docker.io/library/nginx@sha256:1111\",\"name\":\"docker.io/library/nginx:1.27\"},\"pid\":7},\"pod_labels\":{\"app\":\"web\"},\"workload\":\"web\",\"workload_kind\":\"Deployment\"}"
        for (i = 0; i < events; i++) {
            second = int(i / 2000)
            time = sprintf("2026-11-29T%02d:%02d:%02d.%09dZ", second / 3600, second / 60 % 60, second % 60, i % 2000 * 500000)
            process = sprintf("\"process\":{\"exec_id\":\"bm9kZS0xOjUwMDEwMDAwMDA6%d\",\"pid\":%d,\"uid\":0,\"cwd\":\"/\",\"binary\":\"/usr/bin/p%d\",\"arguments\":\"-c %d\",\"flags\":\"execve clone\",\"start_time\":\"%s\",\"auid\":4294967295,%s,\"parent_exec_id\":\"cGFyZW50\",\"refcnt\":1,\"tid\":%d,\"in_init_tree\":true},\"parent\":{\"exec_id\":\"cGFyZW50\",\"pid\":77,\"uid\":0,\"cwd\":\"/\",\"binary\":\"/bin/sh\",\"flags\":\"execve clone\",\"start_time\":\"%s\",\"auid\":4294967295,%s,\"refcnt\":1,\"tid\":77}", i, i % 65536, i % 40, i, time, pod, i % 65536, time, pod)
            if (i % 3 == 0) event = "process_exec\":{" process "}"
            else if (i % 3 == 1) event = "process_exit\":{" process ",\"time\":\"" time "\"}"
            else event = "process_kprobe\":{" process ",\"function_name\":\"tcp_connect\",\"args\":[{\"sock_arg\":{\"family\":\"AF_INET\",\"type\":\"SOCK_STREAM\",\"protocol\":\"IPPROTO_TCP\",\"saddr\":\"10.0.0.1\",\"daddr\":\"10.0." i % 7 "." i % 250 "\",\"sport\":40000,\"dport\":" i % 5000 ",\"cookie\":\"18446612685\",\"state\":\"TCP_SYN_SENT\"}}],\"action\":\"KPROBE_ACTION_POST\",\"policy_name\":\"connect\"}"
            print "{\"" event ",\"node_name\":\"node-" i % 3 "\",\"time\":\"" time "\"}"
        }
    }'
}
generate "$events" >"$work/events.log"
generate $((events / 10)) >"$work/tenth.log"
ls -l "$work" | awk 'NR > 1 { print $9, $5, "bytes" }'
printf 'format: 1\nname: bench\nstep: 10s\nrange: 1d\nsources: {processes: {tetragon: {path: events.log}}}\nfeatures: [raw: {}]\nmodels: {z_score: {}}\nvote: {combine: mean, threshold: {quantile: {share: 0.99}}}\n' >"$work/bench.yaml"
step() { echo "$collect" --now 2026-11-30T00:00:00Z --document "$work/bench.yaml" --samples "$work/samples.parquet" --outcome "$work/outcome.json" --source "processes=$work/$1"; }
measure "collect, $events events" "$runs" $(step events.log)
grep -E '"(event_lines|events|rows)"' "$work/outcome.json" | tr -d ' \n'; echo
measure "collect, a tenth of them" "$runs" $(step tenth.log)
gzip -1 -k "$work/events.log"
measure "collect, $events events, gzip" "$runs" $(step events.log.gz)
