#!/usr/bin/env bash
# Runs deploy/docker-compose.yml and docker-compose.host.yml under a real engine, with instances scaled, killed and paused under
# load. The engine is its own, in its own network namespace and folder, and leaves nothing behind; no registry is needed.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: sudo ./deploy/docker-test.sh [--can-run | --no-build]

  --no-build  take the binaries and pages in target/prebuilt as they are
  --can-run   only starts and stops the engine: status 0 if the test can run here, else a line that says why not

Needs root, network namespaces, and from apt: docker.io docker-compose debootstrap chromium.
TEXT
}

can_run_only=no build=yes
case ${1:-} in
  '') ;;
  --can-run) can_run_only=yes ;;
  --no-build) build=no ;;
  -h | --help) usage && exit ;;
  *) usage >&2 && die "unknown flag $1" ;;
esac

no() {
  say "no Docker engine can run here: $*"
  exit 1
}
[ "$(id -u)" = 0 ] || no "it needs root"
for tool in dockerd docker docker-compose debootstrap ip nsenter node chromium; do have "$tool" || no "$tool is missing"; done

work=$(mktemp -d /tmp/holdfast-docker.XXXXXX) || die "no temporary folder"
space=$(basename "$work")
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config
export COMPOSE_PROJECT_NAME=holdfast HOLDFAST_IMAGES=prebuilt
# Longer than the scenario's short calls, shorter than its long ones.
export HOLDFAST_SHUTDOWN_GRACE_MS=15000 HOLDFAST_STOP_GRACE_PERIOD=40s
engine='' scenario=''
stop() {
  trap - EXIT
  [ -z "$scenario" ] || kill -TERM "$scenario" 2>/dev/null
  if [ -n "$engine" ]; then
    # It ends its containers first.
    kill -TERM "$engine" 2>/dev/null
    for _ in $(seq 200); do
      kill -0 "$engine" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$engine" 2>/dev/null
  fi
  awk -v under="$work/" 'index($2, under) == 1 { print $2 }' /proc/mounts | xargs -r umount -l 2>/dev/null
  ip netns delete "$space" 2>/dev/null
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A namespace of its own, so that neither the engine's rules nor its bridges touch the machine's. A default route is what
# `auto:PORT` goes by; this one leads nowhere.
inside=(nsenter "--net=/run/netns/$space")
within() { "${inside[@]}" "$@"; }
make_network() {
  ip netns add "$space" && within ip link set lo up &&
    within ip link add outside type veth peer name nowhere && within ip link set outside up && within ip link set nowhere up &&
    within ip address add 192.0.2.10/24 dev outside && within ip route add default via 192.0.2.1
}
make_network 2>"$work/network.log" || no "$(tail -n 1 "$work/network.log")"

start_engine() {
  "${inside[@]}" dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/docker.pid" \
    --shutdown-timeout 2 >"$work/engine.log" 2>&1 &
  engine=$!
  for _ in $(seq 300); do
    docker info >/dev/null 2>&1 && return
    kill -0 "$engine" 2>/dev/null || break
    sleep 0.1
  done
  no "$(grep -vE 'level=(info|debug)' "$work/engine.log" | tail -n 1)"
}
start_engine

# Whether a container runs at all: the program `true` and its libraries are an image.
try_container() {
  ldd "$(type -P true)" | grep -o "/[^ ]*" | cat - <(type -P true) | sed "s|^/||" | tar -C / -ch -T - |
    docker import --change 'ENTRYPOINT ["true"]' - trial >/dev/null && docker run --rm trial
}
try_container >"$work/trial.log" 2>&1 || no "$(tail -n 1 "$work/trial.log")"
[ "$can_run_only" = no ] || exit 0

# The base of the Kamailio image, kept for the next run.
base=$tools/debian-kamailio.tar.gz
make_base() {
  local root=$work/base
  say "making the base image with debootstrap (a minute or two)"
  debootstrap --variant=minbase --include=kamailio,kamailio-tls-modules,netbase bookworm "$root" >"$work/base.log" 2>&1 ||
    { tail -n 5 "$work/base.log" >&2 && return 1; }
  mkdir -p "$tools"
  tar -C "$root" -cz --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/doc/*' \
    --exclude='./usr/share/locale/*' . >"$base.part" && mv "$base.part" "$base"
  rm -rf "$root"
}
[ -s "$base" ] || make_base || die "the base image could not be made"
docker import - debian:bookworm-slim <"$base" >/dev/null || die "the base image could not be imported"

[ "$build" = no ] || "$root/deploy/docker/prebuild.sh" || die "the static binaries could not be built"
say "building the images"
for file in docker-compose.yml docker-compose.host.yml; do
  if ! docker-compose -f "$root/deploy/$file" --profile loadtest build >"$work/build.log" 2>&1; then
    tail -n 20 "$work/build.log" >&2
    die "the images of $file could not be built"
  fi
done
docker images --format '{{.Size}} {{.Repository}}' | grep -E 'holdfast[_-](balancer-1|gateway|kamailio)$' | sed 's/^/  /'

mkdir -m 777 "$work/out"
# In the background, so that a signal ends it at once.
"${inside[@]}" node "$root/deploy/docker/scenario.mjs" "$work/out" &
scenario=$!
wait "$scenario"
status=$?
if [ "$status" != 0 ]; then
  docker ps -a >&2
  docker ps -aq | while read -r container; do
    say "-- $(docker inspect --format '{{.Name}}' "$container")"
    docker logs --tail 15 "$container" 2>&1
  done >&2
fi
exit "$status"
