#!/bin/sh
# Installs the Debian packages that the given lists name and this machine lacks.
#   docker/apt.sh docker/apt-build.txt [LIST...]
# Root gets them installed; anybody else is told the command that does it.
set -eu
cat "$@" >/dev/null  # ends here if one is missing
wanted=$(sed 's/#.*//' "$@" | tr -s ' \n' ' ')
if ! command -v dpkg-query >/dev/null; then
    echo "note: no dpkg here; this needs what Debian calls: $wanted" >&2
    exit 0
fi
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $wanted 2>/dev/null | sed -n 's/ installed$//p')
missing=
for package in $wanted; do
    echo "$installed" | grep -qxF "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "error: system packages are missing. Install them, then run this again:" >&2
    echo "    sudo apt-get install --no-install-recommends$missing" >&2
    exit 2
fi
echo "Installing system packages:$missing"
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
