#ifndef CAFFE_ENGINE_POINTWISE_HPP_
#define CAFFE_ENGINE_POINTWISE_HPP_

#include "caffe/engine/convolution.hpp"

namespace caffe {
namespace engine {

class RecipeReader;

// Convolution with 1 x 1 filters: a product of the matrices (pixels, ic) and (ic, oc), the pixels being those that the stride
// meets. They are taken in chunks, one thread each, so that a chunk's recipe and sums are worked out in the cache. Of few
// pixels the library's product with all threads is faster; recipes and sums are then passes of their own.
class Pointwise : public Convolution::Kernels {
 public:
  static bool Supports(const ConvShape& shape);

  explicit Pointwise(const ConvShape& shape);
  // lanes: the products for y and dx are made in panels (panels.hpp) with so many, if these support the shape; 0: by the library, as that for
  // the weights' gradient always is.
  static bool SupportsLanes(const ConvShape& shape, int lanes);
  Pointwise(const ConvShape& shape, int lanes);

  bool Fuses() const;
  void Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
      const OutputMoments* moments);
  void BackwardData(const float* dy, const float* w, float* dx) { Backward(NULL, dy, w, dx, NULL, NULL, NULL, NULL); }
  void BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe* recipe) {
    Backward(x, dy, NULL, NULL, dw, db, recipe, NULL);
  }
  // dx, or x with dw and db, may be NULL.
  void Backward(const float* x, const float* dy, const float* w, float* dx, float* dw, float* db, const InputRecipe* recipe,
      const InputGradientSums* sums, const GradientRecipe* = NULL);

 private:
  struct Chunks;
  struct Gradients;
  Chunks ForwardChunks() const;
  Chunks BackwardChunks() const;
  void BackwardAtOnce(const Gradients& g);
  void BackwardInChunks(const Gradients& g);
  void FinishGradients(const Gradients& g, int chunk, const float* gradients, float* room) const;
  bool by_library() const { return lanes_ == 0; }
  bool copies_inputs(const RecipeReader& reader) const;
  const float* Inputs(const RecipeReader& reader, const float* x, long first, long count, float* room) const;
  const float* AllInputs(const RecipeReader& reader, const float* x, const Chunks& chunks) const;

  const ConvShape shape_;
  const long pixels_;  // of y
  const bool strided_;
  const int lanes_;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_POINTWISE_HPP_
