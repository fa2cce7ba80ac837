#!/usr/bin/env bash
# How well a document finds labelled anomalies: one table over all sets of a data folder, with peers
# in the same run and paired differences against the figures that were saved last.
#
#   tests/bench/quality.sh DATA [--changes] [--save] [--no-peers] [--document FILE] [--set FIELD=VALUE]...
#       [--missing SHARE] [--json FILE]
#
# DATA, and each folder in it, may hold pairs `<set>_train`, `<set>_test` (.csv, .csv.gz or .parquet;
# numbers, and in the test table the column `label`, 0 where it is normal). The other layouts that are
# known are in quality.py and held_out.py. --changes adds sets with injected changes and cut training (changes.py).
# --save keeps the figures in tests/bench/quality.json. Needs python3 with venv and the network once.
set -euo pipefail
cd "$(dirname "$0")/../.."
environment=${CARGO_TARGET_DIR:-target}/quality
if ! cmp -s tests/bench/quality.txt "$environment/quality.txt"; then
    python3 -m venv --clear "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check -r tests/bench/quality.txt
    cp tests/bench/quality.txt "$environment/quality.txt"
fi
. tests/bench/build.sh
exec "$environment/bin/python" tests/bench/quality.py "$@"
