#!/usr/bin/env bash
# Models of network flows, one-class and supervised, through the steps and beside scikit-learn on the
# same rows and features: trained on the flows before a time, tested on those after it.
#
#   tests/bench/flows.sh FLOWS.csv.gz [--cut TIME] [--json FILE]
#
# FLOWS.csv.gz is the AssureMOSS set (doi:10.1145/3538969.3543810, CC-BY-4.0) with encoded columns.
# Needs Python with numpy, pyarrow and scikit-learn (`PYTHON=...`).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/build.sh
LYNCEUS=$lynceus exec "${PYTHON:-python3}" tests/bench/labelled/flows.py "$@"
