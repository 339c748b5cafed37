#!/usr/bin/env bash
# A short load run against a demo cluster, one instance of which is killed; fails when a rule of the product broke.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

port=${1:-18480}
work=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-load.XXXXXX") || die "no temporary folder"
"$root/deploy/demo.sh" --no-build --instances 3 --balancers 2 --port "$port" >"$work/demo.log" 2>&1 </dev/null &
demo=$!
stop() {
  kill -TERM "$demo" 2>/dev/null
  wait "$demo" 2>/dev/null
  rm -rf "$work"
}
trap stop EXIT
for _ in $(seq 150); do
  grep -q 'Ctrl-C stops everything' "$work/demo.log" && break
  if ! kill -0 "$demo" 2>/dev/null; then
    cat "$work/demo.log" >&2
    die "the cluster did not start"
  fi
  sleep 0.1
done
victim=$(sed -n 's/^  gw-2  pid //p' "$work/demo.log")

"$target/release/loadtest" run --target "http://127.0.0.1:$port" --target "http://127.0.0.1:$((port + 1))" \
  --users 60 --rate 20 --duration 15 --kill-after 8 --pid "$victim" --json "$work/run.json" || die "the load run failed"

node -e '
  const r = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
  const rules = {
    "every user signed in": r.signed_in === r.users,
    "the kill was noticed": r.recovered > 0,
    "every user came back": r.never_recovered === 0,
    "no call ended although instance and media lived": r.falsely_lost === 0,
    "media came back": r.packets_returned > 0.8 * r.packets_sent,
  };
  for (const [rule, held] of Object.entries(rules)) console.log(`${held ? "ok  " : "FAIL"}  ${rule}`);
  process.exit(Object.values(rules).every(Boolean) ? 0 : 1);
' "$work/run.json"
