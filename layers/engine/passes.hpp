#ifndef CAFFE_ENGINE_PASSES_HPP_
#define CAFFE_ENGINE_PASSES_HPP_

#include "caffe/engine/tensor.hpp"

namespace caffe {
namespace engine {

// The passes over memory. Each reads and writes every activation once, with all threads; the bits of the sums depend on
// the shape only, not on the number of threads.

// Writes the values of a recipe to `out`, which may be the memory of its first term. Of a combined one it also takes the sums over
// the pixels, which the bias of a convolution needs.
void Evaluate(const Dims& dims, const Recipe& recipe, const Buffer& out, Channels* sums);

// Whether a variance keeps its digits that was found as the mean of squares less the squared mean. With r = |mean| /
// deviation, the rounding errors of the squares are 1 + r^2 times as large beside the variance as beside the squares. Floats
// add up at most 128 squares before doubles add up their sums. So the limit r = 8 leaves a relative error of
// 65 * 128 * 2^-24 = 5e-4 in the worst case, and of 5e-5 where rounding errors have random signs.
bool KeepsDigits(double mean, double variance);

// Mean and biased variance of each channel of x.
void Moments(const Dims& dims, const Buffer& x, Channels* mean, Channels* variance);

// Sums of the gradient g, and of g times `with`. Where g is a sum of several terms, it becomes dense on the way.
shared_ptr<GradientSums> SumGradient(Tensor* g, const TensorPtr& with);

// x times factors, value by value.
TensorPtr Multiply(Tensor* x, const Buffer& factors);

// Sums over the pixels.
Channels SumChannels(const TensorPtr& t);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_PASSES_HPP_
