# Sourced by the benchmarks, in the folder of the repository: everything they time, built in one go, because
# built one by one each would have other features of what they share, and all of that anew. `BUILT` names
# the folder of another build, for example of the commit before. Sets `built`, `lynceus` and `examples`.
if [ -z "${BUILT:-}" ]; then
    cargo build --release --locked --quiet --workspace --bins --examples
    BUILT=${CARGO_TARGET_DIR:-$PWD/target}/release
fi
built=$(realpath "$BUILT"); lynceus=$built/lynceus examples=$built/examples
export BUILT=$built
