#!/bin/sh
# Writes the lock files: requirements.lock (run, with the report), requirements-dev.lock (build and test, too), docker/tools.lock (uv itself),
# docker/cuda13.lock (the CUDA toolkit of CAFFE_CUDA=1), docker/tensorboard.lock (the image of that name).
set -eu
cd "$(dirname "$0")/.."
pin() { docker/uv.sh pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate "$@"; }
pin pyproject.toml --extra report -o requirements.lock
pin pyproject.toml --extra build --extra report --extra test -o requirements-dev.lock
pin docker/tools.txt -o docker/tools.lock
pin docker/cuda13.txt -o docker/cuda13.lock
pin docker/tensorboard.txt -o docker/tensorboard.lock
