#!/usr/bin/env bash
# Starts Kamailio at the container's own address, which a container learns only when it starts.
set -euo pipefail
address=${HOLDFAST_SIP_ADDRESS:-$(hostname -i | cut -d ' ' -f 1)}
users=${HOLDFAST_SIP_CREDENTIALS_FILE:-/run/holdfast/sip-users}
flags=()
if grep -qE '^[[:space:]]*[^#[:space:]]' "$users"; then flags+=(--users "$users"); fi
exec /opt/holdfast/kamailio/start.sh --run-dir /run/kamailio --listen "$address:5060" \
  --domain "${HOLDFAST_SIP_DOMAIN:-holdfast.local}" --gateways "${HOLDFAST_SIP_GATEWAYS:-127.0.0.0/8}" "${flags[@]}"
