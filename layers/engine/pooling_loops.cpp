#include "caffe/engine/pooling_loops.hpp"

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
