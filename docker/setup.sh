#!/bin/sh
# Makes .venv with the pinned Python packages and a Caffe that holds our layers; does only what is missing.
#   docker/setup.sh        PYTHON=python3.12 chooses the interpreter, CAFFE_CACHE the cache; CAFFE_OPENCV=1 adds OpenCV
# The interpreter must be the one that the system's Boost.Python was built for, hence /usr/bin/python3 first.
set -eu
cd "$(dirname "$0")/.."
docker/apt.sh docker/apt-build.txt ${CAFFE_OPENCV:+docker/apt-opencv.txt}

PYTHON=${PYTHON:-$([ -x /usr/bin/python3 ] && echo /usr/bin/python3 || echo python3)}
export PYTHON
if ! cmp -s requirements-dev.lock .venv/installed.lock; then
    echo "Python packages -> .venv"
    docker/uv.sh venv -q --allow-existing --no-python-downloads --python "$PYTHON" .venv
    VIRTUAL_ENV=.venv docker/uv.sh pip sync -q --require-hashes requirements-dev.lock
    cp requirements-dev.lock .venv/installed.lock
fi

.venv/bin/python docker/build_caffe.py
