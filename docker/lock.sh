#!/bin/sh
# Writes the lock files: requirements.lock (run), requirements-dev.lock (build and test, too), docker/tools.lock (uv itself).
set -eu
cd "$(dirname "$0")/.."
pin() { docker/uv.sh pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate "$@"; }
pin pyproject.toml -o requirements.lock
pin pyproject.toml --extra build --extra test -o requirements-dev.lock
pin docker/tools.txt -o docker/tools.lock
