#ifndef CAFFE_ENGINE_DEPTHWISE_HPP_
#define CAFFE_ENGINE_DEPTHWISE_HPP_

#include "caffe/engine/convolution.hpp"
#include "caffe/engine/convolution_vector.hpp"

namespace caffe {
namespace engine {

// Convolution of each channel by a filter of its own, some output rows at a time: their padded input rows, with the recipe
// carried out, lie in the second-level cache. Memory is the bound; a general kernel needs a multiple of it.
template <int lanes>
class Depthwise : public Convolution::Kernels {
 public:
  static bool Supports(const ConvShape& shape);

  explicit Depthwise(const ConvShape& shape) : shape_(shape) {}
  bool Fuses() const { return true; }
  void Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
      const OutputMoments* moments);
  void BackwardData(const float* dy, const float* w, float* dx) { InputGradient(NULL, dy, w, dx, NULL, NULL); }
  void BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe* recipe);
  void Backward(const float* x, const float* dy, const float* w, float* dx, float* dw, float* db, const InputRecipe* recipe,
      const InputGradientSums* sums, const GradientRecipe* = NULL) {
    BackwardWeights(x, dy, dw, db, recipe);
    InputGradient(x, dy, w, dx, recipe, sums);
  }

 private:
  void InputGradient(const float* x, const float* dy, const float* w, float* dx, const InputRecipe* recipe,
      const InputGradientSums* sums);

  const ConvShape shape_;
};

extern template class Depthwise<kLanesOfAvx2>;
extern template class Depthwise<kLanesOfAvx512>;

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_DEPTHWISE_HPP_
