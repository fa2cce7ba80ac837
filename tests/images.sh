#!/usr/bin/env bash
# Runs every step of the sample pipeline, and the service `serve`, from their images, as the manifests say: user 65532, read-only
# root, no capabilities, no network. What comes out must be what `lynceus run` makes, byte for byte.
# Then the manifests themselves run from the images, over a real MinIO (tests/argo_emulation.rs): there
# a network is given to those steps alone that open the store or ask the source.
#
#   tests/images.sh                  builds what is missing, and runs all of it
#   tests/images.sh label feature    these steps alone; what they read comes from the local run
#
# It needs podman with runc (or CONTAINER_ENGINE) and jq, and is not a part of tests/gate.sh: a first
# build of the images takes 10 minutes and more.
set -euo pipefail
cd "$(dirname "$0")/.."

engine=${CONTAINER_ENGINE:-$(command -v podman || command -v docker)}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
registry=${LYNCEUS_IMAGES:-localhost/lynceus} tag=${LYNCEUS_TAG:-$version}
confined=(--user 65532:65532 --read-only --cap-drop all --security-opt no-new-privileges
    --pids-limit 64 --tmpfs /tmp:rw,size=64m)
# On a machine that is a container itself no limit can be raised, and crun wants other cgroups.
confined+=(--ulimit nofile=1024:1024 --ulimit nproc=1024:1024)
case $engine in *podman) ! command -v runc >/dev/null || confined+=(--runtime runc) ;; esac

passed=0 failed=0
check() { # NAME COMMAND...
    local name=$1 said
    shift
    if said=$("$@" 2>&1); then
        passed=$((passed + 1))
        echo "ok     $name"
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n%s\n' "$name" "$said"
    fi
}
finish() {
    echo "$passed passed, $failed failed"
    [ $failed = 0 ] || exit 1
    exit 0
}

steps=("$@")
if [ ${#steps[@]} = 0 ]; then
    for main in steps/*/src/main.rs services/*/src/main.rs; do steps+=("$(basename "${main%/src/main.rs}")"); done
fi
absent=()
for step in "${steps[@]}"; do
    "$engine" image inspect "$registry/$step:$tag" >/dev/null 2>&1 || absent+=("$step")
done
[ ${#absent[@]} = 0 ] || images/build.sh "${absent[@]}"

starts() { # STEP
    "$engine" run --rm --network none "${confined[@]}" "$registry/$1:$tag" --help | grep -q -- --log
    # The manifests name the program itself.
    "$engine" run --rm --network none "${confined[@]}" --entrypoint "/$1" "$registry/$1:$tag" --version | grep -q "$version"
}

for step in "${steps[@]}"; do check "$step starts" starts "$step"; done

lynceus=${LYNCEUS:-target/release/lynceus}
[ -x "$lynceus" ] || cargo build --locked --release --bin lynceus
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LYNCEUS_PIPELINES=${LYNCEUS_PIPELINES:-$PWD/pipelines}
sample=$LYNCEUS_PIPELINES/samples
now=$(sed -n 's/^  train_until: //p' "$sample/cluster.yaml")
"$lynceus" run cluster --sample --now "$now" --store "$work/local" >/dev/null
ran=$(find "$work/local/runs/cluster" -mindepth 1 -maxdepth 1 -type d | head -n 1)

# The same plan in a store of its own; RUN stands for the run in what `lynceus plan` prints.
run=$work/images/runs/cluster/RUN
mkdir -p "$run"
cp -R "$ran/." "$run"
chmod -R a+rwX "$work"
"$lynceus" plan cluster --sample --now "$now" --store "$work/images" --output json >"$work/plan.json"

runs() { # INDEX
    local step flags
    step=$(jq -r ".[$1].step" "$work/plan.json")
    mapfile -t flags < <(jq -r ".[$1].flags[]" "$work/plan.json")
    "$engine" run --rm --network none "${confined[@]}" --volume "$work/images:$work/images" \
        --volume "$sample:$sample:ro" "$registry/$step:$tag" "${flags[@]}"
}
for index in $(jq 'keys[]' "$work/plan.json"); do
    name=$(jq -r ".[$index].name" "$work/plan.json")
    step=$(jq -r ".[$index].step" "$work/plan.json")
    case " ${steps[*]} " in *" $step "*) ;; *) continue ;; esac
    rm -rf "${run:?}/$name"
    mkdir -p "$run/$name"
    chmod a+rwX "$run/$name"
    check "$name runs" runs "$index"
    # What is about the process (times, paths) is not promised to repeat.
    check "$name makes the same bytes" diff --recursive --brief \
        --exclude outcome.json --exclude log.jsonl --exclude deployment.json "$ran/$name" "$run/$name"
done

# The service answers with the live model, as soon as it is up, and ends in order.
serves() {
    local port container ready=
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    container=$("$engine" run --detach "${confined[@]}" --network host --volume "$work/local:/store:ro" \
        "$registry/serve:$tag" --pipeline cluster --store file:///store --address "127.0.0.1:$port")
    for _ in $(seq 100); do
        ready=$(curl --silent --max-time 5 "http://127.0.0.1:$port/v2/health/ready" || true)
        [ -z "$ready" ] || break
        sleep 0.1
    done
    "$engine" stop --time 10 "$container" >/dev/null
    [ "$ready" = '{"ready":true}' ] || { echo "ready: $ready"; "$engine" logs "$container"; }
    local code
    code=$("$engine" inspect "$container" --format '{{.State.ExitCode}}')
    "$engine" rm "$container" >/dev/null
    [ "$code" = 0 ] && [ "$ready" = '{"ready":true}' ]
}
case " ${steps[*]} " in *" serve "*) check "serve answers" serves ;; esac

# The manifests name the default registry and tag.
if [ $# = 0 ] && [ "$registry:$tag" = "localhost/lynceus:$version" ]; then
    check "the manifests run from the images" \
        env LYNCEUS_TEST_IMAGES=on cargo test --locked --quiet -p pipelines --test product argo_emulation
fi
finish
