#ifndef CAFFE_ENGINE_POINTWISE_HPP_
#define CAFFE_ENGINE_POINTWISE_HPP_

#include "caffe/engine/convolution.hpp"

namespace caffe {
namespace engine {

// Convolution with 1 x 1 filters and stride 1: a product of the matrices (pixels, ic) and (ic, oc). Many pixels are taken in
// chunks, one thread each, so that a chunk's recipe and sums are worked out in the cache. For few pixels, where laying out the
// filters for each chunk would cost more, all threads share one product, and nothing is fused.
class Pointwise : public Convolution::Kernels {
 public:
  static bool Supports(const ConvShape& shape);

  explicit Pointwise(const ConvShape& shape);
  bool Fuses() const { return chunk_ < pixels_; }
  void Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
      const OutputMoments* moments);
  void BackwardData(const float* dy, const float* w, float* dx) { Backward(NULL, dy, w, dx, NULL, NULL, NULL, NULL); }
  void BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe* recipe) {
    Backward(x, dy, NULL, NULL, dw, db, recipe, NULL);
  }
  // dx, or x with dw and db, may be NULL.
  void Backward(const float* x, const float* dy, const float* w, float* dx, float* dw, float* db, const InputRecipe* recipe,
      const InputGradientSums* sums);

 private:
  int chunks() const { return (pixels_ + chunk_ - 1) / chunk_; }

  const long pixels_;
  const int ic_, oc_;
  const long chunk_;  // pixels
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_POINTWISE_HPP_
