#!/usr/bin/env bash
# Each step by itself on the recorded sample, in the order of the data: what docs/src/steps.md shows.
#
#   tests/steps.sh [FOLDER]             runs the programs of FOLDER, target/debug by default, by the
#                                       command lines that --print prints
#   tests/steps.sh --containers [NAME]  runs the images NAME/STEP, localhost/lynceus by default
#   tests/steps.sh --print [NAME]       prints the command lines; with NAME those of containers
#
# It works in a folder of its own, which is removed at the end, or in LYNCEUS_STEPS, which is kept.
set -euo pipefail

form=run what=target/debug
case ${1:-} in
    --print) form=print what=${2:-} ;;
    --containers) form=containers what=${2:-localhost/lynceus} ;;
    ?*) what=$1 ;;
esac
cd "$(dirname "$0")/.."
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
engine=${CONTAINER_ENGINE:-podman}

# step STAGE FLAGS...: prints or runs a step, as the command line says.
step() {
    local stage=$1 line
    shift
    # A flag and its value stand in one line; what follows is indented.
    line=$(printf '%s' "$*" | sed 's/ --/ \\\n    --/2g')
    # The name alone of one step, `select`, is a word of the shell's own.
    # shellcheck disable=SC2016
    [ -n "$what" ] && [ "$form" != run ] || line="\$programs/$stage $line"
    if [ "$form" = print ]; then
        # The command line is for a shell that is not this one.
        # shellcheck disable=SC2016
        if [ -z "$what" ]; then
            echo "$line"
        else
            printf '%s run --rm --user "$(id -u):$(id -g)" --network none -v "$PWD:/work" -w /work \\\n    %s/%s:%s \\\n    %s\n' \
                "$engine" "$what" "$stage" "$version" "$line"
        fi
        return
    fi
    echo "== $stage"
    if [ "$form" = run ]; then
        programs=$what eval "$line"
    else
        # A container in a container needs other cgroups and limits: PODMAN_FLAGS.
        # shellcheck disable=SC2086
        "$engine" run --rm ${PODMAN_FLAGS:-} --user "$(id -u):$(id -g)" --network none -v "$PWD:/work" -w /work \
            "$what/$stage:$version" "$@"
    fi
}
# section TITLE: a heading of the page.
section() { [ "$form" != print ] || echo "# $1"; }

all() {
    section "samples of the training range"
    step collect --document pipelines/sample.yaml --samples run/collect/samples.parquet --now 2026-11-21T08:36:00Z --outcome run/collect/outcome.json
    section "labels of a scenario log"
    step label --document pipelines/sample.yaml --scenarios pipelines/samples/cluster/scenarios.csv --labels run/label/labels.parquet --outcome run/label/outcome.json
    section "features"
    step feature --document pipelines/sample.yaml --samples run/collect/samples.parquet --labels run/label/labels.parquet --features run/feature/features.parquet --outcome run/feature/outcome.json
    section "expectations, and the split into train, validation and test"
    step validate --document pipelines/sample.yaml --features run/feature/features.parquet --dataset run/validate/dataset --validation run/validate/validation.json --now 2026-11-21T08:36:00Z --outcome run/validate/outcome.json
    section "a model"
    step train --document pipelines/sample.yaml --dataset run/validate/dataset --model adaptive --seed 7 --candidate run/train-adaptive/candidate --outcome run/train-adaptive/outcome.json
    section "calibration, thresholds and metrics"
    step select --document pipelines/sample.yaml --dataset run/validate/dataset --candidate run/train-adaptive/candidate --bundle run/select/bundle --outcome run/select/outcome.json
    section "a version in the registry, and the alias \`live\`"
    step deploy --document pipelines/sample.yaml --bundle run/select/bundle --dataset run/validate/dataset --store store --now 2026-11-21T08:36:00Z --deployment run/deploy/deployment.json --outcome run/deploy/outcome.json
    section "samples and features of the windows that follow"
    step collect --document pipelines/sample.yaml --store store --samples tick/samples.parquet --coverage tick/coverage.json --now 2026-11-21T09:22:00Z
    step feature --document pipelines/sample.yaml --samples tick/samples.parquet --features tick/features.parquet
    section "scores"
    step score --document pipelines/sample.yaml --features tick/features.parquet --samples tick/samples.parquet --coverage tick/coverage.json --store store --now 2026-11-21T09:22:00Z --scored tick/scored.json
    section "messages"
    step alert --document pipelines/sample.yaml --store store --now 2026-11-21T09:22:00Z --scored tick/scored.json --messages tick/messages.json
    section "the page"
    step report --document pipelines/sample.yaml --run run --store store --from 2026-11-21T08:36:00Z --to 2026-11-21T09:22:00Z --features tick/features.parquet --now 2026-11-21T09:22:00Z --report report.html
}

if [ "$form" = print ]; then
    all
    exit
fi
lynceus=$(realpath "${LYNCEUS:-target/debug/lynceus}")
[ "$form" = containers ] || what=$(realpath "$what")
place=${LYNCEUS_STEPS:-}
if [ -z "$place" ]; then
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
fi
cd "$place"
unset LYNCEUS_STORE LYNCEUS_PIPELINES
"$lynceus" init --from cluster
"$lynceus" document cluster --sample >pipelines/sample.yaml
all
for output in run/label/labels.parquet run/validate/validation.json run/select/bundle/bundle.json run/deploy/deployment.json tick/scored.json tick/messages.json report.html; do
    [ -s "$output" ] || { echo "FAILED: there is no $output" >&2; exit 1; }
done
