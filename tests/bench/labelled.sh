#!/usr/bin/env bash
# Models of labelled classes on two public labelled sets, through the steps, beside scikit-learn on
# the same rows: kinds of containers (one pod left out at a time) and malicious network flows
# (trained on the flows before 13:45, tested on those after).
#
#   tests/bench/labelled.sh CONTAINERS.arff [FLOWS.csv.gz] [--json FILE]
#
# `classify` are the models of `task: classify` (each fitted without one pod), the others those of
# labelled anomalies, with their own cross-validation; scikit-learn leaves out a pod at a time.
#
# Needs Python with numpy 2.4.6 and scikit-learn 1.9.1 (`PYTHON=...`). The sets are named in tests/bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/build.sh
export LYNCEUS=$lynceus LEAVE_ONE_OUT=$examples/leave_one_out
exec "${PYTHON:-python3}" tests/bench/labelled/labelled.py "$@"
