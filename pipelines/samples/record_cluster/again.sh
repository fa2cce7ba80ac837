#!/usr/bin/env bash
# Makes a sample such as `cluster` again, in one command of about 95 minutes: faults, replies, raw samples, scenario log.
#   again.sh LYNCEUS PROMETHEUS_URL [FOLDER] [--pilot DURATION] [--scenario FILE] [--log FILE]
# FOLDER is ../cluster by default, and FOLDER_node beside it gets the figures of the nodes; both are replaced only
# when all of it was made. The Prometheus must scrape every 5 s and have seen the time that is recorded and the minute before it.
#   --pilot DURATION  run each fault once, shortened so that all of them take that long
#   --scenario FILE   the faults (faults.yaml)
#   --log FILE        inject nothing: record the time of this scenario log, such as that of Chaos Mesh
# --shop applies shop.yaml first, the workload that was recorded, and deletes it at the end (kubectl).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
lynceus=$(realpath "${1:?name the program lynceus}") url=${2:?name the URL of a Prometheus}
shift 2
folder=$here/../cluster scenario=$here/faults.yaml pilot=() log= shop=
[ $# -eq 0 ] || [[ $1 = --* ]] || { folder=$1; shift; }
while [ $# -gt 0 ]; do
    case $1 in
    --pilot) pilot=(--pilot "$2"); shift 2 ;;
    --scenario) scenario=$2; shift 2 ;;
    --log) log=$2; shift 2 ;;
    --shop) shop=yes; shift ;;
    *) echo "error: there is no flag $1" >&2; exit 2 ;;
    esac
done
work=$(mktemp -d) children=()
end() {
    [ ${#children[@]} -eq 0 ] || kill "${children[@]}" 2>/dev/null || true
    [ -z "$shop" ] || kubectl delete -f "$here/shop.yaml" --wait=false >&2 || true
    rm -rf "$work"
}
trap end EXIT
curl -sf "$url/-/ready" >/dev/null || { echo "error: no Prometheus is ready at $url" >&2; exit 4; }
if [ -n "$shop" ]; then
    kubectl apply -f "$here/shop.yaml" >&2
    kubectl -n shop wait --for=condition=Available deployment --all --timeout=5m >&2
    # The flood of API requests goes through it.
    kubectl proxy --port 8001 >"$work/proxy.txt" 2>&1 & children+=($!)
fi

# The faults. Their log is what really happened.
start=$(date +%s)
if [ -z "$log" ]; then
    cp "$scenario" "$work/faults.yaml"
    "$lynceus" scenario run "$work/faults.yaml" "${pilot[@]}"
    log=$work/$(sed -n 's/^log: *//p' "$work/faults.yaml")
    # What ends a fault shows in the metrics a scrape and a rate window later.
    sleep 65
    last=$(date +%s)
else
    read -r start last < <(python3 "$here/window.py" "$log")
fi
now=$(date -u -d "@$((last / 5 * 5))" +%Y-%m-%dT%H:%M:%SZ) after=$(date -u -d "@$((start / 5 * 5))" +%Y-%m-%dT%H:%M:%SZ)

# The replies of the server to each query, untouched: as the sample asks, each 5 s over a rate window of a minute.
sed -e "s|http://localhost:9090|$url|" -e 's/^step: 1m$/step: 5s/' -e 's/^rate_window: 5m$/rate_window: 1m/' "$here/../../cluster.yaml" >"$work/cluster.yaml"
sed -e "s|http://localhost:9090|$url|" "$here/node.yaml" >"$work/node.yaml"
record() { # DOCUMENT FOLDER
    "$lynceus" step collect --document "$work/$1.yaml" --samples "$work/$1.parquet" --start "$after" --now "$now" --record "$work/$2"
}
record cluster cluster
record node cluster_node
python3 "$here/raw.py" "$url" "$after" "$now" "$work/cluster/raw.openmetrics.gz"
cut -d, -f1-4 "$log" >"$work/cluster/scenarios.csv"
[ "$(wc -l <"$work/cluster/scenarios.csv")" -gt 1 ] || { echo "error: no fault is in the log" >&2; exit 3; }

for made in cluster cluster_node; do
    target=${folder}${made#cluster}
    mkdir -p "$target"
    rm -f "$target"/*.json.gz
    cp "$work/$made"/* "$target/"
done
echo "recorded from $after to $now: $(($(wc -l <"$folder/scenarios.csv") - 1)) faults, $(ls "$folder"/*.json.gz | wc -l) + $(ls "${folder}_node"/*.json.gz | wc -l) replies in $folder"
