#!/usr/bin/env bash
# The same work in Lynceus and in scikit-learn, PyTorch and PyOD, in one go: speed, memory and, on
# folders of labelled tables, how well faults are ranked. Prints a table with ratios.
#
#   tests/bench/peers.sh [--data DIR]... [--rows FILE.csv.gz] [--json FILE] [--runs N] [--threads N]
#
# DIR holds pairs `<set>_train`, `<set>_test` (.csv, .csv.gz or .parquet; numbers, and in the test
# table the column `label`, 0 where it is normal). --rows gives the rows that are fitted on; without
# it they come from a formula. Needs python3 with venv, and the network once: the environment of
# `peers.txt` (about 6 GB, PyTorch as PyPI has it) is made below target/.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v /usr/bin/time >/dev/null || { echo "needs GNU time: apt-get install time" >&2; exit 1; }
environment=${CARGO_TARGET_DIR:-target}/peers
if ! cmp -s tests/bench/peers.txt "$environment/peers.txt"; then
    python3 -m venv --clear "$environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check -r tests/bench/peers.txt
    cp tests/bench/peers.txt "$environment/peers.txt"
fi
. tests/bench/build.sh
exec "$environment/bin/python" tests/bench/peers.py "$@"
