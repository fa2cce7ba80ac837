#!/usr/bin/env bash
# Detection on two small public tables of nodes beside the plain rule of 2 standard deviations.
#
#   tests/bench/node_tables.sh FOLDER
#
# FOLDER holds, of the projects that docs/src/nodes-detection.md names, `k3s_windows_excerpt.csv` (timestamp, label, node
# and nine numbers) and `kind_{production_baseline,normal_behavior,fault_test}.csv` (node, timestamp, cpu, mem, net_out,
# net_in, latency). Needs Python with pyarrow 26.0.1 (`PYTHON=...`).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/build.sh
LYNCEUS=$lynceus exec "${PYTHON:-python3}" tests/bench/node_tables.py "$1"
