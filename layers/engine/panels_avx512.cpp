// panels.cpp once more, with AVX-512.
#define CAFFE_ENGINE_LANES 16
#include "panels.cpp"
