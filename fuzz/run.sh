#!/bin/sh
# Runs libFuzzer on one target (or on every target in turn) with a stable compiler.
#   fuzz/run.sh <target|all> <inputs> [libFuzzer options]
set -eu
cd "$(dirname "$0")"
target=${1:?a target or all}
inputs=${2:?how many inputs}
shift 2
if [ "$target" = all ]; then
    targets=$(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' Cargo.toml)
else
    targets=$target
fi
host=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz passes. RUSTC_BOOTSTRAP lets a stable compiler accept -Z options; it is set for this build only.
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Ccodegen-units=1"
cargo build --release --target "$host"
unset RUSTC_BOOTSTRAP RUSTFLAGS
cargo run --release --manifest-path ../Cargo.toml --package simulator -- fuzz --write-seeds corpus
binaries=${CARGO_TARGET_DIR:-target}/$host/release
for name in $targets; do
    mkdir -p "artifacts/$name"
    "$binaries/$name" "corpus/$name" "regressions/$name" -runs="$inputs" -max_len=4096 -rss_limit_mb=512 \
        -artifact_prefix="artifacts/$name/" "$@"
done
