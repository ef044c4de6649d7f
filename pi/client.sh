#!/bin/sh
# The Pi as a client of a Flower federation: it learns by itself in the C core, or lends the boards that
# are attached to it. TLS and its own key: the SuperLink takes no stranger.
# Settings: ~/.config/tinyreptile/client.env
set -eu
. "$(dirname "$0")/common.sh"
settings client

keys=${KEYS:-$CONFIG/keys}
node=${NODE:-$(hostname)}
[ -n "${SUPERLINK:-}" ] || die "SUPERLINK is not set in $CONFIG/client.env; write host:port"
[ -r "$keys/ca.crt" ] || die "there is no $keys/ca.crt; copy it from the SuperLink's keys"
[ -r "$keys/$node" ] || die "there is no $keys/$node; copy this node's private key there"

python=$(program python)
if [ -n "${BOARDS:-}" ]; then
  work="boards=\"$BOARDS\""
else
  work='client="native"'
fi
exec "$python" -P -m tinyreptile_lite.flower supernode --superlink "$SUPERLINK" --root-certificates "$keys/ca.crt" \
  --auth-supernode-private-key "$keys/$node" --node-config "$work"
