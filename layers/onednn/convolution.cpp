#include "caffe/engine/convolution.hpp"

#include <algorithm>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "caffe/engine/convolution_onednn.hpp"
#include "caffe/engine/winograd.hpp"

namespace caffe {
namespace engine {

namespace {

Convolution::Kernels* ChooseKernels(const ConvShape& shape) {
  if (Winograd::Supports(shape)) return new Winograd(shape);
  return NewOneDnnConvolution(shape);
}

// db[c] += sum of dy[p][c] over the pixels p. Each thread sums one run of pixels, and the runs are added in order.
void AddPixels(const float* dy, long pixels, int channels, float* db) {
#ifdef _OPENMP
  const int threads = omp_get_max_threads();
#else
  const int threads = 1;
#endif
  std::vector<float> sums(static_cast<size_t>(threads) * channels, 0.f);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; ++t) {
    const long last = pixels * (t + 1) / threads;
    float* sum = &sums[static_cast<size_t>(t) * channels];
    // Sums of a few thousand terms lose little; longer ones would.
    std::vector<float> part(channels);
    for (long p = pixels * t / threads; p < last;) {
      std::fill(part.begin(), part.end(), 0.f);
      for (const long end = std::min(last, p + 1024); p < end; ++p) {
        for (int c = 0; c < channels; ++c) part[c] += dy[p * channels + c];
      }
      for (int c = 0; c < channels; ++c) sum[c] += part[c];
    }
  }
  for (int t = 0; t < threads; ++t) {
    for (int c = 0; c < channels; ++c) db[c] += sums[static_cast<size_t>(t) * channels + c];
  }
}

}  // namespace

bool Convolution::Supports(const ConvShape& shape) { return Winograd::Supports(shape) || OneDnnSupports(shape); }

Convolution::Convolution(const ConvShape& shape) : shape_(shape), kernels_(ChooseKernels(shape)) {}

Convolution::~Convolution() {}

void Convolution::Forward(const float* x, const float* w, const float* bias, float* y) {
  kernels_->Forward(x, w, bias, y);
}

void Convolution::BackwardData(const float* dy, const float* w, float* dx) { kernels_->BackwardData(dy, w, dx); }

void Convolution::BackwardWeights(const float* x, const float* dy, float* dw, float* db) {
  kernels_->BackwardWeights(x, dy, dw);
  if (db) AddPixels(dy, static_cast<long>(shape_.n) * shape_.oh * shape_.ow, shape_.oc, db);
}

}  // namespace engine
}  // namespace caffe
