#!/usr/bin/env bash
# Models of labelled classes on two public labelled sets, through the steps, beside scikit-learn on
# the same rows: kinds of containers (one pod left out at a time) and malicious network flows
# (trained on the flows before 13:45, tested on those after).
#
#   tests/bench/labelled.sh CONTAINERS.arff FLOWS.csv.gz [--json FILE]
#
# Needs Python with numpy 2.4.6 and scikit-learn 1.9.1 (`PYTHON=...`) and a built program
# (`LYNCEUS=...`, otherwise target/release/lynceus). The sets are named in tests/bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
LYNCEUS=${LYNCEUS:-$PWD/target/release/lynceus} exec "${PYTHON:-python3}" tests/bench/labelled/labelled.py "$@"
