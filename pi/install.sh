#!/bin/sh
# Install the kit on a Raspberry Pi for the user who runs this, without sudo.
#
#     pi/install.sh server       boards on this Pi's USB ports and Bluetooth
#     pi/install.sh client       this Pi learns in a Flower federation
#     pi/install.sh superlink    this Pi is the federation's meeting point
#
# It makes a virtual environment, a file of settings (never written over) and a systemd user unit.
# With --no-packages only the last two.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

packages=yes role=
for word in "$@"; do
  case $word in
    --no-packages) packages=no ;;
    server | client | superlink) role=$word ;;
    *) die "unknown word '$word'; write server, client or superlink" ;;
  esac
done
[ -n "$role" ] || die "say what this Pi shall be: server, client or superlink"
[ "$(id -u)" -ne 0 ] || die "do not run this as root; run it as the user who will run the kit"
[ "$(getconf LONG_BIT)" = 64 ] || die "this system has 32 bits; install Raspberry Pi OS (64-bit)"

if [ "$packages" = yes ]; then
  python=${PYTHON:-python3}
  "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' ||
    die "$("$python" --version) does not fit; set PYTHON to a Python 3.11, 3.12 or 3.13"
  "$python" -m venv "$VENV" || die "cannot make a virtual environment; sudo apt install python3-venv"
  case $role in
    server) extras=boards,ble ;;
    *) extras=boards,ble,flower ;;
  esac
  "$VENV/bin/pip" install --quiet --editable "$here/..[$extras]"
fi

mkdir -p "$CONFIG" "$STATE"
chmod 700 "$CONFIG" "$STATE"
if [ -e "$CONFIG/$role.env" ]; then
  echo "kept your settings in $CONFIG/$role.env"
else
  cp "$here/$role.env" "$CONFIG/$role.env"
  echo "settings: $CONFIG/$role.env"
fi

units="${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user"
mkdir -p "$units"
sed "s|@PI@|$here|" "$here/tinyreptile-$role.service" > "$units/tinyreptile-$role.service"
systemctl --user daemon-reload 2> /dev/null || echo "no systemd for this user now; log in again"

id -nG | tr ' ' '\n' | grep -qx dialout ||
  echo "for boards on USB, once, then log in again: sudo usermod -aG dialout $(id -un)"
echo "start now and at every login: systemctl --user enable --now tinyreptile-$role"
echo "start without a login, once:  loginctl enable-linger"
echo "look at it:                   journalctl --user -fu tinyreptile-$role"
