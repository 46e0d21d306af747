#!/bin/sh
# Removes from .venv and Caffe what a run does not need: packages that are not in the given lock file, tests, headers, debugging
# symbols. Writes the names of the Debian packages whose libraries Caffe uses; they differ between releases of Debian.
#   docker/slim.sh requirements.lock libraries.txt        only for the image; a checkout is not changed by it
set -eu
cache=${CAFFE_CACHE:?names the folder to clear out}
VIRTUAL_ENV=.venv docker/uv.sh pip sync -q --require-hashes "$1"
# numpy.testing and the like stay: packages import them.
find .venv/lib -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
find .venv/lib -type d -path '*/matplotlib/mpl-data/*' \( -name sample_data -o -name pdfcorefonts \) -prune -exec rm -rf {} +
rm -rf "$cache"/caffe-*/include "$cache"/caffe-*/models "$cache"/caffe-*/examples "$cache"/caffe-*/python/caffe/test
# Of a CUDA toolkit (CAFFE_CUDA), keep only the libraries.
rm -rf "$cache"/cuda-*/*/include "$cache"/cuda-*/*/bin "$cache"/cuda-*/*/nvvm
find .venv/lib "$cache" \( -name '*.a' -o -name '*.pyx' -o -name '*.pxd' \) -exec rm -f {} +
# The folders NAME.libs contain libraries that the makers of wheels have patched; strip would break them.
find .venv/lib "$cache"/caffe-* -type f -name '*.so*' ! -path '*.libs/*' -exec strip --strip-unneeded {} +
strip "$cache"/caffe-*/bin/*
rm -rf "$cache"/tools-* "$cache"/build.lock

caffe="$(echo "$cache"/caffe-*/bin/caffe "$cache"/caffe-*/python/caffe/_caffe.so "$cache"/caffe-*/lib/libcaffe.so)"
needed=$(objdump -p $caffe | sed -n 's/^ *NEEDED *//p' | sort -u)
ldd $caffe | awk '$2 == "=>" { print $1, $3 }' | sort -u | while read -r name file; do
    echo "$needed" | grep -qxF "$name" || continue
    dpkg-query -S "$(realpath "$file")" 2>/dev/null | sed 's/:.*//'  # without the C library, which every base image has
done | sort -u >"$2"
