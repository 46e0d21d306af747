#ifndef CAFFE_ENGINE_POOLING_LOOPS_HPP_
#define CAFFE_ENGINE_POOLING_LOOPS_HPP_

#include <cstdint>

// The inner loops of windowed pooling, over the channels of one tap of a window. See vector_loops.hpp.

namespace caffe {
namespace engine {

// Where x is larger than `best`, it takes its place, and `tap` that of `from`.
void MaxTap(const float* x, int tap, int channels, float* best, int32_t* from);
// dx += g where `from` is the tap.
void MaxTapGradient(const float* g, const uint8_t* from, int tap, int channels, float* dx);
// to += factor * x.
void AddScaled(const float* x, float factor, long channels, float* to);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_POOLING_LOOPS_HPP_
