#!/bin/sh
# The Pi as the meeting point of a Flower federation. TLS, only nodes whose keys are registered, and a
# gate: only the user who starts this can run apps, and only from this Pi.
# Settings: ~/.config/tinyreptile/superlink.env
set -eu
. "$(dirname "$0")/common.sh"
settings superlink

keys=${KEYS:-$CONFIG/keys}
for file in ca.crt server.pem server.key; do
  [ -r "$keys/$file" ] || die "there is no $keys/$file; make the keys: tinyreptile flower keys $keys --host $(hostname)"
done

python=$(program python)
mkdir -p "$STATE"
exec "$python" -P -m tinyreptile_lite.flower superlink --host "${HOST:-127.0.0.1}" --port "${PORT:-9092}" \
  --ssl-ca-certfile "$keys/ca.crt" --ssl-certfile "$keys/server.pem" --ssl-keyfile "$keys/server.key" \
  --enable-supernode-auth --disable-runtime-dependency-installation
