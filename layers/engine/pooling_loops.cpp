#include "caffe/engine/pooling_loops.hpp"

#include <algorithm>
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

namespace {

// MaxOfWindow for kVectors vectors of channels, whose maxima stay in registers. A vector may be one value.
template <typename Floats, typename Taps, int kVectors>
inline __attribute__((always_inline)) void MaxOfVectors(const TapWindow& w, const float* x, int channels, float* best,
    uint8_t* from) {
  enum { kLanes = sizeof(Floats) / sizeof(float) };
  Floats b[kVectors];
  Taps f[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    b[v] = Floats() - FLT_MAX;
    if (w.rows > 0 && w.columns > 0) memcpy(&b[v], x + v * kLanes, sizeof(Floats));
    f[v] = Taps() + w.first_tap;
  }
  for (int i = 0; i < w.rows; ++i) {
    for (int j = 0; j < w.columns; ++j) {
      const Taps tap = Taps() + (w.first_tap + i * w.taps_a_row + j);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        Floats values;
        memcpy(&values, x + i * w.line + long(j) * channels + v * kLanes, sizeof(values));
        const auto taken = (values > b[v]) | (values != values);  // as upstream's, with docker/patches/0014-odd-values.patch
        f[v] = taken ? tap : f[v];
        b[v] = taken ? values : b[v];
      }
    }
  }
  int32_t taps[kVectors * kLanes];
  memcpy(best, b, sizeof(b));
  memcpy(taps, f, sizeof(f));
  std::copy(taps, taps + kVectors * kLanes, from);
}

}  // namespace

FOR_EACH_PROCESSOR
void MaxOfWindow(const TapWindow& window, const float* __restrict__ x, int channels, float* __restrict__ best,
    uint8_t* __restrict__ from) {
  typedef float Floats __attribute__((vector_size(32)));
  typedef int32_t Taps __attribute__((vector_size(32)));
  enum { kTogether = 32 };
  int c = 0;
  for (; c + kTogether <= channels; c += kTogether) {
    MaxOfVectors<Floats, Taps, 4>(window, x + c, channels, best + c, from + c);
  }
  for (; c < channels; ++c) MaxOfVectors<float, int32_t, 1>(window, x + c, channels, best + c, from + c);
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
