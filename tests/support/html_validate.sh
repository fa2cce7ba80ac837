#!/usr/bin/env bash
# Fetches the HTML validator that the tests hold pages against, once, into a cache folder, and
# prints the program. It needs Node.js (18 or later) and npm, which tests/gate.sh installs.
#
#   tests/support/html_validate.sh           fetches it if it is missing and prints the program
#   tests/support/html_validate.sh --path    prints the program, or fails if it is not there
set -euo pipefail

version=9.7.1
folder=${LYNCEUS_TOOLS:-$HOME/.cache/lynceus-tools}/html-validate-$version
program=$folder/node_modules/.bin/html-validate
if [ ! -x "$program" ]; then
    if [ "${1:-}" = --path ]; then
        echo "the HTML validator is not there: run tests/support/html_validate.sh, or set LYNCEUS_TEST_BROWSER=off" >&2
        exit 1
    fi
    mkdir -p "$(dirname "$folder")"
    partial=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    npm install --prefix "$partial" --no-audit --no-fund --ignore-scripts --loglevel=error "html-validate@$version" >&2
    # Another test run may have been quicker.
    mv -T "$partial" "$folder" 2>/dev/null || [ -x "$program" ]
fi
echo "$program"
