#!/usr/bin/env bash
# How well a document finds labelled anomalies: a pair of tables `<set>_train`, `<set>_test` (.csv,
# .csv.gz or .parquet; numbers, and in the test table the column `label`, 0 where it is normal) for
# each set in a folder. Compare with the paper's settings by adding `--set profile=aligo`.
#
#   tests/bench/quality.sh DIR [--document FILE] [--set FIELD=VALUE]... [--missing SHARE] [--json FILE]
set -euo pipefail
cd "$(dirname "$0")/../.."
exec cargo run --release --locked --quiet -p pipelines --example quality -- "$@"
