#!/usr/bin/env bash
# Builds the images of all steps and services, or of those named, from one cargo build.
#
#   images/build.sh                         all steps and services, FROM scratch
#   images/build.sh label serve             these
#   images/build.sh agent                   the recorder of a node
#   images/build.sh lynceus                 the program itself, which scenarios run
#   images/build.sh --base IMAGE@sha256:... on a base such as distroless static, pinned by digest
#   images/build.sh --profile release       a quicker build of larger programs
#   images/build.sh --programs-only         stop before any image is built
#   images/build.sh --programs FOLDER serve images of programs that were built before; on `scratch` they
#                                           must be static
#
# It needs cargo-auditable, which writes the list of its crates into each program, and jq for the same
# list as /sbom.cdx.json of each image: `cargo install --locked "cargo-auditable@^0.7"`; and readelf
# (Debian's binutils), which tells whether a program is static.
#
# LYNCEUS_IMAGES (registry and folder, default localhost/lynceus) and LYNCEUS_TAG (default the
# workspace's version) name the images; CONTAINER_ENGINE chooses podman or docker. Two builds of a
# commit on one machine give the same layers: times are the commit's, paths are taken out of the
# programs.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=dist base=scratch programs_only= programs= steps=()
while [ $# -gt 0 ]; do
    case $1 in
        --profile) profile=$2; shift ;;
        --base) base=$2; shift ;;
        --programs-only) programs_only=1 ;;
        --programs) programs=$2; shift ;;
        -*) echo "error: unknown flag \`$1\`" >&2; exit 2 ;;
        *) steps+=("$1") ;;
    esac
    shift
done
case $base in
    scratch | *@sha256:*) ;;
    *) echo "error: the base \`$base\` is not pinned: name it as IMAGE@sha256:..." >&2; exit 2 ;;
esac
if [ ${#steps[@]} = 0 ]; then
    for main in steps/*/src/main.rs services/*/src/main.rs; do steps+=("$(basename "${main%/src/main.rs}")"); done
fi
packages=()
for step in "${steps[@]}"; do
    case $step in lynceus | agent) packages+=(-p pipelines); continue ;; esac
    [ -f "steps/$step/src/main.rs" ] || [ -f "services/$step/src/main.rs" ] || { echo "error: there is no step or service \`$step\`" >&2; exit 2; }
    packages+=(-p "$step")
done

# --- one build, so that what steps share is compiled once and with one set of features
# With --target the flags stay away from build scripts and macros, which cannot be static.
target=$(rustc -vV | sed -n 's/^host: //p')
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$PWD=/lynceus --remap-path-prefix=$cargo_home=/cargo"
# A folder of its own: nothing compiled with these flags serves any other build, nor waits for one.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/images}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
if [ -n "$programs" ]; then
    built=$programs
    for step in "${steps[@]}"; do
        [ -x "$built/$step" ] || { echo "error: there is no program \`$built/$step\`" >&2; exit 2; }
    done
else
    echo "== programs: ${steps[*]} ($profile)"
    command -v cargo-auditable >/dev/null || { echo "error: cargo-auditable is not installed: cargo install --locked 'cargo-auditable@^0.7'" >&2; exit 4; }
    cargo auditable build --locked --profile "$profile" --target "$target" "${packages[@]}" --bins
    built=$CARGO_TARGET_DIR/$target/$profile
fi
[ -z "$programs_only" ] || exit 0

# --- images
engine=${CONTAINER_ENGINE:-$(command -v podman || command -v docker || true)}
[ -n "$engine" ] || { echo "error: neither podman nor docker is installed" >&2; exit 4; }
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
registry=${LYNCEUS_IMAGES:-localhost/lynceus} tag=${LYNCEUS_TAG:-$version}
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
[ -r "$certificates" ] || { echo "error: no CA certificates at \`$certificates\`" >&2; exit 4; }

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
root=$context/root
mkdir -p "$root/etc/ssl/certs" "$root/tmp" "$root/lynceus"
install -m 0644 "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"
echo 'lynceus:x:65532:65532:lynceus:/lynceus:/sbin/nologin' >"$root/etc/passwd"
echo 'lynceus:x:65532:' >"$root/etc/group"
# Without this file the C library asks DNS before /etc/hosts on some systems.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod 0644 "$root"/etc/{passwd,group,nsswitch.conf}
chmod 1777 "$root/tmp" "$root/lynceus"
chmod 0755 "$root" "$root"/etc "$root"/etc/ssl "$root"/etc/ssl/certs
find "$root" -exec touch --no-dereference -d "@$SOURCE_DATE_EPOCH" {} +

# Whatever built the programs: on `scratch` there is no loader that a dynamic one could be started by.
if [ "$base" = scratch ]; then
    for step in "${steps[@]}"; do
        if LC_ALL=C readelf --program-headers "$built/$step" | grep -q INTERP; then
            echo "error: \`$built/$step\` is linked dynamically: build it with images/build.sh --programs-only, or name a base with its C library" >&2
            exit 3
        fi
    done
fi

for step in "${steps[@]}"; do
    echo "== image $registry/$step:$tag"
    rm -rf "$context/program"
    mkdir -m 0755 "$context/program"
    install -m 0755 "$built/$step" "$context/program/$step"
    ln -s "$step" "$context/program/step"
    images/sbom "$step" | jq --compact-output . >"$context/program/sbom.cdx.json"
    chmod 0644 "$context/program/sbom.cdx.json"
    find "$context/program" -exec touch --no-dereference -d "@$SOURCE_DATE_EPOCH" {} +
    # podman sets all times of a layer itself; docker's builder takes them from the variable.
    times=(--build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH")
    case $engine in *podman) times=(--timestamp "$SOURCE_DATE_EPOCH") ;; esac
    "$engine" build --quiet "${times[@]}" \
        --file images/Containerfile --build-arg "BASE=$base" \
        --label "org.opencontainers.image.title=lynceus $step" \
        --label "org.opencontainers.image.version=$version" \
        --label "org.opencontainers.image.revision=$revision" \
        --label "org.opencontainers.image.created=$created" \
        --label "org.opencontainers.image.licenses=Apache-2.0" \
        --tag "$registry/$step:$tag" "$context" >/dev/null
done
