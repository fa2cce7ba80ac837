#!/usr/bin/env bash
# Models of network flows, one-class and supervised, through the steps and beside scikit-learn on the
# same rows and features: trained on the flows before a time, tested on those after it.
#
#   tests/bench/flows.sh FLOWS.csv.gz [--cut TIME] [--one-class] [--json FILE]
#
# Supervised models by default. --one-class takes those that are fitted on benign flows alone; a cut before
# the first attack (--cut 2022-02-25T13:30:00+00:00) gives them all attacks to find.
#
# FLOWS.csv.gz is the AssureMOSS set (doi:10.1145/3538969.3543810, CC-BY-4.0) with encoded columns.
# Needs Python with numpy, pyarrow and scikit-learn (`PYTHON=...`).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/build.sh
LYNCEUS=$lynceus exec "${PYTHON:-python3}" tests/bench/labelled/flows.py "$@"
