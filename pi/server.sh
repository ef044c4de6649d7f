#!/bin/sh
# The Pi as a server: the boards on its USB ports and in reach of its Bluetooth learn together.
# Killed and started again, it goes on where it was. Settings: ~/.config/tinyreptile/server.env
set -eu
. "$(dirname "$0")/common.sh"
settings server

serve=$(program tinyreptile)
mkdir -p "$STATE"
# shellcheck disable=SC2086 # BOARDS and OPTIONS are several words
exec "$serve" serve ${BOARDS:-} --family "${FAMILY:-wrist}" --strategy "${STRATEGY:-tinyreptile}" \
  --out "$STATE/${RUN:-run}.npz" --wait "${WAIT:-600}" ${OPTIONS:-}
