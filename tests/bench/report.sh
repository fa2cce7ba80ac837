#!/usr/bin/env bash
# The page of the bundled sample, and of the scores of 30 days at one minute with 100 entities.
#
#   tests/bench/report.sh [RUNS]     BENCH_DAYS and BENCH_ENTITIES choose another size
#
# The second one needs a gigabyte of room below $TMPDIR.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/bench/measure.sh
runs=${1:-5}
days=${BENCH_DAYS:-30} entities=${BENCH_ENTITIES:-100}
. tests/bench/build.sh
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

"$built/lynceus" run cluster --sample --store "$work/sample" >/dev/null 2>&1
run=$(echo "$work"/sample/runs/cluster/*/)
sample=(--document "$run/document.yaml" --run "$run" --store "$work/sample")
sample+=(--from 2026-11-21T08:36:00Z --to 2026-11-21T09:22:00Z --now 2026-11-21T09:22:00Z)
for features in "$work"/sample/cache/scored/cluster/*.parquet; do sample+=(--features "$features"); done
measure "page of the sample (target 0.3 s, 60 MiB)" "$runs" "$built/report" "${sample[@]}" --report "$work/sample.html" --tables "$work/sample.tables"
echo "its size: $(stat -c %s "$work/sample.html") bytes (target 1,000,000)"

"$built/examples/fill" "$work/large" "$days" "$entities"
large=(--document "$work/large/document.yaml" --store "$work/large")
large+=(--from 2026-10-01T00:00:00Z --to "$(date -u -d "2026-10-01 + $days days" +%Y-%m-%dT%H:%M:%SZ)" --now 2026-12-01T00:00:00Z)
for threads in 1 2; do
    measure "$days days of minutes, $entities entities, $threads threads (5 s, 300 MiB)" "$runs" "$built/report" "${large[@]}" --threads $threads --report "$work/large.html"
done
