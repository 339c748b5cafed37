#!/usr/bin/env bash
# Starts a whole Holdfast on this machine: balancers and instances on loopback, a softphone page and a dashboard.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: ./deploy/demo.sh [--instances N] [--balancers N] [--port P] [--sip SERVER] [--no-build]

  --instances N   gateway instances, 1 to 50 (default 3)
  --balancers N   balancers, 1 to 50, at ports P, P+1, .. (default 2)
  --port P        port of the first balancer, 1024 to 64000 (default 8080)
  --sip SERVER    registrar (default): the embedded one; kamailio: Kamailio with deploy/kamailio; none: no SIP, so no calls to people
  --no-build      take the binaries and the pages as they are

Ports in use, all on 127.0.0.1: balancers P.. and P+1000.. (dashboard), instances P+101.. and P+1101.. (health), P+201.. (UDP),
the SIP server P+300, RTP within 20000 to 31999.
Ctrl-C stops everything.
TEXT
}

instances=3 balancers=2 port=8080 sip=registrar build=yes
number() { # FLAG VALUE LOW HIGH
  if ! [[ $2 =~ ^[1-9][0-9]{0,4}$ ]] || (($2 < $3 || $2 > $4)); then die "$1 $2: $3 to $4 is allowed"; fi
}
while [ $# -gt 0 ]; do
  case $1 in
    --instances) number "$1" "${2:-}" 1 50 && instances=$2 && shift ;;
    --balancers) number "$1" "${2:-}" 1 50 && balancers=$2 && shift ;;
    --port) number "$1" "${2:-}" 1024 64000 && port=$2 && shift ;;
    --sip)
      case ${2:-} in
        registrar | kamailio | none) sip=$2 && shift ;;
        *) die "--sip ${2:-}: registrar, kamailio and none are allowed" ;;
      esac
      ;;
    --no-build) build=no ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && die "unknown flag $1" ;;
  esac
  shift
done

host=127.0.0.1 sip_port=$((port + 300)) sip_domain=holdfast.local
balancer_port() { echo $((port + $1 - 1)); }
dashboard_port() { echo $((port + 1000 + $1 - 1)); }
instance_port() { echo $((port + 100 + $1)); }
health_port() { echo $((port + 1100 + $1)); }
media_port() { echo $((port + 200 + $1)); }
rtp_ports() {
  local width=$((12000 / instances))
  ((width < 2000)) || width=2000
  echo "$((20000 + ($1 - 1) * width))-$((20000 + $1 * width - 1))"
}

listens() { (exec 3<>"/dev/tcp/$host/$1") 2>/dev/null; }
refuse_port_in_use() {
  ! listens "$1" || die "port $1 of $host is in use; choose another with --port"
}
for b in $(seq "$balancers"); do
  refuse_port_in_use "$(balancer_port "$b")"
  refuse_port_in_use "$(dashboard_port "$b")"
done
for i in $(seq "$instances"); do
  refuse_port_in_use "$(instance_port "$i")"
  refuse_port_in_use "$(health_port "$i")"
done

[ "$sip" = none ] || refuse_port_in_use "$sip_port"

if [ "$build" = yes ]; then
  need_builders
  build_js
  build_binaries
fi
apt_need curl curl ca-certificates
[ "$sip" != kamailio ] || need_kamailio
for binary in gateway balancer; do
  [ -x "$target/release/$binary" ] || die "$target/release/$binary is missing; start without --no-build"
done
[ -f "$root/js-client/dist/index.html" ] || die "js-client/dist/index.html is missing; start without --no-build"

work=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-demo.XXXXXX") || die "no temporary folder"
key_file=$work/cluster-keys
(umask 077 && head -c 32 /dev/urandom | base64 >"$key_file")

declare -A pids=()
stop() {
  trap - EXIT
  kill -TERM "${pids[@]}" 2>/dev/null
  for _ in $(seq 20); do
    kill -0 "${pids[@]}" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "${pids[@]}" 2>/dev/null
  rm -rf "$work"
}
trap stop EXIT

# The traps only remember: bash 5.2 crashes when a trap exits in the middle of `read`.
interrupted=
trap 'interrupted=130' INT
trap 'interrupted=143' TERM HUP
leave_if_interrupted() { [ -z "$interrupted" ] || exit "$interrupted"; }

origins=()
for b in $(seq "$balancers"); do
  origins+=(--allowed-origin "http://$host:$(balancer_port "$b")" --allowed-origin "http://localhost:$(balancer_port "$b")")
done

start() { # NAME COMMAND..
  local name=$1
  shift
  "$@" >>"$work/$name.log" 2>&1 </dev/null &
  pids[$name]=$!
  disown
}

start_instance() {
  local flags=() b
  for b in $(seq "$balancers"); do flags+=(--alternate "http://$host:$(balancer_port "$b")"); done
  [ "$sip" = none ] || flags+=(--sip-registrar "sip:$host:$sip_port;transport=tcp" --sip-domain "$sip_domain" --sip-allow '*' --rtp-ports "$(rtp_ports "$1")")
  start "gw-$1" "$target/release/gateway" --instance-id "gw-$1" --auth anonymous --cluster-key-file "$key_file" \
    --listen "$host:$(instance_port "$1")" --admin-listen "$host:$(health_port "$1")" --media-listen "$host:$(media_port "$1")" \
    --media-threads 1 --capacity 200 --call-capacity 50 --web-dir "$root/js-client/dist" "${flags[@]}" "${origins[@]}"
}

start_sip() {
  case $sip in
    registrar)
      start sip "$target/release/gateway" registrar --sip-domain "$sip_domain" --sip-listen "sip:$host:$sip_port;transport=udp" \
        --sip-listen "sip:$host:$sip_port;transport=tcp"
      ;;
    kamailio) start sip "$root/deploy/kamailio/start.sh" --run-dir "$work/kamailio" --listen "$host:$sip_port" --domain "$sip_domain" ;;
  esac
}

start_balancer() {
  local flags=() i
  for i in $(seq "$instances"); do flags+=(--instance "http=$host:$(instance_port "$i"),admin=$host:$(health_port "$i")"); done
  start "balancer-$1" "$target/release/balancer" --cluster-key-file "$key_file" --listen "$host:$(balancer_port "$1")" \
    --admin-listen "$host:$(dashboard_port "$1")" "${flags[@]}" "${origins[@]}"
}

wait_until() { # NAME COMMAND..
  local _
  for _ in $(seq 100); do
    leave_if_interrupted
    "${@:2}" 2>/dev/null && return
    if ! kill -0 "${pids[$1]}" 2>/dev/null; then
      tail -n 5 "$work/$1.log" >&2
      die "$1 did not start"
    fi
    sleep 0.1
  done
  tail -n 20 "$work/$1.log" >&2
  die "$1 is not ready after 10 s"
}

answers() { curl -fsS -o /dev/null -m 1 "$1"; }

start_sip
[ "$sip" = none ] || wait_until sip listens "$sip_port"
for i in $(seq "$instances"); do start_instance "$i"; done
for i in $(seq "$instances"); do wait_until "gw-$i" answers "http://$host:$(health_port "$i")/health"; done
for b in $(seq "$balancers"); do start_balancer "$b"; done
for b in $(seq "$balancers"); do wait_until "balancer-$b" answers "http://$host:$(dashboard_port "$b")/readyz"; done

say
say "Holdfast runs: $instances instances behind $balancers balancers."
say
for b in $(seq "$balancers"); do
  say "  softphone  http://$host:$(balancer_port "$b")/    dashboard  http://$host:$(dashboard_port "$b")/    balancer-$b, pid ${pids[balancer-$b]}"
done
say
for i in $(seq "$instances"); do say "  gw-$i  pid ${pids[gw-$i]}"; done
[ "$sip" = none ] || say "  sip   pid ${pids[sip]} ($sip)"
say
say "Open the softphone, sign in under any name, call \"echo\", then end the instance that serves you: kill -9 ${pids[gw-1]}"
if [ "$sip" != none ]; then
  say "Two windows with two names call one another. A SIP phone can join: server $host:$sip_port (UDP, TCP), domain $sip_domain, any name."
fi
say "Logs are in $work. Ctrl-C stops everything."
[ -t 0 ] && say "Enter starts instances and the SIP server again if they are gone."

restart_gone() {
  local i
  if [ "$sip" != none ] && ! kill -0 "${pids[sip]}" 2>/dev/null; then
    start_sip
    say "sip is started again, pid ${pids[sip]}"
  fi
  for i in $(seq "$instances"); do
    kill -0 "${pids[gw-$i]}" 2>/dev/null && continue
    start_instance "$i"
    say "gw-$i is started again, pid ${pids[gw-$i]}"
  done
}

# One turn of half a second. In the background there is no keyboard to read: that must neither stop the demo nor spin.
trap '' TTIN
read_enter() {
  if [ -t 0 ] && read -r -t 0.5 _ 2>/dev/null; then
    restart_gone
  elif [ $? -le 128 ]; then
    sleep 0.5
  fi
}

declare -A told=()
while :; do
  for name in "${!pids[@]}"; do
    pid=${pids[$name]}
    kill -0 "$pid" 2>/dev/null || [ "${told[$name]:-}" = "$pid" ] && continue
    told[$name]=$pid
    say "$name (pid $pid) is gone"
  done
  read_enter
  if [ -n "$interrupted" ]; then
    say
    say "stopping"
    exit "$interrupted"
  fi
done
