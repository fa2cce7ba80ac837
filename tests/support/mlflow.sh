#!/usr/bin/env bash
# Makes the Python environment with the MLflow server of the tests, once, in target/mlflow, and prints
# the folder of its programs. It is large (about 850 MB): the server needs all of it.
#
#   tests/support/mlflow.sh           makes what is missing
#   tests/support/mlflow.sh --path    prints the folder, or fails if the environment is not made
#
# It needs Debian's python3-venv (or any Python from 3.10 on) and PyPI.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=$PWD/target/mlflow
wanted=3.17.2
if [ "$(cat "$folder/made-of" 2>/dev/null || true)" = "$wanted" ]; then
    echo "$folder/bin"
    exit
fi
if [ "${1:-}" = --path ]; then
    echo "the tests' MLflow is not there yet: run tests/support/mlflow.sh, or set LYNCEUS_TEST_MLFLOW=off" >&2
    exit 1
fi
python=/usr/bin/python3
[ -x $python ] || python=python3
rm -rf "$folder"
"$python" -m venv "$folder" >&2
"$folder/bin/pip" install --quiet --disable-pip-version-check "mlflow==$wanted" >&2
echo "$wanted" >"$folder/made-of"
echo "$folder/bin"
