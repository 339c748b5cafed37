#!/usr/bin/env bash
# Proves the rules of kamailio.cfg with sipp as the peers, on loopback and on free ports. Every case has users of its own.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/scenarios.sh"
PATH=$PATH:/usr/sbin
for command in kamailio kamcmd sipp; do
  command -v "$command" >/dev/null || { echo "skipped: $command is not installed" && exit 77; }
done

work=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-kamailio.XXXXXX") || exit 1
mkdir "$work/ports"
domain=holdfast.test host=127.0.0.1
# Deep enough for a busy machine; no case waits for so long when all is well.
patience=15

cases=(digest call unknown exact_unregister replaced held held_refused held_too_long held_cancelled lost_udp rings_twice fence
  dialog_auth forgotten tls flood)
[ $# = 0 ] || cases=("$@")

# ---- peers

# Free, and given to nobody else in this run; in steps of four, since sipp takes two more behind that of its RTP.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 3000 * 4))
    grep -qi ":$(printf %04X "$port") " /proc/net/tcp /proc/net/udp && continue
    mkdir "$work/ports/$port" 2>/dev/null && break
  done
  echo "$port"
}

listens() { grep -q ":$(printf %04X "$1") 00000000:0000 0A " /proc/net/tcp; }

# The background processes of a case end with it.
started=()
background() { # COMMAND..
  exec='exec' "$@" >/dev/null 2>&1 </dev/null &
  started+=($!)
  last=$!
}
stop() { # PID..
  kill -KILL "$@" 2>/dev/null
  wait "$@" 2>/dev/null
}

start_kamailio() { # NAME FLAG..
  local name=$1 _
  shift
  "$here/../start.sh" --run-dir "$work/$name" --domain $domain --users "$work/passwords" "$@" >"$work/$name.log" 2>&1 </dev/null &
  local kamailio=$!
  servers+=("$kamailio")
  for _ in $(seq 100); do
    kamcmd -s "unix:$work/$name/kamailio_ctl" core.uptime >/dev/null 2>&1 && return
    kill -0 "$kamailio" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/$name.log" >&2
  return 1
}

server=main
rpc() { kamcmd -s "unix:$work/$server/kamailio_ctl" "$@"; }
on_strict() { server=strict port=$strict_port; }

peer() { # NAME SIPP-FLAG..: sipp with the scenario of that name
  local name=$1
  shift
  ${exec:-} sipp -sf "$dir/$name.xml" -i $host -p "$(free_port)" -mp "$(free_port)" -m 1 -nostdin \
    -timeout ${patience}s -timeout_error -trace_logs -log_file "$dir/$name.log" \
    -trace_err -error_file "$dir/$name.err" -key domain $domain "$@"
}
caller() { # NAME WHOM SIPP-FLAG..
  peer "$1" "$host:$port" -s "$2" -key user "$me-caller" -au "$me-caller" -ap secret "${@:3}" >"$dir/$1.out" 2>&1
}
registers() { # NAME USER BINDING SIPP-FLAG..
  peer "$1" "$host:$port" -key user "$2" -au "$2" -ap secret -key binding "$3" "${@:4}" >"$dir/$1.out" 2>&1
}
write() { # NAME PART..
  scenario "$@" >"$dir/$1.xml"
}

contact() { # USER PORT TRANSPORT GENERATION: what a gateway names
  echo "Contact: <sip:$1@$host:$2;transport=$3;hf-gen=$4>;+sip.instance=\"<urn:uuid:$1>\";expires=60"
}
binding_of() { rpc ul.lookup location "$1" 2>/dev/null | sed -n 's/^[[:space:]]*Address: //p'; }
bound() { # USER TEXT
  [[ $(binding_of "$1") == *"$2"* ]]
}
logged() { grep -q "$2" "$dir/$1.log" 2>/dev/null; }
not() { ! "$@"; }
until_true() { # COMMAND..
  local _
  for _ in $(seq $((patience * 20))); do
    "$@" && return
    sleep 0.05
  done
  return 1
}
ms() { date +%s%3N; }

# A stand-in for an instance: keeps a TCP connection with the binding of a user, and takes calls at a port. `peers` are its processes.
instance() { # NAME USER GENERATION [SCENARIO]
  local at
  at=$(free_port)
  background peer "${4:-answer}" -t t1 -p "$at" -key user x -log_file "$dir/$1.calls.log"
  local taker=$last
  until_true listens "$at" || return
  write "$1" 'register 200' 'wait_ms 60000'
  background registers "$1" "$2" "$(contact "$2" "$at" tcp "$3")" -t t1 -timeout 60s
  peers=("$taker" "$last")
  until_true bound "$2" "hf-gen=$3"
}

# ---- cases: each is true, or says what was expected

expected() { # WHAT COMMAND..
  local what=$1
  shift
  "$@" && return
  echo "not so: $what"
  return 1
}

case_digest() {
  local brief="Contact: <sip:x@$host:9>;expires=5"
  write right 'register 200'
  write brief 'register 423'
  write stale old_nonce 'register 200'
  write wrong 'register 403'
  expected "the password lets in" registers right "$a" "$(contact "$a" 9 tcp 1)" -t t1 &&
    expected "too brief a registration is not" registers brief "$a" "$brief" &&
    expected "who has an old nonce is asked again" registers stale "$a" "$(contact "$a" 9 tcp 1)" &&
    expected "a wrong one does not" registers wrong "$a" "$(contact "$a" 9 tcp 2)" -ap wrong &&
    expected "nor that of another user" registers wrong "$a" "$(contact "$a" 9 tcp 2)" -au "$a-b" &&
    expected "nor a user without one" registers wrong stranger "$(contact stranger 9 tcp 2)"
}

case_call() {
  write call invite rings answered 'within BYE 3' 'expect 200'
  expected "registered" instance one "$a" 1 &&
    expected "UDP to TCP" caller call "$a" &&
    expected "registered" instance two "$a" 2 &&
    expected "TCP to TCP" caller call "$a" -t t1
}

case_unknown() {
  local began
  write refuse invite rings 'refused 404'
  write leave 'register 200'
  expected "unknown is 404" caller refuse nobody-at-all &&
    expected "registered" instance one "$a" 7 &&
    expected "signed out" registers leave "$a" "Contact: <$(binding_of "$a")>;expires=0" -t t1 &&
    began=$(ms) && expected "signed out is 404" caller refuse "$a" &&
    expected "at once" test $(($(ms) - began)) -lt 4000 &&
    expected "without waiting" not logged refuse queued
}

case_exact_unregister() {
  write old 'register 200'
  write query 'register 200'
  expected "registered" instance one "$a" 1763640000002 &&
    expected "an older generation leaves" registers old "$a" \
      "Contact: <$(binding_of "$a" | sed 's/hf-gen=.*/hf-gen=1763640000001/')>;expires=0" &&
    expected "the newer one stays" bound "$a" hf-gen=1763640000002 &&
    expected "a query is answered" registers query "$a" 'Subject: query' &&
    expected "with the generation" logged query 'bindings *<sip:.*;hf-gen=1763640000002>.*+sip.instance="<urn:uuid' &&
    expected "it leaves itself" registers old "$a" "Contact: <$(binding_of "$a")>;expires=0" &&
    expected "nothing is left" test -z "$(binding_of "$a")"
}

case_replaced() {
  expected "registered" instance one "$a" 1 &&
    expected "elsewhere" instance two "$a" 2 &&
    expected "one binding" test "$(binding_of "$a" | wc -l)" = 1
}

# The instance dies, the call comes, the user signs in elsewhere.
case_held() {
  write call invite rings answered 'within BYE 3' 'expect 200'
  expected "registered" instance one "$a" 1 || return
  stop "${peers[@]}"
  background caller call "$a"
  local call=$last
  expected "queued" until_true logged call queued &&
    expected "registered elsewhere" instance two "$a" 2 &&
    expected "the call went through" wait "$call" &&
    expected "at the new place" logged two.calls invited
}

# The binding is there, its connection is not.
case_held_refused() {
  write call invite rings answered 'within BYE 3' 'expect 200'
  write first 'register 200'
  expected "registered" registers first "$a" "$(contact "$a" "$(free_port)" tcp 1)" || return
  background caller call "$a"
  local call=$last
  expected "queued" until_true logged call queued &&
    expected "registered elsewhere" instance two "$a" 2 &&
    expected "the call went through" wait "$call"
}

case_held_too_long() {
  local began
  write call invite rings 'refused 480'
  expected "registered" instance one "$a" 1 || return
  stop "${peers[@]}"
  began=$(ms)
  expected "480" caller call "$a" && expected "queued" logged call queued &&
    expected "after 6 s" test $(($(ms) - began)) -ge 5500
}

case_held_cancelled() {
  write call invite 'expect 182' 'wait_ms 200' cancel 'refused 487'
  expected "registered" instance one "$a" 1 || return
  stop "${peers[@]}"
  expected "cancelled" caller call "$a" &&
    expected "registered elsewhere" instance two "$a" 2 &&
    sleep 0.5 && expected "it does not ring" test ! -s "$dir/two.calls.log"
}

# Over UDP nobody tells that the instance is dead: the call goes to it, and to the new one as soon as there is one.
case_lost_udp() {
  local dead alive
  dead=$(free_port) alive=$(free_port)
  write first 'register 200' && write second 'register 200'
  write call invite rings answered 'within BYE 3' 'expect 200'
  expected "registered" registers first "$a" "$(contact "$a" "$dead" udp 1)" || return
  background caller call "$a"
  local call=$last
  background peer answer -p "$alive" -key user x
  sleep 1
  expected "registered elsewhere" registers second "$a" "$(contact "$a" "$alive" udp 2)" &&
    expected "the call went through" wait "$call"
}

# It rings at an instance that dies: the call reaches the next one.
case_rings_twice() {
  write call invite rings answered 'within BYE 3' 'expect 200'
  expected "registered" instance one "$a" 1 ring || return
  background caller call "$a"
  local call=$last
  expected "rings" until_true logged call ringing || return
  stop "${peers[@]}"
  expected "registered elsewhere" instance two "$a" 2 && expected "the call went through" wait "$call"
}

case_fence() {
  write call invite rings answered 'within INFO 1000' 'expect 200' 'within INFO 999' 'expect 500' 'within INFO 1001' 'expect 200' \
    'again INFO 1000' 'expect 200' 'within BYE 3' 'expect 500' 'within BYE 1002' 'expect 200'
  expected "registered" instance one "$a" 1 && expected "lower numbers are refused" caller call "$a" -t t1
}

case_dialog_auth() {
  write call invite rings answered 'within BYE 3' 'expect 407 auth="true"' 'within BYE 4 [authentication]' 'expect 200'
  on_strict
  expected "registered" instance one "$a" 1 && expected "asked within the call" caller call "$a"
}

# A user who does not come back is forgotten after RECENT_S, here 2 s, instead of the end of the registration.
case_forgotten() {
  on_strict
  write refuse invite rings 'refused 404'
  expected "registered" instance one "$a" 1 || return
  stop "${peers[@]}"
  expected "404 in the end" until_true caller refuse "$a"
}

case_tls() {
  local request="OPTIONS sip:$domain SIP/2.0\r\nVia: SIP/2.0/TLS $host:9;branch=z9hG4bK1\r\nMax-Forwards: 9\r\nFrom: <sip:a@b>;tag=1\r\n"
  request+="To: <sip:$domain>\r\nCall-ID: tls\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
  [ -n "$tls_port" ] || { echo "skipped: kamailio-tls-modules or openssl is not installed" && exit 77; }
  printf %b "$request" | timeout 5 openssl s_client -quiet -verify_quiet -CAfile "$work/cert.pem" -connect "$host:$tls_port" \
    >"$dir/answer" 2>/dev/null
  expected "200 over TLS" grep -q '^SIP/2.0 200 ' "$dir/answer"
}

# A stranger's flood is dropped; the gateways' side hears nothing of it.
case_flood() {
  local heard
  write beat heartbeat 'expect 200'
  write once heartbeat 'expect 200 timeout="500"'
  sed -i 's/ retrans="500"//' "$dir/once.xml"
  sipp -sf "$dir/once.xml" -i 127.0.0.2 -m 600 -r 300 -nostdin -key domain $domain -key user x "$host:$port" \
    -trace_stat -stf "$dir/flood.csv" -fd 1 >/dev/null 2>&1
  heard=$(tail -n 1 "$dir/flood.csv" | cut -d ';' -f 16)
  expected "few of a stranger's 600 are answered, not $heard" test "$heard" -lt 300 &&
    expected "a gateway is answered" peer beat "$host:$port" -key user x
}

# ---- all of them, side by side

for name in "${cases[@]}"; do
  me=${name//_/-}
  printf '%s:secret\n' "$me-a" "$me-a-b" "$me-caller"
done >"$work/passwords"

port=$(free_port) strict_port=$(free_port) tls_port='' tls=()
if compgen -G '/usr/lib/*/kamailio/modules/tls.so' >/dev/null && command -v openssl >/dev/null; then
  tls_port=$(free_port)
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$domain" -keyout "$work/key.pem" \
    -out "$work/cert.pem" 2>/dev/null
  tls=(--tls-listen "$host:$tls_port" --tls-cert "$work/cert.pem" --tls-key "$work/key.pem")
fi
servers=()
leave() {
  kill -TERM "${servers[@]}" 2>/dev/null
  for _ in $(seq 50); do
    kill -0 "${servers[@]}" 2>/dev/null || break
    sleep 0.1
  done
  stop "${servers[@]}"
  rm -rf "$work"
}
trap leave EXIT
start_kamailio main --listen "$host:$port" --gateways $host/32 "${tls[@]}" || exit 1
start_kamailio strict --listen "$host:$strict_port" --define WITH_DIALOG_AUTH --define WITH_ONE_TIME_NONCE --define RECENT_S=2 || exit 1

run_case() { # NAME
  me=${1//_/-} a=${1//_/-}-a dir=$work/$1
  mkdir "$dir"
  trap 'stop "${started[@]}"' EXIT
  write answer invited ringing answers is_hung_up_on
  write ring invited ringing 'wait_ms 60000'
  "case_$1"
}
declare -A running=()
for name in "${cases[@]}"; do
  (run_case "$name") >"$work/$name.result" 2>&1 &
  running[$name]=$!
done
passed=0 failed=0
for name in "${cases[@]}"; do
  wait "${running[$name]}"
  case $? in
    0) passed=$((passed + 1)) && echo "ok      $name" ;;
    77) echo "        $name: $(cat "$work/$name.result")" ;;
    *)
      failed=$((failed + 1))
      echo "FAILED  $name: $(cat "$work/$name.result")"
      tail -n 20 "$work/$name"/*.err 2>/dev/null
      ;;
  esac
done
if [ $failed -gt 0 ] && [ -n "${HOLDFAST_KEEP:-}" ]; then cp -r "$work" "$HOLDFAST_KEEP"; fi
echo "# pass $passed"
echo "# fail $failed"
[ $failed = 0 ]
