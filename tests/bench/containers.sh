#!/usr/bin/env bash
# How fast `task: classify` is: a training of 1,000 pods with 60 rows each (aim: 2 s), and a tick that
# classifies 10,000 containers (aim: 500 ms, 100 MB). The tables are made up.
#
#   tests/bench/containers.sh
#
# Needs Python 3.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/build.sh
LYNCEUS=$lynceus exec "${PYTHON:-python3}" tests/bench/labelled/containers.py
