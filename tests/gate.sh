#!/usr/bin/env bash
# Everything that must hold, in one command: installs what the tests need, then formatting, lints,
# documentation and all tests. Works from any folder, as root or with sudo, and needs Rust and a C
# compiler.
#
#   tests/gate.sh           all of it
#   tests/gate.sh --quick   the tests alone
set -euo pipefail
cd "$(dirname "$0")/.."
# On a machine that is there for one run, what a second build would save is not kept.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0

# The tests run a real Prometheus (and its promtool), InfluxDB (LYNCEUS_TEST_INFLUXDB=off leaves it
# out), Alertmanager and SMTP server of their own; nothing is started as a service. Completions are
# tried in bash, zsh and fish.
needed=()
command -v prometheus >/dev/null && command -v promtool >/dev/null || needed+=(prometheus)
command -v curl >/dev/null || needed+=(curl)
command -v openssl >/dev/null || needed+=(openssl)
command -v stress-ng >/dev/null || needed+=(stress-ng)
command -v tc >/dev/null || needed+=(iproute2)
[ "${LYNCEUS_TEST_INFLUXDB:-on}" = off ] || command -v influxd >/dev/null || needed+=(influxdb)
command -v zsh >/dev/null || needed+=(zsh)
command -v fish >/dev/null || needed+=(fish)
[ -x /usr/bin/prometheus-alertmanager ] || needed+=(prometheus-alertmanager)
/usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || needed+=(python3-aiosmtpd)
if [ "${LYNCEUS_TEST_BROWSER:-on}" != off ]; then
    # Pages are looked at in a browser, with the fonts that the pictures of tests/golden have, and
    # held against an HTML validator.
    command -v chromium >/dev/null || needed+=(chromium)
    [ -d /usr/share/fonts/truetype/dejavu ] || needed+=(fonts-dejavu-core)
    [ -d /usr/share/fonts/truetype/liberation ] || needed+=(fonts-liberation)
    command -v npm >/dev/null || needed+=(nodejs npm)
fi
if [ "${LYNCEUS_TEST_POSTGRES:-on}" != off ]; then
    # The tests start a PostgreSQL of their own, in a temporary folder (LYNCEUS_TEST_POSTGRES=off
    # leaves them out).
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && command -v psql >/dev/null || needed+=(postgresql)
fi
if [ "${LYNCEUS_TEST_PYTHON:-on}" != off ]; then
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || needed+=(python3-venv)
fi
if [ ${#needed[@]} -gt 0 ]; then
    echo "== installing ${needed[*]}"
    sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
    export DEBIAN_FRONTEND=noninteractive
    # A package that may not start its service is installed all the same.
    policy=/usr/sbin/policy-rc.d
    had_policy=; [ -e $policy ] && had_policy=1
    [ -n "$had_policy" ] || printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
    [ -n "$had_policy" ] || $sudo chmod +x $policy
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq --no-install-recommends "${needed[@]}" >/dev/null
    [ -n "$had_policy" ] || $sudo rm -f $policy
fi

if [ "${1:-}" != --quick ]; then
    echo "== format"
    cargo fmt --all -- --check
    # Tables declare these modules, so `cargo fmt` does not find them.
    rustfmt --check crates/document/src/{channels,sinks,sources}/*.rs
    echo "== lints"
    cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
    echo "== documentation"
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
    if command -v mdbook >/dev/null; then
        echo "== book"
        mdbook build docs --dest-dir "$(mktemp -d)"
    fi
    if command -v actionlint >/dev/null; then
        echo "== workflows"
        actionlint .github/workflows/*.yml
    fi
    if command -v cargo-deny >/dev/null; then
        echo "== licences and sources"
        cargo deny --offline check licenses bans sources
    fi
fi

if [ "${LYNCEUS_TEST_MINIO:-on}" != off ]; then
    echo "== MinIO (LYNCEUS_TEST_MINIO=off leaves out what runs against it)"
    tests/support/minio.sh >/dev/null
fi

if [ "${LYNCEUS_TEST_BROWSER:-on}" != off ]; then
    echo "== HTML validator (LYNCEUS_TEST_BROWSER=off leaves out what needs it or a browser)"
    tests/support/html_validate.sh >/dev/null
fi

if [ "${LYNCEUS_TEST_PYTHON:-on}" != off ]; then
    echo "== Python readers of manifests (LYNCEUS_TEST_PYTHON=off leaves them out)"
    tests/support/python.sh >/dev/null
fi

if [ "${LYNCEUS_TEST_MLFLOW:-on}" != off ]; then
    echo "== MLflow (LYNCEUS_TEST_MLFLOW=off leaves out what runs against it)"
    tests/support/mlflow.sh >/dev/null
fi

echo "== the first hour of a newcomer"
cargo test --locked --workspace --no-run --quiet
tests/first_hour.sh target/debug/lynceus

echo "== each step by itself"
tests/steps.sh target/debug >/dev/null

echo "== tests"
cargo test --locked --workspace
