#!/bin/sh
# Runs a command as whoever owns the mounted folders, so that what a run writes belongs to them.
#   docker/entrypoint.sh python -m solvers.train prototxt/res44_usw
# compose.yaml starts it as root for this alone; started as anybody else, it runs the command as they are.
set -eu
if [ "$(id -u)" = 0 ]; then
    root=$(dirname "$0")/..
    owner=$(stat -c %u:%g "$root/runs")
    case $owner in
        # Docker makes a folder that is missing on the host as root: it is to belong to the checkout's owner, as prototxt/.
        0:*) owner=$(stat -c %u:%g "$root/prototxt") ;;
    esac
    for folder in "$root/data" "$root/runs"; do
        case $owner:$(stat -c %u "$folder") in
            0:*) ;;
            *:0) chown "$owner" "$folder" 2>/dev/null || true ;;  # read-only: the command says so if it minds
        esac
    done
    exec setpriv --reuid "${owner%:*}" --regid "${owner#*:}" --clear-groups "$@"
fi
exec "$@"
