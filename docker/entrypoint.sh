#!/bin/sh
# Runs Python as the owner of the mounted runs/ folder, so that what a run writes belongs to whoever started it.
set -eu
owner=$(stat -c %u:%g /app/runs)
export HOME=/tmp
exec setpriv --reuid "${owner%:*}" --regid "${owner#*:}" --clear-groups /app/.venv/bin/python "$@"
