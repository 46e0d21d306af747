#!/bin/sh
# Times the convolutions of ResNet-44, ours and oneDNN's side by side:   benchmarks/convolution.sh [REPETITIONS] [BATCH]
# Needs g++, libdnnl-dev and libopenblas-dev; OMP_NUM_THREADS=1 for one core. Takes a minute.
set -eu
cd "$(dirname "$0")/.."
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
mkdir "$build/caffe"
ln -s "$PWD/layers/engine" "$build/caffe/engine"
g++ -std=c++17 -O3 -DNDEBUG -fopenmp -DUSE_ONEDNN -w "-I$build" benchmarks/convolution.cpp \
    $(printf 'layers/engine/%s.cpp ' convolution convolution_onednn convolution_scratch convolution_vector \
        depthwise depthwise_avx512 direct direct_avx512 filters fused_pixels matrix_product panels panels_avx512 pointwise \
        thread_places unrolled vector_loops winograd winograd_avx512) \
    -ldnnl -lopenblas -o "$build/convolution"
"$build/convolution" "$@"
