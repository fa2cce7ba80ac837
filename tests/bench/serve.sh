#!/usr/bin/env bash
# The endpoint: one row a request to the forest of the flow sample, beside a forest of scikit-learn behind
# kserve's own server, both under `wrk` in the same run.
#
#   tests/bench/serve.sh [SECONDS]
#
# Needs `wrk` and `curl` (Debian packages); Python's part is left out without `PYTHON`, an interpreter with
# kserve and scikit-learn.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/build.sh
seconds=${1:-10}
for tool in wrk curl; do command -v $tool >/dev/null || { echo "needs $tool: apt-get install wrk curl" >&2; exit 1; }; done
work=$(mktemp -d); server=; trap '[ -z "$server" ] || kill "$server"; wait; rm -rf "$work"' EXIT
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
row='[0.5,100,2000,3,4,900,300,0.2,1.5,4,3,5,1.2,0.3,0.5,0,1,0,0,0.1,20]' columns=21
cat >"$work/post.lua" <<L
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"inputs":[{"name":"features","datatype":"FP64","shape":[1,$columns],"data":$row}]}'
L

# measured NAME PORT COMMAND...: the time until it is ready, requests a second, latency and memory.
measured() {
    local name=$1 port=$2 begin; shift 2
    begin=$(date +%s%N)
    "$@" >"$work/log" 2>&1 & server=$!
    until curl -sf "http://127.0.0.1:$port/v2/health/ready" >/dev/null; do kill -0 $server || { tail -5 "$work/log"; exit 1; }; done
    echo "$name: ready after $((($(date +%s%N) - begin) / 1000000)) ms"
    local one="http://127.0.0.1:$port/v2/models/flow/infer"
    wrk -t1 -c1 -d2s -s "$work/post.lua" "$one" >/dev/null
    for connections in 1 8; do
        wrk -t1 -c$connections -d"${seconds}s" --latency -s "$work/post.lua" "$one" |
            awk -v c=$connections '/ 50%| 99%/ { at[$1] = $2 } /Requests\/sec/ { rate = $2 } /Non-2xx/ { bad = $0 }
                END { printf "  %d connection(s): %s requests/s, median %s, 99th percentile %s%s\n", c, rate, at["50%"], at["99%"], bad }'
    done
    awk '/VmHWM/ { printf "  peak memory %.1f MiB", $2 / 1024 } /RssAnon/ { printf ", %.1f MiB of it its own\n", $2 / 1024 }' "/proc/$server/status"
    kill $server; wait $server 2>/dev/null || true; server=
}

"$lynceus" run flow --sample --store "$work/store" >/dev/null 2>&1
port=$(free)
measured "lynceus serve" "$port" "$lynceus" serve flow --store "$work/store" --address "127.0.0.1:$port"
[ -n "${PYTHON:-}" ] || exit 0
port=$(free)
measured "kserve" "$port" "$PYTHON" tests/bench/serve.py "$port" $columns
