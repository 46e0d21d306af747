#include "caffe/engine/convolution.hpp"

#include "caffe/engine/convolution_onednn.hpp"
#include "caffe/engine/convolution_vector.hpp"
#include "caffe/engine/depthwise.hpp"
#include "caffe/engine/direct.hpp"
#include "caffe/engine/pointwise.hpp"
#include "caffe/engine/unrolled.hpp"
#include "caffe/engine/winograd.hpp"

namespace caffe {
namespace engine {

namespace {

// Kernels of a family with the widest registers that it supports a shape with, or NULL.
template <template <int> class Family, typename... Wishes>
Convolution::Kernels* Widest(const ConvShape& s, Wishes... wishes) {
  if (Family<kLanesOfAvx512>::Supports(s, wishes...)) return new Family<kLanesOfAvx512>(s);
  if (Family<kLanesOfAvx2>::Supports(s, wishes...)) return new Family<kLanesOfAvx2>(s);
  return NULL;
}

// oneDNN's kernels, without its slow pass for the weights.
class OneDnnButWeights : public Convolution::Kernels {
 public:
  explicit OneDnnButWeights(const ConvShape& s) : shape_(s), others_(NewOneDnnConvolution(s)) {
    const int kWide = 64;  // channels: neighbours enough for matrix products that are laid out first
    if (s.ic < kWide) direct_.reset(Widest<Direct>(s));
  }

  // Where none of the engine's kernels takes the shape, and with AVX-512 where Direct would, but for the stems' few channels.
  static bool Supports(const ConvShape& s) {
    const int kFewChannels = 8, kStem = 16;  // matrices so narrow are products of vectors
    if (!OneDnnSupports(s) || !UnrolledSupports(s)) return false;
    if (Direct<kLanesOfAvx2>::Supports(s)) return HasVectors(kLanesOfAvx512) && s.ic >= kStem;
    return s.ic / s.groups >= kFewChannels && s.oc / s.groups >= kFewChannels;
  }

  void KeepFilters() { others_->KeepFilters(); }
  void TellWeights(bool same) { others_->TellWeights(same); }
  void Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
      const OutputMoments* moments) {
    others_->Forward(x, w, bias, y, recipe, moments);
  }
  void BackwardData(const float* dy, const float* w, float* dx) { others_->BackwardData(dy, w, dx); }
  void BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe*) {
    if (direct_) return direct_->BackwardWeights(x, dy, dw, db, NULL);
    UnrolledWeights(shape_, x, dy, dw, db);
  }

 private:
  const ConvShape shape_;
  const std::unique_ptr<Convolution::Kernels> others_;
  std::unique_ptr<Convolution::Kernels> direct_;
};

// The fastest first.
Convolution::Kernels* ChooseKernels(const ConvShape& shape, bool keep_filters) {
  if (Convolution::Kernels* kernels = Widest<Winograd>(shape, keep_filters)) return kernels;
  if (Convolution::Kernels* kernels = Widest<Depthwise>(shape)) return kernels;
  if (Pointwise::Supports(shape)) return new Pointwise(shape);
  if (OneDnnButWeights::Supports(shape)) return new OneDnnButWeights(shape);
  if (Convolution::Kernels* kernels = Widest<Direct>(shape)) return kernels;
  return NewOneDnnConvolution(shape);
}

}  // namespace

bool Convolution::Supports(const ConvShape& shape) {
  return CanBeCounted(shape) && (Winograd<kLanesOfAvx2>::Supports(shape, false) || Depthwise<kLanesOfAvx2>::Supports(shape) ||
      Pointwise::Supports(shape) || Direct<kLanesOfAvx2>::Supports(shape) || OneDnnSupports(shape));
}

Convolution::Convolution(const ConvShape& shape, bool keep_filters) : kernels_(ChooseKernels(shape, keep_filters)) {
  if (keep_filters) kernels_->KeepFilters();
}

Convolution::~Convolution() {}

void Convolution::Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
    const OutputMoments* moments) {
  kernels_->Forward(x, w, bias, y, recipe, moments);
}

void Convolution::BackwardData(const float* dy, const float* w, float* dx) { kernels_->BackwardData(dy, w, dx); }

void Convolution::BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe* recipe) {
  kernels_->BackwardWeights(x, dy, dw, db, recipe);
}

void Convolution::Backward(const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
    const InputRecipe* recipe, const InputGradientSums* sums, const GradientRecipe* gradient) {
  kernels_->Backward(x, dy, w, dx, dw, db, recipe, sums, gradient);
}

}  // namespace engine
}  // namespace caffe
