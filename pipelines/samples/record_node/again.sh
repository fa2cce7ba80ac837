#!/usr/bin/env bash
# Makes the sample of `node` again, in one command of about 70 minutes: recording, metrics, events, scenarios.
#   sudo again.sh LYNCEUS [FOLDER] [PILOT]
# FOLDER is ../node by default, and is replaced only when all of it was made. PILOT, such as 4m, shortens the faults of each
# node to that time, to see that everything works. Needs what record.sh needs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
lynceus=$(realpath "${1:?name the program lynceus}")
folder=${2:-$here/../node}
out=$(mktemp -d) made=$(mktemp -d)
trap 'rm -rf "$out" "$made"' EXIT
PILOT=${3:-} "$here/record.sh" "$out" "$lynceus"
for node in node-a node-b node-c; do
    [ -s "$out/$node/scenarios.csv" ] || { echo "error: $node recorded no scenario: $(tail -n 3 "$out/$node/console.txt")" >&2; exit 4; }
done
mkdir "$made/events"
python3 "$here/metrics.py" "$made/metrics.csv.gz" "$out"
python3 "$here/events.py" "$made/events" "$out"
python3 "$here/scenarios.py" "$out" "$made/scenarios.csv"
mkdir -p "$folder/events"
cp "$made"/events/* "$folder/events/"
cp "$made/metrics.csv.gz" "$made/scenarios.csv" "$folder/"
