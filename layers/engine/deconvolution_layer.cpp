#include "caffe/engine/engine_layers.hpp"

#include <vector>

#include "caffe/engine/passes.hpp"

namespace caffe {
namespace engine {

typedef caffe::DeconvolutionLayer<float> Upstream;

void DeconvolutionLayer::Reshape(const Blobs& bottom, const Blobs& top) {
  Upstream::Reshape(bottom, top);
  SetConvolution(*top[0], *bottom[0]);
}

void DeconvolutionLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  if (!convolution_) return Upstream::Forward_cpu(bottom, top);
  for (size_t i = 0; i < bottom.size(); ++i) {
    const TensorPtr x = Data(*bottom[i]);
    const Dims dims = DimsOf(*top[i]);
    const TensorPtr y = NewTensor(dims);
    convolution_->BackwardData(x->Dense().get(), blobs_[0]->cpu_data(), y->Fill());
    if (bias_term_) {
      const float* bias = blobs_[1]->cpu_data();
      y->AddToChannels(Channels(bias, bias + dims.c));
    }
    SetData(top[i], y);
  }
}

void DeconvolutionLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!convolution_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  for (size_t i = 0; i < top.size(); ++i) {
    const TensorPtr g = Diff(*top[i]);
    if (bias_term_ && param_propagate_down_[1]) {
      const Channels sums = SumChannels(g);
      float* gradients = blobs_[1]->mutable_cpu_diff();
      for (size_t c = 0; c < sums.size(); ++c) gradients[c] += sums[c];
    }
    const float* gradients = g->Dense().get();
    if (param_propagate_down_[0]) {
      const TensorPtr x = Data(*bottom[i]);
      convolution_->BackwardWeights(gradients, x->Dense().get(), blobs_[0]->mutable_cpu_diff(), NULL);
    }
    if (propagate_down[i]) {
      const Dims dims = DimsOf(*bottom[i]);
      const TensorPtr dx = NewTensor(dims);
      convolution_->Forward(gradients, blobs_[0]->cpu_data(), NULL, dx->Fill());
      SetDiff(bottom[i], dx);
    }
    ReleaseDiff(top[i]);
  }
}

}  // namespace engine
}  // namespace caffe
