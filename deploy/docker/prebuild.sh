#!/usr/bin/env bash
# Fills target/prebuilt for the targets prebuilt-* of deploy/Dockerfile: HOLDFAST_IMAGES=prebuilt docker-compose .. up --build
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

need_builders
(build_js)
"$root/deploy/docker/build-static.sh" "$root/target/prebuilt"
rm -rf "$root/target/prebuilt/web"
cp -r "$root/js-client/dist" "$root/target/prebuilt/web"
