#!/bin/sh
# Runs a command as the user who owns the mounted folders, so that the files it writes belong to that user.
#   docker/entrypoint.sh python -m solvers.train prototxt/res44_usw
# compose.yaml starts it as root only for this. Started as another user, it runs the command as that user.
set -eu
if [ "$(id -u)" = 0 ]; then
    root=$(dirname "$0")/..
    owner=$(stat -c %u:%g "$root/runs")
    case $owner in
        # Docker makes a folder that is missing on the host as root. Give it to the owner of the checkout (that of prototxt/).
        0:*) owner=$(stat -c %u:%g "$root/prototxt") ;;
    esac
    for folder in "$root/data" "$root/runs"; do
        case $owner:$(stat -c %u "$folder") in
            0:*) ;;
            *:0) chown "$owner" "$folder" 2>/dev/null || true ;;  # it may be read-only: then the command reports it if it writes there
        esac
    done
    exec setpriv --reuid "${owner%:*}" --regid "${owner#*:}" --clear-groups "$@"
fi
exec "$@"
