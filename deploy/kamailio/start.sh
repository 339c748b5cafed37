#!/usr/bin/env bash
# Runs Kamailio with kamailio.cfg in the foreground; SIGTERM ends it.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: start.sh --run-dir FOLDER [--listen IP:PORT] [--domain NAME] [--users FILE] [--gateways IP/BITS,..] [--partner IP:PORT]
                [--tls-listen IP:PORT --tls-cert FILE --tls-key FILE] [--define NAME] [--check]

  --run-dir FOLDER    for the control socket (kamcmd -s unix:FOLDER/kamailio_ctl), the pid and the password table; not shared
  --listen IP:PORT    UDP and TCP (default 127.0.0.1:5060)
  --domain NAME       domain of the users' addresses and realm of their passwords (default holdfast.local)
  --users FILE        passwords, a line USER:PASSWORD each, as in the gateway's --sip-credentials-file; without it nobody is asked
  --gateways LIST     addresses that the flood guard leaves alone (default 127.0.0.0/8)
  --partner IP:PORT   the other member of a pair: gateways send here what they say within its dialogs while it is dead. What far
                      sides send to it is lost meanwhile, unless its address moves to another machine
  --tls-listen ..     TLS as well, with a certificate chain and its key in PEM
  --define NAME       WITH_SHA256, WITH_DIALOG_AUTH, WITH_ONE_TIME_NONCE: see kamailio.cfg; repeatable
  --check             only says whether the configuration can be used
TEXT
}
die() {
  printf 'error: %s\n' "$*" >&2
  exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
run='' listen=127.0.0.1:5060 domain=holdfast.local users='' gateways=127.0.0.0/8 tls='' cert='' key='' check=no
defines=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage && exit ;;
    --check) check=yes && shift && continue ;;
  esac
  [ $# -ge 2 ] || die "$1: a value is missing, see --help"
  case $1 in
    --run-dir) run=$2 ;;
    --listen) listen=$2 ;;
    --domain) domain=$2 ;;
    --users) users=$2 ;;
    --gateways) gateways=$2 ;;
    --partner) defines+=(-A "PARTNER=$2") ;;
    --tls-listen) tls=$2 ;;
    --tls-cert) cert=$2 ;;
    --tls-key) key=$2 ;;
    --define) defines+=(-A "$2") ;;
    *) die "unknown flag $1, see --help" ;;
  esac
  shift 2
done
[ -n "$run" ] || die "--run-dir FOLDER is needed"
[[ $domain =~ ^[A-Za-z0-9.-]+$ ]] || die "--domain $domain: a host name is expected"
[[ $gateways =~ ^[0-9a-fA-F.:/,]+$ ]] || die "--gateways $gateways: addresses are expected"
mkdir -p "$run"
run=$(cd "$run" && pwd)
rm -f "$run/kamailio.pid"

# A db_text table: the columns first, then the lines as they are; backslash and colon of a password are escaped.
if [ -n "$users" ]; then
  [ -r "$users" ] || die "--users $users: the file can't be read"
  mkdir -p "$run/db"
  (umask 077 && {
    echo 'user(string) password(string)'
    sed -E '/^[[:space:]]*(#|$)/d; s/^[[:space:]]+//; s/[[:space:]]+$//; s/\\/\\\\/g; :next; s/^([^:]*:.*[^\\]|[^:]*:):/\1\\:/; tnext' "$users"
  } >"$run/db/users")
  defines+=(-A WITH_AUTH -A "USERS_DIR=\"text://$run/db\"")
fi
if [ -n "$tls" ]; then
  if ! [ -r "$cert" ] || ! [ -r "$key" ]; then die "--tls-listen needs --tls-cert and --tls-key"; fi
  defines+=(-A WITH_TLS -A "LISTEN_TLS=tls:$tls" -A "TLS_CERT=\"$cert\"" -A "TLS_KEY=\"$key\"")
fi

command=(kamailio -f "$here/kamailio.cfg" -Y "$run" -P "$run/kamailio.pid" -m 64 -M 8 -A WITH_UDP -A WITH_TCP
  -A "LISTEN_UDP=udp:$listen" -A "LISTEN_TCP=tcp:$listen" -A "DOMAIN=\"$domain\"" -A "GATEWAYS=\"$gateways\"" "${defines[@]}")
PATH=$PATH:/usr/sbin
if [ "$check" = yes ]; then exec "${command[@]}" -c; fi

# The children of a Kamailio whose first process was killed would go on answering. So it has a process group of its own, which
# ends with that process; in a container, where it has the id 1, the kernel sees to that.
if [ $$ != 1 ]; then
  # Not a child of Kamailio, which waits for its children.
  (
    (
      trap '' INT TERM HUP
      tail --pid=$$ -s 0.1 -f /dev/null
      kill -KILL -- -$$
    ) >/dev/null 2>&1 &
  )
  read -r _ _ _ _ group _ </proc/$$/stat
  [ "$group" = $$ ] || command=(setsid "${command[@]}")
fi
exec "${command[@]}" -DD -E
