#!/usr/bin/env bash
# Runs every test and ends with a table of what ran and what was skipped, and one line that sums it up.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root" || exit 1
export CARGO_TERM_COLOR=never NO_COLOR=1

usage() {
  cat <<'TEXT'
usage: ./deploy/test.sh [PART ..]

Parts, all of them by default:
  rust   format, clippy, unit, integration and doc tests of the workspace
  js     types, lint, unit tests and size of the JS client
  e2e    real browsers against release binaries, with instances and balancers killed, frozen and cut off
  load   a load run, losses and faults, all short
  sip    the rules of deploy/kamailio, with sipp as the peers
  docker the compose files under an engine, with instances scaled, killed and paused under load

HOLDFAST_E2E_RESULTS=FOLDER writes the measured tables of the browser tests as JSON.
With CI=true a skip fails unless it is on the list of allowed ones in this file, and what runs over real sockets and
clocks has a second try, which the table tells.
TEXT
}

parts=()
for argument in "$@"; do
  case $argument in
    rust | js | e2e | load | sip | docker) parts+=("$argument") ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && die "unknown part $argument" ;;
  esac
done
[ ${#parts[@]} -gt 0 ] || parts=(rust js e2e load sip docker)
wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }

# Skips that CI accepts: a machine that forbids network namespaces can't change a browser's address, nor run an engine.
allowed_skips=("e2e: network namespaces" "docker: compose files")

nextest_profile=default retries=0
[ "${CI:-}" != true ] || nextest_profile=ci retries=1

rows=() passed=0 failed=0 skipped=0
log=$(mktemp "${TMPDIR:-/tmp}/holdfast-test.XXXXXX")
trap 'rm -f "$log"' EXIT

row() { rows+=("$(printf '%-8s %-34s %6s  %s' "$1" "$2" "$3" "$4")"); }

# sum_of PATTERN: adds the numbers that stand before this word in the runners' closing lines.
sum_of() {
  sed 's/\x1b\[[0-9;]*m//g' "$log" |
    grep -E '^ *(Summary \[|Tests  |test result:|# (pass|fail) )' |
    sed -E 's/^ *# pass ([0-9]+)/\1 passed/; s/^ *# fail ([0-9]+)/\1 failed/' |
    grep -oE "[0-9]+ $1" | awk '{ sum += $1 } END { print sum + 0 }'
}

# How many tests the runners told of that passed at their second try only.
flaky() { sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -cE '^ *FLAKY |\(retry x[0-9]+\)'; }

run_and_log() {
  say
  say "== $name: $*"
  "$@" 2>&1 | tee "$log"
  return "${PIPESTATUS[0]}"
}

# step [--again] NAME COMMAND..: one row of the table. A step whose runner counts no tests counts as one.
# --again: in continuous integration a step that failed as a whole runs once more.
step() {
  local again="" name started=$SECONDS status ok bad note="" tries
  [ "$1" = --again ] && again=${CI:-} && shift
  name=$1
  shift
  run_and_log "$@"
  status=$?
  if [ "$status" != 0 ] && [ "$again" = true ]; then
    note=", at the second try"
    run_and_log "$@"
    status=$?
  fi
  ok=$(sum_of passed) bad=$(sum_of failed)
  if [ "$status" = 0 ]; then
    [ "$ok" -gt 0 ] || ok=1
    tries=$(flaky)
    [ "$tries" = 0 ] || note="$note, $tries of them at the second try"
    row passed "$name" "$((SECONDS - started)) s" "$ok passed$note"
  else
    [ "$bad" -gt 0 ] || bad=1
    row FAILED "$name" "$((SECONDS - started)) s" "$ok passed, $bad failed"
    failed=$((failed + bad))
  fi
  passed=$((passed + ok))
  return "$status"
}

skip() { # NAME REASON
  local allowed
  for allowed in "${allowed_skips[@]}"; do
    [ "$allowed" = "$1" ] || continue
    row skipped "$1" "" "$2"
    skipped=$((skipped + 1))
    return
  done
  if [ "${CI:-}" = true ]; then
    row FAILED "$1" "" "skipped: $2"
    failed=$((failed + 1))
  else
    row skipped "$1" "" "$2"
    skipped=$((skipped + 1))
  fi
}

not_run() { # NAME REASON
  row FAILED "$1" "" "not run: $2"
  failed=$((failed + 1))
}

rust_part() {
  apt_need haproxy haproxy
  need_kamailio
  apt_need sipp sip-tester
  need_rtpengine
  apt_need openssl openssl
  if ! have cargo-nextest; then
    say "installing cargo-nextest"
    cargo install --locked --quiet cargo-nextest || die "cargo-nextest could not be installed"
  fi
  step "rust: format" cargo fmt --all --check
  step "rust: clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
  step "rust: tests" cargo nextest run --workspace --profile "$nextest_profile" --no-fail-fast
  step "rust: doc tests" cargo test --workspace --doc --quiet
}

js_part() {
  step "js: types" npm --prefix js-client run --silent check
  step "js: lint" npm --prefix js-client run --silent lint -- --colors=off
  step "js: unit tests" npm --prefix js-client run --silent test
  step "js: size" npm --prefix js-client run --silent size
  step "js: public API" npm --prefix js-client run --silent api
}

can_make_networks() {
  [ "$(id -u)" = 0 ] && ip netns add holdfast-probe 2>/dev/null && ip netns delete holdfast-probe
}

e2e() { npm --prefix js-client run --silent e2e -- --retry="$retries" "$@"; }

e2e_part() {
  apt_need chromium chromium
  apt_need firefox-esr firefox-esr
  apt_need ip iproute2
  apt_need baresip baresip-core
  apt_need linphonec linphone-cli
  need_kamailio
  step "e2e: Chromium and Firefox" e2e --project browsers
  step "e2e: telephones and Kamailio" e2e --project phones
  if can_make_networks; then
    step "e2e: network namespaces" e2e --project namespaces
  else
    skip "e2e: network namespaces" "they need root and CAP_NET_ADMIN"
  fi
}

load_part() {
  step --again "load: short run with a kill" ./deploy/load-smoke.sh
  step --again "load: losses" "$target/release/loadtest" loss --short
  step --again "load: faults" "$target/release/loadtest" fault
  step --again "load: called while instances die" "$target/release/loadtest" reach --short
  step --again "load: SIP bench, short" "$target/release/loadtest" bench sip --short
}

sip_part() {
  need_kamailio
  apt_need sipp sip-tester
  apt_need openssl openssl
  step --again "sip: Kamailio" ./deploy/kamailio/test/run.sh
}

docker_part() {
  local why
  apt_need dockerd docker.io iptables
  apt_need docker docker.io
  apt_need docker-compose docker-compose
  apt_need debootstrap debootstrap
  apt_need chromium chromium
  apt_need ip iproute2
  if why=$(./deploy/docker-test.sh --can-run 2>&1); then
    # What is shown here is not speed: a quick build will do.
    step "docker: static binaries" env CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
      CARGO_PROFILE_RELEASE_OPT_LEVEL=1 ./deploy/docker/prebuild.sh || return
    step --again "docker: compose files" ./deploy/docker-test.sh --no-build
  else
    skip "docker: compose files" "$(tail -n 1 <<<"$why")"
  fi
}

need_builders
built=yes
if wanted js || wanted e2e || wanted load; then
  step "build: js-client" build_js || built=no
fi
if wanted e2e || wanted load; then
  step "build: release binaries" build_binaries || built=no
fi
for part in "${parts[@]}"; do
  if [ "$built" = no ] && [ "$part" != rust ] && [ "$part" != sip ]; then
    not_run "$part" "the build failed"
  else
    "${part}_part"
  fi
done

say
say "what       step                                 time  result"
printf '%s\n' "${rows[@]}"
say
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
