#!/bin/sh
# Installs the Debian packages that the given lists name and this machine lacks.
#   docker/apt.sh docker/apt-build.txt [LIST...]
# As root on Debian, it installs them. For other users it prints the command that does so, and for all users of Fedora, whose
# names of the packages are in docker/dnf-*.txt.
set -eu
names() { sed 's/#.*//' "$@" | tr -s ' \n' ' '; }
cat "$@" >/dev/null  # ends here if one is missing
if ! command -v dpkg-query >/dev/null && command -v dnf >/dev/null; then
    missing=
    for list in "$@"; do
        list=$(echo "$list" | sed 's/apt-\([a-z]*\.txt\)$/dnf-\1/')
        [ ! -e "$list" ] || for package in $(names "$list"); do
            rpm -q --whatprovides "$package" >/dev/null 2>&1 || missing="$missing $package"
        done
    done
    [ -n "$missing" ] || exit 0
    echo "error: system packages are missing. Install them, then run this again:" >&2
    echo "    sudo dnf install$missing" >&2
    exit 2
fi
wanted=$(names "$@")
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
