#!/usr/bin/env bash
# The first hour of three newcomers, on real servers: an SRE with a young Prometheus, a data scientist
# with a labelled table, a platform engineer with a bucket. Each command is one that the documentation
# names; the script ends with the first that does not do what it should.
#
#   tests/first_hour.sh [PROGRAM]     PROGRAM is target/debug/lynceus by default
#
# LYNCEUS_TEST_MINIO=off leaves out the bucket. Needs prometheus, promtool, curl and gzip.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
program=$(realpath "${1:-target/debug/lynceus}")
place=$(mktemp -d)
servers=()
finish() {
    for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done
    for server in "${servers[@]}"; do wait "$server" 2>/dev/null || true; done
    rm -rf "$place"
}
trap finish EXIT
unset LYNCEUS_STORE LYNCEUS_PIPELINES

# lynceus ARGS...: runs the program; what it says is kept in $place/said and shown when it fails.
lynceus() {
    if ! "$program" "$@" >"$place/said" 2>&1; then
        echo "FAILED: lynceus $*" >&2
        cat "$place/said" >&2
        exit 1
    fi
}
# fails CODE ARGS...: the program must end with this exit code.
fails() {
    local code=0 expected=$1
    shift
    "$program" "$@" >"$place/said" 2>&1 || code=$?
    [ "$code" = "$expected" ] || { echo "FAILED: lynceus $*: exit code $code, not $expected" >&2; cat "$place/said" >&2; exit 1; }
}
# says TEXT: what the last command said holds a text.
says() {
    grep -qF -- "$1" "$place/said" || { echo "FAILED: nothing says \`$1\` in:" >&2; cat "$place/said" >&2; exit 1; }
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# until_ready URL: waits for a server that was started, a minute at most.
until_ready() { curl -sf --retry 120 --retry-delay 0 --retry-max-time 60 --retry-all-errors -o /dev/null "$1"; }

echo "== the samples that come with the program, no repository"
mkdir -p "$place/samples"
cd "$place/samples"
for name in container flow; do
    lynceus init --from "$name"
    says "Next: lynceus run $name --sample"
    fails 2 init "$name-of-mine" --from "$name" --url http://127.0.0.1:9
    lynceus run "$name" --sample
    says "report  "
done

echo "== SRE: a young Prometheus, no repository"
mkdir -p "$place/sre"
cd "$place/sre"
# The recorded node, whose last sample is a minute old.
now=$(date +%s)
gzip -dc "$root/pipelines/samples/cluster/raw.openmetrics.gz" >raw
last=$(grep -v '^#' raw | awk '{ if ($NF + 0 > last) last = $NF + 0 } END { printf "%.0f", last }')
awk -v shift=$((now - 60 - last)) '/^#/ { print; next } { time = $NF + shift; sub(/ [^ ]*$/, ""); printf "%s %.3f\n", $0, time }' raw >shifted
promtool tsdb create-blocks-from openmetrics shifted data >/dev/null
port=$(free_port)
echo 'global: {}' >prometheus.yml
prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address="127.0.0.1:$port" \
    --storage.tsdb.retention.time=100y --log.level=error >prometheus.log 2>&1 &
servers+=($!)
until_ready "http://127.0.0.1:$port/-/ready"
lynceus init --url "http://127.0.0.1:$port"
says "queries have data"
says "Next: lynceus run cluster"
test -s pipelines/cluster.yaml
lynceus source check cluster
lynceus lint pipelines/cluster.yaml
says "nothing wrong"
# An hour and a half is too little for windows of a minute, and the program says so.
fails 3 run cluster
says "a training needs at least"
sed -i 's/^step: .*/step: 30s/' pipelines/cluster.yaml
lynceus run cluster
says "report  "
lynceus score cluster --since "$(date -u -d '-10 minutes' +%FT%TZ)"
says "windows scored"
lynceus scores cluster --last 10m
says "score/threshold"
lynceus scores cluster --last 10m --output csv
says "time,entity,verdict,score,threshold"
lynceus status cluster
says "last window"
lynceus messages cluster --last 1h
lynceus score cluster --backfill "$(date -u -d '-30 minutes' +%FT%TZ)" "$(date -u -d '-15 minutes' +%FT%TZ)"
says "windows scored"
lynceus status
says "cluster"
echo "no host: the output names what is retried and what to check"
fails 4 run cluster --set sources.metrics.prometheus.url=http://127.0.0.1:9 --set sources.metrics.prometheus.retries=1 --retries 0
says "127.0.0.1:9"

echo "== Data scientist: a labelled table"
mkdir -p "$place/data"
cd "$place/data"
awk 'BEGIN {
    print "time,host,requests,errors,label"
    for (minute = 0; minute < 400; minute++) for (host = 0; host < 5; host++) {
        odd = (minute + host * 7) % 60 >= 57
        printf "%d,h%d,%.6f,%.6f,%s\n", 1795219200 + 60 * minute, host, (minute * 31 + host * 13) % 97 / 97 + (odd ? 9 : 0), (minute * 57 + host * 13) % 97 / 97, odd ? "flood" : "BENIGN"
    }
}' >rows.csv
mkdir pipelines
cat >pipelines/hosts.yaml <<'YAML'
format: 1
name: hosts
step: 1m
range: 1d
now: last_row
sources:
  rows: {table: {path: ../rows.csv, time: time, time_format: seconds, entity: host, label: label}}
labels: {normal: [benign]}
features: [raw]
split: {by: entity}
models: {isolation_forest: {trees: 50}}
vote: {combine: votes, threshold: {quantile: {share: 0.99}}}
gate: {max_false_alarm_ratio: 0.5}
YAML
lynceus lint
says "nothing wrong"
lynceus document hosts --set models.isolation_forest.trees=20
says "trees: 20"
lynceus run hosts --set models.isolation_forest.trees=20
lynceus run hosts
lynceus compare hosts previous last
lynceus predict hosts --run last --part test
says "roc_auc"
lynceus predict hosts rows.csv --to scores.parquet
says "rows in scores.parquet"
lynceus predict "$(ls -d .lynceus/runs/hosts/*/select/bundle | tail -1)" rows.csv --output csv
says "time,entity,verdict,score,threshold"
lynceus score hosts --since 2026-11-21T05:00:00Z
lynceus evaluate hosts --from 2026-11-21T05:00:00Z --to 2026-11-21T07:00:00Z
says "flood"
lynceus init --from cluster
for stage in collect label feature validate train select deploy score alert report; do
    lynceus step "$stage" --sample cluster
    says "lynceus step $stage --document"
done
test -s lynceus-steps/cluster/report/report.html

if [ "${LYNCEUS_TEST_MINIO:-on}" != off ]; then
    echo "== Platform engineer: many pipelines in a bucket"
    mkdir -p "$place/platform/pipelines"
    cd "$place/platform"
    tools=$("$root/tests/support/minio.sh" --path)
    port=$(free_port)
    MINIO_ROOT_USER=owner MINIO_ROOT_PASSWORD=owner-secret "$tools/minio" server --quiet --address "127.0.0.1:$port" bucket >minio.log 2>&1 &
    servers+=($!)
    until_ready "http://127.0.0.1:$port/minio/health/ready"
    export MC_CONFIG_DIR=$place/mc
    "$tools/mc" --quiet alias set here "http://127.0.0.1:$port" owner owner-secret >/dev/null
    "$tools/mc" --quiet mb here/lynceus >/dev/null
    export AWS_ACCESS_KEY_ID=owner AWS_SECRET_ACCESS_KEY=owner-secret AWS_REGION=us-east-1
    export AWS_ENDPOINT_URL="http://127.0.0.1:$port" LYNCEUS_STORE=s3://lynceus
    lynceus store check --role trainer
    for team in one two; do
        sed "s/name: hosts/name: team-$team/; s#../rows.csv#$place/data/rows.csv#" "$place/data/pipelines/hosts.yaml" >"pipelines/team-$team.yaml"
        lynceus run "team-$team"
    done
    for command in "status" "runs list" "models list"; do
        # shellcheck disable=SC2086
        lynceus $command
        says team-one
        says team-two
        # shellcheck disable=SC2086
        lynceus $command --output json
        python3 -m json.tool "$place/said" >/dev/null || { echo "FAILED: lynceus $command prints no JSON" >&2; exit 1; }
    done
    lynceus models show team-one live
    lynceus runs show team-one last
    sed 's/name: team-two/name: team-one/' pipelines/team-two.yaml >pipelines/again.yaml
    fails 2 lint pipelines/team-one.yaml pipelines/again.yaml
    says "is of the pipeline \`team-one\`, too"
    fails 2 manifests
    rm pipelines/again.yaml
    lynceus completions bash
    cp "$place/said" completions.bash
    bash -c 'source ./completions.bash; COMP_WORDS=("$0" runs show team-one las); COMP_CWORD=4; _lynceus_and_names "$0" las team-one; [[ " ${COMPREPLY[*]} " == *" last "* ]]' "$program" ||
        { echo "FAILED: the shell does not complete the name of a run" >&2; exit 1; }
    lynceus store gc --keep 60d
fi
echo "the first hour went well"
