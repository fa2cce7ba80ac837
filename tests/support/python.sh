#!/usr/bin/env bash
# Makes the Python environment that the tests use, once, in target/python, and prints its interpreter.
#
#   tests/support/python.sh           makes what is missing
#   tests/support/python.sh --path    prints the interpreter, or fails if the environment is not made
#
# It needs Debian's python3-venv (or any Python from 3.9 on) and PyPI.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=$PWD/target/python
wanted=$(cat tests/support/python.txt tests/support/python.sh | sha256sum | cut -c 1-16)
if [ "$(cat "$folder/made-of" 2>/dev/null || true)" = "$wanted" ]; then
    echo "$folder/bin/python"
    exit
fi
if [ "${1:-}" = --path ]; then
    echo "the tests' Python is not there yet: run tests/support/python.sh, or set LYNCEUS_TEST_PYTHON=off" >&2
    exit 1
fi
python=/usr/bin/python3
[ -x $python ] || python=python3
rm -rf "$folder"
"$python" -m venv "$folder" >&2
"$folder/bin/pip" install --quiet --disable-pip-version-check --requirement tests/support/python.txt >&2
# Older models of Argo, each in a folder of its own: 5.20.0 has those of Argo 3.6, 6.0.0 of 3.7.
for release in 5.20.0 6.0.0; do
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$folder/hera-$release" "hera==$release" >&2
done
# Clients of an inference endpoint, apart: kserve needs other versions of what the rest needs, too.
"$folder/bin/pip" install --quiet --disable-pip-version-check --target "$folder/clients" "tritonclient[http]==2.73.0" "kserve==0.21.0" >&2
echo "$wanted" >"$folder/made-of"
echo "$folder/bin/python"
