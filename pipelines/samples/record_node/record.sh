#!/usr/bin/env bash
# Records three nodes: three Linux kernels (user-mode Linux) on one machine, on one virtual network.
#   record.sh OUT LYNCEUS
# OUT gets, for each node: metrics/<seconds>.prom (replies of node_exporter), strace.*.txt, scenarios.csv.
# It ends when the scenarios have ended. Needs root, user-mode-linux, strace, stress-ng, python3, curl,
# prometheus-node-exporter, e2fsprogs; LYNCEUS is the program `lynceus`, which may appear later. PILOT, such as 4m, shortens the faults.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd) lynceus=$2 uml=${UML:-linux.uml}
images=$(mktemp -d /dev/shm/node-images.XXXXXX)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$images"' EXIT
number=0 start=$(date +%s)
for node in node-a node-b node-c; do
    number=$((number + 1))
    mkdir -p "$out/$node/metrics" "$out/uml"
    cp "$here/$node.yaml" "$out/$node/scenario.yaml"
    truncate -s 256M "$images/$node"
    mkfs.ext4 -q "$images/$node"
    # The root file system is this machine's, read-only; OUT alone can be written.
    "$uml" mem=384M root=/dev/root rootfstype=hostfs rootflags=/ ro init="$here/node.sh" con=null con0=null,fd:1 \
        quiet umid="$node" uml_dir="$out/uml" ubda="$images/$node" eth0=mcast,,239.192.77.1,11077,0 \
        NODE="$node" NUMBER="$number" OUT="$out/$node" HERE="$here" LYNCEUS="$lynceus" START="$start" PILOT="${PILOT:-}" \
        </dev/null >"$out/$node/console.txt" 2>&1 &
    pids+=($!)
done
wait
