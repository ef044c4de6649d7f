# What the scripts of this folder share. Read with ". common.sh", not run.
# A setting comes from CONFIG/NAME.env, written by install.sh and yours to change.

CONFIG="${XDG_CONFIG_HOME:-$HOME/.config}/tinyreptile"
STATE="${XDG_STATE_HOME:-$HOME/.local/state}/tinyreptile"
VENV="${TINYREPTILE_VENV:-${XDG_DATA_HOME:-$HOME/.local/share}/tinyreptile/venv}"

die() {
  echo "$(basename "$0"): $*" >&2
  exit 2
}

# Read the settings of this role, and refuse to go on without them.
settings() {
  [ -r "$CONFIG/$1.env" ] || die "there is no $CONFIG/$1.env; run pi/install.sh $1 first"
  # shellcheck disable=SC1090
  . "$CONFIG/$1.env"
}

program() {
  [ -x "$VENV/bin/$1" ] || die "$1 is not installed in $VENV; run pi/install.sh again"
  echo "$VENV/bin/$1"
}

# Flower's programs start others of theirs by name, and systemd knows no virtual environment.
export PATH="$VENV/bin:$PATH"
# No telemetry, no look for updates.
export FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
