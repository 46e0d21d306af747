#include "caffe/engine/pooling_loops.hpp"

#include <cfloat>
#include <cstring>

#include "caffe/engine/for_each_processor.hpp"

namespace caffe {
namespace engine {

FOR_EACH_PROCESSOR
void MaxTap(const float* __restrict__ x, int tap, int channels, float* __restrict__ best, int32_t* __restrict__ from) {
  for (int c = 0; c < channels; ++c) {
    const float v = x[c], b = best[c];
    const int32_t f = from[c];
    best[c] = v > b ? v : b;
    from[c] = v > b ? tap : f;
  }
}

FOR_EACH_PROCESSOR
void MaxOfWindow(const TapWindow& w, const float* __restrict__ x, int channels, float* __restrict__ best,
    uint8_t* __restrict__ from) {
  // A few vectors of channels at a time, so that their maxima stay in registers.
  typedef float Floats __attribute__((vector_size(32)));
  typedef int32_t Taps __attribute__((vector_size(32)));
  enum { kLanes = 8, kVectors = 4, kTogether = kLanes * kVectors };
  int c = 0;
  for (; c + kTogether <= channels; c += kTogether) {
    Floats b[kVectors];
    Taps f[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      b[v] = Floats() - FLT_MAX;
      f[v] = Taps() + w.first_tap;
    }
    for (int i = 0; i < w.rows; ++i) {
      for (int j = 0; j < w.columns; ++j) {
        const Taps tap = Taps() + (w.first_tap + i * w.taps_a_row + j);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) {
          Floats values;
          memcpy(&values, x + i * w.line + long(j) * channels + c + v * kLanes, sizeof(values));
          f[v] = values > b[v] ? tap : f[v];
          b[v] = values > b[v] ? values : b[v];
        }
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      memcpy(best + c + v * kLanes, &b[v], sizeof(b[v]));
      for (int k = 0; k < kLanes; ++k) from[c + v * kLanes + k] = f[v][k];
    }
  }
  for (; c < channels; ++c) {
    float b = -FLT_MAX;
    int f = w.first_tap;
    for (int i = 0; i < w.rows; ++i) {
      for (int j = 0; j < w.columns; ++j) {
        const float value = x[i * w.line + long(j) * channels + c];
        f = value > b ? w.first_tap + i * w.taps_a_row + j : f;
        b = value > b ? value : b;
      }
    }
    best[c] = b;
    from[c] = f;
  }
}

FOR_EACH_PROCESSOR
void MaxTapGradient(const float* __restrict__ g, const uint8_t* __restrict__ from, int tap, int channels,
    float* __restrict__ dx) {
  for (int c = 0; c < channels; ++c) {
    const float v = g[c], d = dx[c], sum = d + v;
    dx[c] = int32_t(from[c]) == tap ? sum : d;
  }
}

FOR_EACH_PROCESSOR
void AddScaled(const float* __restrict__ x, float factor, long channels, float* __restrict__ to) {
  for (long c = 0; c < channels; ++c) to[c] += factor * x[c];
}

}  // namespace engine
}  // namespace caffe
