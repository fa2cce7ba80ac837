#!/usr/bin/env bash
# The agent of a node: memory and processor time over a while, with a real node_exporter and 100 events a second in Tetragon's shape.
#
#   tests/bench/agent.sh [SECONDS]
#
# The targets are 15 MB and 1 % of a core at a step of 10 s, over 10 minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-600}
command -v prometheus-node-exporter >/dev/null || { echo "needs node_exporter: apt-get install prometheus-node-exporter" >&2; exit 1; }
. tests/bench/build.sh
work=$(mktemp -d); started=(); trap 'kill "${started[@]}" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
prometheus-node-exporter --web.listen-address=127.0.0.1:0 --collector.tcpstat >"$work/exporter.log" 2>&1 &
started+=($!)
# A free port of the system's choice, which the exporter says.
port=
for _ in $(seq 100); do
    kill -0 "${started[0]}" 2>/dev/null || { cat "$work/exporter.log"; exit 1; }
    port=$(sed -n 's/.*Listening on.*address=127.0.0.1:\([0-9]*\).*/\1/p' "$work/exporter.log")
    [ -z "$port" ] || break
    sleep 0.1
done
[ -n "$port" ] || { echo "node_exporter does not listen after 10 s"; exit 1; }
# A program is started a hundred times a second; each tenth connects.
python3 - "$work/tetragon.log" <<'P' &
import datetime, sys, time
number = 0
with open(sys.argv[1], "a") as log:
    while True:
        for _ in range(10):
            now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            process = '{"exec_id":"n:%d","pid":%d,"uid":0,"cwd":"/","binary":"/usr/bin/p%d","arguments":"-c %d","flags":"execve clone","start_time":"%s"}' % (number, number % 65536, number % 40, number, now)
            if number % 10:
                event = '"process_exec":{"process":%s}' % process
            else:
                event = '"process_kprobe":{"process":%s,"function_name":"tcp_connect","args":[{"sock_arg":{"family":"AF_INET","daddr":"10.0.0.%d","dport":443}}]}' % (process, number % 250)
            log.write('{%s,"node_name":"n","time":"%s"}\n' % (event, now))
            number += 1
        log.flush()
        time.sleep(0.1)
P
started+=($!)
"$built/agent" pipelines/node.yaml --node n --listen 127.0.0.1:0 --store "$work/store" \
    --set "sources.metrics.exporter={service: null, endpoints: [\"http://127.0.0.1:$port/metrics\"]}" \
    --set "sources.processes.tetragon.path=$work/tetragon.log" >"$work/agent.log" 2>&1 &
agent=$!; started+=($agent)
ticks() { awk '{ print $14 + $15 }' "/proc/$agent/stat"; }
sleep 20 # the first steps
begin=$(ticks); sleep "$seconds"; end=$(ticks)
awk -v ticks=$((end - begin)) -v hertz="$(getconf CLK_TCK)" -v seconds="$seconds" 'BEGIN { printf "processor: %.3f %% of a core over %d s\n", 100 * ticks / hertz / seconds, seconds }'
awk '/^(VmHWM|VmRSS|RssAnon|RssFile)/ { printf "%s %.1f MiB\n", $1, $2 / 1024 }' "/proc/$agent/status"
ls -l "$built/agent" | awk '{ printf "program: %.1f MB\n", $5 / 1e6 }'
