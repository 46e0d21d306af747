#ifndef CAFFE_ENGINE_UNROLLED_HPP_
#define CAFFE_ENGINE_UNROLLED_HPP_

#include "caffe/engine/convolution_shape.hpp"

namespace caffe {
namespace engine {

// Adds to dw, and to db unless it is NULL, the gradients of any convolution: the inputs that each output pixel reads are
// written side by side, some output rows at a time, and the sum over pixels is a matrix product. oneDNN's own pass is up to
// ten times slower where images are small and channels many.
void UnrolledWeights(const ConvShape& shape, const float* x, const float* dy, float* dw, float* db);

// Whether what each thread works in is in proportion to an image.
bool UnrolledSupports(const ConvShape& shape);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_UNROLLED_HPP_
