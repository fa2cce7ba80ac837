#!/usr/bin/env bash
# How fast `task: classify` is: a training of 1,000 pods with 60 rows each (aim: 2 s), and a tick that
# classifies 10,000 containers (aim: 500 ms, 100 MB). The tables are made up.
#
# With --quality: how right it is on the sample of `container`. Each instance is left out once, the model and
# all bounds are chosen without it, and its windows are classified one after another (aim: balanced accuracy
# .95, at most 2 % wrong, at most 10 % unknown).
#
#   tests/bench/containers.sh [--quality]
#
# Needs Python 3.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/build.sh
export LYNCEUS=$lynceus LEAVE_ONE_OUT=$examples/leave_one_out
case "${1:-}" in
    "") exec "${PYTHON:-python3}" tests/bench/labelled/containers.py ;;
    --quality) exec "${PYTHON:-python3}" tests/bench/labelled/instances.py ;;
    *) echo "usage: tests/bench/containers.sh [--quality]" >&2; exit 2 ;;
esac
