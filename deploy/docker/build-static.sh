#!/bin/sh
# build-static.sh FOLDER: builds gateway, balancer and loadtest as static binaries and puts them into FOLDER. glibc resolves
# names in a static binary, too, from 2.34 on.
set -eu
out=$1
cd "$(dirname "$0")/../.."
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags are for the binaries only: procedural macros are loaded by the compiler and can't be static.
RUSTFLAGS='-C target-feature=+crt-static' \
  cargo build --release --locked --target "$host" --bin gateway --bin balancer --bin loadtest
mkdir -p "$out"
for binary in gateway balancer loadtest; do
  strip -o "$out/$binary" "${CARGO_TARGET_DIR:-target}/$host/release/$binary"
done
