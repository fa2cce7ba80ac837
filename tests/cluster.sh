#!/usr/bin/env bash
# Runs the cluster pipeline on a real Kubernetes cluster as argo/README.md says: installs it, trains,
# scores once a minute, breaks things, checks that each window was scored exactly once, uninstalls.
#
#   tests/cluster.sh                    all of it, in some 30 minutes
#   tests/cluster.sh install train      these phases: install train score break check uninstall
#
# It needs a cluster with Argo Workflows that watches the namespace `lynceus`, the images of
# images/build.sh on its nodes, a default StorageClass, and a Prometheus where argo/documents/cluster.yaml
# says; kubectl, jq and python3; the programs of tests/support/minio.sh and `lynceus`. It is not a part of
# tests/gate.sh: .github/workflows/cluster.yml runs it on kind.
#
# OVERLAY (argo/dev)        what is applied
# TICKS (10)                scored minutes to wait for, before and after the faults
# PROMETHEUS (deployment/prometheus)  what is scaled to 0 in the namespace MONITORING (monitoring)
# CONTROLLER (deployment/workflow-controller)  what is restarted in the namespace `argo`; empty: nothing
# RUN ()                    a command that all programs are started by, such as nsenter
# LYNCEUS (target/release/lynceus), MC
# WORK (a temporary folder) where what was seen is kept
set -euo pipefail
cd "$(dirname "$0")/.."

overlay=${OVERLAY:-argo/dev} ticks=${TICKS:-10} namespace=lynceus pipeline=cluster
prometheus=${PROMETHEUS:-deployment/prometheus} monitoring=${MONITORING:-monitoring}
controller=${CONTROLLER-deployment/workflow-controller}
lynceus=$(realpath "${LYNCEUS:-target/release/lynceus}")
mc=${MC:-$(tests/support/minio.sh --path)/mc}
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
read -ra run <<<"${RUN:-}"
phases=("$@")
[ ${#phases[@]} -gt 0 ] || phases=(install train score break check uninstall)

say() { printf '%s  %s\n' "$(date -u +%H:%M:%S)" "$*"; }
fail() { say "FAILED: $*"; exit 1; }
k() { "${run[@]}" kubectl "$@"; }
n() { k -n "$namespace" "$@"; }

children=()
end() { for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done; }
trap end EXIT

# until_true SECONDS WHAT COMMAND...
until_true() {
    local seconds=$1 what=$2 end=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "$what: not within $seconds s"
        sleep 1
    done
}

# Keeps what becomes of each workflow: successful ones are deleted after minutes.
watch_workflows() {
    while sleep 5; do
        n get workflows -o json 2>/dev/null | jq -c '.items[] | {
            uid: .metadata.uid, name: .metadata.name, created: .metadata.creationTimestamp,
            clock: .metadata.labels["workflows.argoproj.io/cron-workflow"],
            scheduled: .metadata.annotations["workflows.argoproj.io/scheduled-time"],
            phase: .status.phase, finished: .status.finishedAt, message: .status.message,
            pods: [.status.nodes // {} | .[] | select(.type == "Pod") | .displayName] | sort}' \
            >>"$work/workflows.jsonl" || true
    done
}

# figures clock|template NAME: prints a line of what is known of these workflows
figures() { python3 tests/cluster/figures.py "$work/workflows.jsonl" "$@"; }

# Forwards a port to the bucket. A plain command in the background: its process id is kubectl's own, so
# that it ends with this script.
connect() {
    "${run[@]}" kubectl -n "$namespace" port-forward service/minio :9000 >"$work/port-forward.log" 2>&1 &
    children+=($!)
    until_true 30 "port-forward" grep -q Forwarding "$work/port-forward.log"
    port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\).*/\1/p' "$work/port-forward.log")
}

# store COMMAND...: with the bucket's address and the keys of the role `reader`
store() {
    local keys=minio/credentials/reader
    AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_REGION=us-east-1 \
        AWS_ACCESS_KEY_ID=$(cat $keys/AWS_ACCESS_KEY_ID) \
        AWS_SECRET_ACCESS_KEY=$(cat $keys/AWS_SECRET_ACCESS_KEY) "${run[@]}" "$@"
}
status() { store "$lynceus" status $pipeline --store s3://lynceus "$@"; }

scored() { figures count "lynceus-$pipeline-score"; }
wait_for_ticks() { # COUNT SECONDS
    local wanted=$(($(scored) + $1))
    enough() { [ "$(scored)" -ge "$wanted" ]; }
    until_true "$2" "$1 successful ticks" enough
}

install() {
    [ -d minio/credentials ] || minio/credentials.sh
    k apply -k "$overlay" >"$work/apply.log"
    n rollout status statefulset/minio --timeout=300s >/dev/null
    n wait --for=condition=Complete job/minio-setup --timeout=300s >/dev/null
    say "installed: $(wc -l <"$work/apply.log") objects"
}

train() {
    local workflow started=$SECONDS phase
    workflow=$(n create -o name -f - <<-WORKFLOW
	apiVersion: argoproj.io/v1alpha1
	kind: Workflow
	metadata:
	  generateName: lynceus-$pipeline-train-
	spec:
	  workflowTemplateRef:
	    name: lynceus-$pipeline-train
	WORKFLOW
    )
    ended() {
        phase=$(n get "$workflow" -o jsonpath='{.status.phase}')
        [ "$phase" = Succeeded ] || [ "$phase" = Failed ] || [ "$phase" = Error ]
    }
    until_true 900 "training" ended
    [ "$phase" = Succeeded ] || fail "training: $(n get "$workflow" -o jsonpath='{.status.message}')"
    sleep 6
    connect
    say "trained in $((SECONDS - started)) s: $(figures one "${workflow##*/}")"
    status --output json | jq -e '.live != null' >/dev/null || fail "no model is live"
    store "$lynceus" runs list $pipeline --store s3://lynceus | tail -n 1
}

score() {
    wait_for_ticks "$ticks" $((ticks * 60 + 300))
    say "scored: $(figures clock "lynceus-$pipeline-score")"
    connect
    status | head -n 6
}

# A tick that failed says why, and `lynceus status` says the same.
says_why() { # BEGINNING
    figures message "lynceus-$pipeline-score" | grep -q "^$1" || return 1
    status --output json | jq -e '.failed_tick.why // "" | length > 0'
}

break_things() {
    local pod
    connect
    running() { pod=$(n get pods -l "app.kubernetes.io/component=score,lynceus/pipeline=$pipeline" --field-selector status.phase=Running -o name | head -n 1); [ -n "$pod" ]; }
    until_true 120 "a running tick" running
    n delete --wait=false "$pod" >/dev/null
    say "deleted $pod"
    if [ -n "$controller" ]; then
        k -n argo rollout restart "$controller" >/dev/null
        say "restarted $controller"
        k -n argo rollout status "$controller" --timeout=180s >/dev/null
    fi
    k -n "$monitoring" scale "$prometheus" --replicas=0 >/dev/null
    say "stopped Prometheus"
    until_true 300 "a tick that says why it failed" says_why "1-collect: Error (exit code 4)"
    say "says why: $(figures message "lynceus-$pipeline-score" | head -n 1 | cut -c 1-150)"
    k -n "$monitoring" scale "$prometheus" --replicas=1 >/dev/null
    say "started Prometheus"
    wait_for_ticks 2 420
    n scale statefulset/minio --replicas=0 >/dev/null
    say "stopped MinIO"
    sleep 130
    n scale statefulset/minio --replicas=1 >/dev/null
    n rollout status statefulset/minio --timeout=300s >/dev/null
    say "started MinIO"
    connect
    wait_for_ticks 3 600
    say "caught up: $(figures clock "lynceus-$pipeline-score")"
}

check() {
    local keys=minio/credentials/reader
    connect
    # `mc` takes the address and the keys from this variable.
    MC_HOST_reader=http://$(cat $keys/AWS_ACCESS_KEY_ID):$(cat $keys/AWS_SECRET_ACCESS_KEY)@127.0.0.1:$port \
        MC_CONFIG_DIR=$work/mc store "$mc" --quiet --json ls --versions --recursive \
        "reader/lynceus/scores/$pipeline/" >"$work/scores.jsonl"
    python3 tests/cluster/windows.py "$work/scores.jsonl" || fail "windows"
    status
}

uninstall() {
    # The token goes with its account, before its own turn comes.
    k delete -k "$overlay" --ignore-not-found --wait=true --timeout=300s >/dev/null
    k wait --for=delete "namespace/$namespace" --timeout=300s >/dev/null 2>&1 || true
    ! k get namespace "$namespace" >/dev/null 2>&1 || fail "the namespace is still there"
    say "uninstalled"
}

say "Kubernetes $(k version -o json | jq -r .serverVersion.gitVersion), Argo $(k -n argo get deployment workflow-controller -o jsonpath='{.spec.template.spec.containers[0].image}' 2>/dev/null | sed 's/.*://' || true), lynceus $("$lynceus" --version | cut -d' ' -f2)"
watch_workflows &
children+=($!)
for phase in "${phases[@]}"; do
    case $phase in
        break) break_things ;;
        install | train | score | check | uninstall) "$phase" ;;
        *) echo "error: there is no phase \`$phase\`" >&2; exit 2 ;;
    esac
done
say "all phases passed: ${phases[*]}"
