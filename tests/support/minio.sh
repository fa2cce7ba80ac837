#!/usr/bin/env bash
# Builds the MinIO server, its client `mc` and `kustomize`, which the tests run, once, into a cache
# folder.
#
#   tests/support/minio.sh           builds what is missing and prints the folder that holds them
#   tests/support/minio.sh --path    prints the folder, or fails if they are not built
#
# MinIO publishes no binaries that everyone may fetch, but its Go modules are public: a build takes
# about 3 minutes on two free cores. Go is taken from the PATH if it is new enough; else, on Debian,
# the packaged Go fetches the wanted one from the module proxy, which checks its hash.
set -euo pipefail

minio=v0.0.0-20260212201848-7aac2a2c5b7c
mc=v0.0.0-20250313080218-cf909e1063a9
# The order of objects (sortOptions) is known from 5 on; Debian's kubectl has an older one built in.
kustomize=v5.7.1
go=1.24.11 # what the server's go.mod asks for, newest patch

folder=${LYNCEUS_TOOLS:-$HOME/.cache/lynceus-tools}/minio-$minio
missing=()
for tool in minio mc kustomize; do [ -x "$folder/$tool" ] || missing+=("$tool"); done
if [ ${#missing[@]} = 0 ]; then
    echo "$folder"
    exit
fi
if [ "${1:-}" = --path ]; then
    echo "${missing[*]}: not built yet: run tests/support/minio.sh, or set LYNCEUS_TEST_MINIO=off" >&2
    exit 1
fi

# Modules and what is compiled on the way, some 3 GB, are gone at the end.
build=$(mktemp -d)
trap 'chmod -R u+w "$build"; rm -rf "$build"' EXIT
export GOMODCACHE=$build/go GOCACHE=$build/cache GOFLAGS='-trimpath -modcacherw'

# Prints the Go to build with.
find_go() {
    local found
    found=$(command -v go || true)
    # Go since 1.21 fetches the version that a module requires, unless GOTOOLCHAIN forbids it.
    if [ -n "$found" ] && [ "$(printf '%s\n' "go1.24" "$("$found" env GOVERSION)" | sort -V | head -1)" = go1.24 ]; then
        echo "$found"
        return
    fi
    if [ -z "$found" ]; then
        echo "installing Debian's Go" >&2
        local sudo=
        [ "$(id -u)" = 0 ] || sudo=sudo
        $sudo apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends golang-go >/dev/null
        found=$(command -v go)
    fi
    local architecture
    architecture=$("$found" env GOOS)-$("$found" env GOARCH)
    echo "fetching Go $go" >&2
    (cd "$build" && "$found" mod download \
        "golang.org/toolchain@v0.0.1-go$go.$architecture") >&2
    local root=$build/go/golang.org/toolchain@v0.0.1-go$go.$architecture
    # An older Go does not know that some of the module's files are programs.
    chmod -R u+x "$root/bin" "$root/pkg/tool"
    echo "$root/bin/go"
}

program=$(find_go)
echo "building ${missing[*]} with $("$program" env GOVERSION)" >&2
mkdir -p "$folder"
declare -A packages=(
    [minio]=github.com/minio/minio@$minio
    [mc]=github.com/minio/mc@$mc
    [kustomize]=sigs.k8s.io/kustomize/kustomize/v5@$kustomize
)
# One at a time and by renaming, so that what is there is whole.
for tool in "${missing[@]}"; do
    GOBIN=$build/bin CGO_ENABLED=0 GOROOT= "$program" install -ldflags '-s -w' "${packages[$tool]}" >&2
    cp "$build/bin/$tool" "$folder/.$tool.partial"
    mv "$folder/.$tool.partial" "$folder/$tool"
done
echo "$folder"
