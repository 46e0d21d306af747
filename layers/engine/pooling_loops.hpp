#ifndef CAFFE_ENGINE_POOLING_LOOPS_HPP_
#define CAFFE_ENGINE_POOLING_LOOPS_HPP_

#include <cstdint>

// The inner loops of windowed pooling, over the channels of a window or of one of its taps. See vector_loops.hpp.

namespace caffe {
namespace engine {

// Where x is larger than `best`, it takes its place, and `tap` that of `from`.
void MaxTap(const float* x, int tap, int channels, float* best, int32_t* from);
// The taps of a window that lie in the image: rows of neighbouring pixels, `line` floats apart, of which the first is tap
// number `first_tap`, and the next row's `taps_a_row` later.
struct TapWindow {
  int rows, columns;
  long line;
  int first_tap, taps_a_row;
};
// The largest value of each channel, and the first tap that has it, or the last NaN; -FLT_MAX of an empty window. x: the window's
// first pixel.
void MaxOfWindow(const TapWindow& window, const float* x, int channels, float* best, uint8_t* from);
// dx += g where `from` is the tap.
void MaxTapGradient(const float* g, const uint8_t* from, int tap, int channels, float* dx);
// to += factor * x.
void AddScaled(const float* x, float factor, long channels, float* to);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_POOLING_LOOPS_HPP_
