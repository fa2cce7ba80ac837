#!/usr/bin/env bash
# Loading rows of 24 numbers into PostgreSQL as the sink does, beside psql's \copy of the same rows in text and in binary form
# into a table of the same shape.
#
#   tests/bench/postgres.sh [ROWS] [ROWS_AT_ONCE]
#
# It starts a server of its own in a temporary folder, with the settings that Debian ships.
set -euo pipefail
cd "$(dirname "$0")/../.."
rows=${1:-500000}; at_once=${2:-10000}
. tests/bench/build.sh
load=$examples/load
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
work=$(mktemp -d); run=; [ "$(id -u)" != 0 ] || { run="setpriv --reuid=65534 --regid=65534 --clear-groups"; chown nobody "$work"; }
trap 'cd /; $run "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null || true; rm -rf "$work"' EXIT
(cd / && $run "$bin/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --locale=C >/dev/null)
(cd / && $run "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" -o "-c listen_addresses='' -c unix_socket_directories=$work" start >/dev/null)
psql() { command psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -U postgres "$@"; }
psql -f crates/postgres/roles.sql
"$load" "postgresql://lynceus_writer@/postgres?host=$work" "$rows" "$at_once"

# The same rows, from a file, into a table of the same shape.
psql -c "\\copy (SELECT * FROM lynceus.bench) TO '$work/rows.text'" -c "\\copy (SELECT * FROM lynceus.bench) TO '$work/rows.binary' (FORMAT binary)"
for form in text binary; do
    psql -c "CREATE TABLE other (LIKE lynceus.bench INCLUDING ALL) PARTITION BY RANGE (time)"
    psql -Atc "SELECT format('CREATE TABLE other_%s PARTITION OF other FOR VALUES FROM (%L) TO (%L);', n, '2026-11-21Z'::timestamptz + n * interval '1 day', '2026-11-21Z'::timestamptz + (n + 1) * interval '1 day') FROM generate_series(0, 60) n" | psql -f -
    begin=$(date +%s.%N)
    psql -c "\\copy other FROM '$work/rows.$form' (FORMAT $form)"
    end=$(date +%s.%N)
    awk -v f="$form" -v r="$rows" -v s="$(awk "BEGIN { print $end - $begin }")" 'BEGIN { printf "psql \\copy, %s: %d rows, %.3f s, %.0f rows/s\n", f, r, s, r / s }'
    psql -c "DROP TABLE other"
done
