#include "caffe/engine/convolution.hpp"

#include "caffe/engine/convolution_onednn.hpp"
#include "caffe/engine/direct.hpp"
#include "caffe/engine/winograd.hpp"

namespace caffe {
namespace engine {

namespace {

Convolution::Kernels* ChooseKernels(const ConvShape& shape) {
  if (Winograd::Supports(shape)) return new Winograd(shape);
  if (Direct::Supports(shape)) return new Direct(shape);
  return NewOneDnnConvolution(shape);
}

}  // namespace

bool Convolution::Supports(const ConvShape& shape) {
  return CanBeCounted(shape) && (Winograd::Supports(shape) || Direct::Supports(shape) || OneDnnSupports(shape));
}

Convolution::Convolution(const ConvShape& shape) : kernels_(ChooseKernels(shape)) {}

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
    const InputRecipe* recipe, const InputGradientSums* sums) {
  kernels_->Backward(x, dy, w, dx, dw, db, recipe, sums);
}

}  // namespace engine
}  // namespace caffe
