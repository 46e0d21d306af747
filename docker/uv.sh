#!/bin/sh
# Runs the pinned uv, which is installed into the cache the first time.
#   docker/uv.sh pip sync ...
set -eu
tools_lock=$(dirname "$0")/tools.lock
tools=${CAFFE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/caffe-example-weighting}/tools-$(cksum <"$tools_lock" | tr ' ' -)
if [ ! -e "$tools/ready" ]; then
    rm -rf "$tools"
    "${PYTHON:-python3}" -m venv "$tools"
    "$tools/bin/pip" install -q --require-hashes -r "$tools_lock"
    touch "$tools/ready"
fi
exec "$tools/bin/uv" "$@"
