#ifndef CAFFE_ENGINE_WINOGRAD_HPP_
#define CAFFE_ENGINE_WINOGRAD_HPP_

#include "caffe/engine/convolution.hpp"
#include "caffe/engine/convolution_vector.hpp"

namespace caffe {
namespace engine {

// Convolution with 3 x 3 filters, stride 1, by Winograd's F(4 x 4, 3 x 3): 36 multiplications for 4 x 4 outputs
// where the direct sum needs 144 (Lavin & Gray 2015, arXiv:1509.09308). Rounding errors are several times those of the
// direct sum; tests/layers/engine/test_engine_convolution.cpp bounds them.
//
// Arguments are as in engine::Convolution. Each pass is one parallel region over OpenMP's threads.
template <int lanes>
class Winograd : public Convolution::Kernels {
 public:
  // The shape is one for these kernels, and this processor runs them. keeps_filters: they are transformed once for many passes.
  static bool Supports(const ConvShape& shape, bool keeps_filters);

  explicit Winograd(const ConvShape& shape) : shape_(shape) {}
  bool Fuses() const { return shape_.pad_h == 1 && shape_.pad_w == 1; }  // x and y have the same tiles
  bool FusesAll() const { return Fuses(); }
  void Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
      const OutputMoments* moments);
  void BackwardData(const float* dy, const float* w, float* dx);
  void BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe* recipe);
  void Backward(const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
      const InputRecipe* recipe, const InputGradientSums* sums, const GradientRecipe* gradient = NULL);

 private:
  const ConvShape shape_;
};

extern template class Winograd<kLanesOfAvx2>;
extern template class Winograd<kLanesOfAvx512>;

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_WINOGRAD_HPP_
