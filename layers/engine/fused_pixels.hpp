#ifndef CAFFE_ENGINE_FUSED_PIXELS_HPP_
#define CAFFE_ENGINE_FUSED_PIXELS_HPP_

#include <vector>

#include "caffe/engine/convolution.hpp"
#include "caffe/engine/rows.hpp"

// What the kernels of a convolution do beside it, on runs of whole pixels while these are in the cache. Sums are taken in
// parts, each by one thread, and added up in the parts' order.

namespace caffe {
namespace engine {

// Carries out an InputRecipe.
class RecipeReader {
 public:
  RecipeReader(const InputRecipe* recipe, int channels);
  explicit operator bool() const { return recipe_ != NULL; }
  void Read(const float* x, size_t count, float* out) const;

 private:
  const InputRecipe* recipe_;
  const Rows rows_;
  Channels mean_, scale_, shift_;
};

// Adds the bias to results without one, and takes their moments.
class OutputFinisher {
 public:
  OutputFinisher(const float* bias, const OutputMoments* moments, int channels, int parts);
  void Finish(int part, float* y, size_t count);
  void WriteMoments(double pixels);

 private:
  const float* bias_;
  const OutputMoments* moments_;
  const Rows rows_;
  const Channels zero_, bias_row_, one_;
  Sums sums_, squares_;
};

// Takes InputGradientSums of dx = the gradient at x.
class InputSummer {
 public:
  InputSummer(const InputRecipe* recipe, const InputGradientSums* sums, int channels, int parts);
  void Add(int part, const float* x, const float* dx, size_t count);
  void Write();

 private:
  const InputRecipe* recipe_;
  const InputGradientSums* places_;
  const Rows rows_;
  Channels mean_, scale_, shift_;
  Sums sums_, products_;
};

// Sums of dy by channel.
class BiasSummer {
 public:
  BiasSummer(float* db, int channels, int parts);
  void Add(int part, const float* dy, size_t count);
  void Write();  // adds to db

 private:
  float* db_;
  const Rows rows_;
  Sums sums_;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_FUSED_PIXELS_HPP_
