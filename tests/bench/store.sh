#!/usr/bin/env bash
# What the store costs over a real MinIO on this machine, beside `aws s3 cp`:
#
#   tests/bench/store.sh              all of it (the last part fills a store, some minutes)
#   tests/bench/store.sh transfer     1 GiB up and down, seconds and peak memory
#   tests/bench/store.sh deploy       put and promote a bundle
#   tests/bench/store.sh scores       a day of windows written as a catch-up does, and read back
#   tests/bench/store.sh size         commands over 10,000 versions and 100,000 score objects
#   tests/bench/store.sh run          `lynceus run cluster` into the bucket and into a folder
#
# Needs what tests/support/minio.sh needs; awscli is installed from PyPI below the target folder, where there is no `aws`.
set -euo pipefail
cd "$(dirname "$0")/../.."
what=${1:-all}

tools=$(tests/support/minio.sh)
. tests/bench/build.sh
measure=$examples/measure

folder=$(mktemp -d "${BENCH_FOLDER:-/tmp}/store.XXXXXX")
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
export AWS_ACCESS_KEY_ID=measure AWS_SECRET_ACCESS_KEY=measure-secret
HOME=$folder MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY MINIO_BROWSER=off MINIO_UPDATE=off \
    "$tools/minio" server --address "127.0.0.1:$port" "$folder/data" >"$folder/log" 2>&1 &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$folder"' EXIT
export MC_CONFIG_DIR=$folder/mc
for _ in $(seq 50); do
    "$tools/mc" --quiet alias set bench "$AWS_ENDPOINT_URL" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >/dev/null 2>&1 && break
    sleep 0.2
done
"$tools/mc" --quiet mb bench/lynceus >/dev/null

# Runs a command and prints its seconds and peak memory.
measured() {
    local name=$1
    shift
    python3 - "$name" "$@" <<'PYTHON'
import os, resource, subprocess, sys, time
start = time.monotonic()
subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL)
seconds = time.monotonic() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{sys.argv[1]:<28} {seconds:6.2f} s  {used.ru_utime + used.ru_stime:6.2f} CPU s  {used.ru_maxrss / 1024:6.0f} MiB")
PYTHON
}

# Makes sure that there is an `aws`.
find_aws() {
    command -v aws >/dev/null && return
    local place=${CARGO_TARGET_DIR:-$PWD/target}/awscli
    [ -x "$place/bin/aws" ] || { python3 -m venv "$place" && "$place/bin/pip" install --quiet awscli; }
    PATH=$place/bin:$PATH
}

transfer() {
    echo "== 1 GiB (each three times; aim: at least 0.8 of the others' speed, at most 100 MB)"
    find_aws
    head -c 1073741824 /dev/urandom >"$folder/large"
    for _ in 1 2 3; do
        measured "up, lynceus" "$measure" up s3://lynceus/bench large "$folder/large"
        measured "up, aws s3 cp" aws s3 cp --quiet "$folder/large" s3://lynceus/aws/large
        measured "up, mc cp" "$tools/mc" --quiet cp "$folder/large" bench/lynceus/mc/large
        measured "down, lynceus" "$measure" down s3://lynceus/bench large "$folder/lynceus"
        measured "down, aws s3 cp" aws s3 cp --quiet s3://lynceus/aws/large "$folder/aws"
        measured "down, mc cp" "$tools/mc" --quiet cp bench/lynceus/mc/large "$folder/mc-large"
        cmp "$folder/large" "$folder/lynceus"
        rm -f "$folder/lynceus" "$folder/aws" "$folder/mc-large"
    done
}

deploy() {
    echo "== put and promote a bundle, 100 times"
    "$measure" deploy s3://lynceus/deploy 100
}

scores() {
    echo "== 1,440 windows (aim: 1 s to read), five times"
    for round in 1 2 3 4 5; do "$measure" scores "s3://lynceus/scores$round" 1440; done
}

size() {
    echo "== 10,000 versions and 100,000 score objects"
    measured fill "$measure" fill s3://lynceus/size "${BENCH_VERSIONS:-10000}" "${BENCH_WINDOWS:-100000}"
    "$measure" commands s3://lynceus/size
}

run() {
    echo "== a folder, and the bucket (aim: 1.5 times the folder): the sample trained on; the same, its 552 windows scored and reported; again"
    export LYNCEUS_PIPELINES=$PWD/pipelines
    for round in 1 2 3 4 5; do
        mkdir -p "$folder/here$round"
        cd "$folder/here$round"
        local train=(run cluster --overlay "$LYNCEUS_PIPELINES/samples/cluster.yaml" --now 2026-11-21T08:36:00Z)
        measured "train, folder" "$lynceus" "${train[@]}" --store "$folder/train$round"
        measured "train, bucket" "$lynceus" "${train[@]}" --store "s3://lynceus/train$round"
        rm -rf .lynceus
        measured "run, folder" "$lynceus" run cluster --sample --store "$folder/store$round"
        measured "run, bucket" "$lynceus" run cluster --sample --store "s3://lynceus/run$round"
        measured "again, folder" "$lynceus" run cluster --sample --store "$folder/store$round"
        measured "again, bucket" "$lynceus" run cluster --sample --store "s3://lynceus/run$round"
        cd - >/dev/null
    done
}

case $what in
all) transfer; deploy; scores; size; run ;;
transfer | deploy | scores | size | run) "$what" ;;
*) sed -n '2,11p' "$0"; exit 2 ;;
esac
