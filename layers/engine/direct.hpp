#ifndef CAFFE_ENGINE_DIRECT_HPP_
#define CAFFE_ENGINE_DIRECT_HPP_

#include "caffe/engine/convolution.hpp"
#include "caffe/engine/convolution_vector.hpp"

namespace caffe {
namespace engine {

// Convolution by the direct sum, a few output rows at a time. In a padded image of channels-last pixels, what an
// output pixel reads is some runs of neighbouring floats, so the products of im2col and gemm need no im2col. For
// what Winograd does not take: strides, other filters, the images' three channels.
template <int lanes>
class Direct : public Convolution::Kernels {
 public:
  // The shape is one for these kernels, and this processor runs them.
  static bool Supports(const ConvShape& shape);

  explicit Direct(const ConvShape& shape) : shape_(shape) {}
  void Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe*,
      const OutputMoments*);
  void BackwardData(const float* dy, const float* w, float* dx);
  void BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe*);

 private:
  const ConvShape shape_;
};

extern template class Direct<kLanesOfAvx2>;
extern template class Direct<kLanesOfAvx512>;

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_DIRECT_HPP_
