#!/bin/sh
# Writes the lock files: requirements.lock (run), requirements-dev.lock (build and test, too), docker/tools.lock (uv itself),
# docker/cuda13.lock (the CUDA toolkit of CAFFE_CUDA=1), docker/tensorboard.lock (TensorBoard's own environment).
set -eu
cd "$(dirname "$0")/.."
pin() { docker/uv.sh pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate "$@"; }
pin pyproject.toml --extra report --extra sweep -o requirements.lock
pin pyproject.toml --extra report --extra sweep --extra export --extra build --extra test -o requirements-dev.lock
pin docker/tools.txt -o docker/tools.lock
pin docker/cuda13.txt -o docker/cuda13.lock
pin docker/tensorboard.txt -o docker/tensorboard.lock
