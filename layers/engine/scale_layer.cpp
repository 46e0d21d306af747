#include "caffe/engine/engine_layers.hpp"

#include <vector>

#include "caffe/engine/passes.hpp"

namespace caffe {
namespace engine {

typedef caffe::ScaleLayer<float> Upstream;

void ScaleLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  in_.reset();
  const bool by_channel = bottom.size() == 1 && IsPrivateData(*bottom[0]) && blobs_[0]->num_axes() == 1 && axis_ == 1;
  if (!by_channel) return Upstream::Forward_cpu(bottom, top);
  in_ = Data(*bottom[0]);
  if (!in_->is_one_term()) in_->Dense();
  TensorPtr out(new Tensor(in_->dims));
  out->Add(in_.get(), 1);
  const float* factor = blobs_[0]->cpu_data();
  out->ScaleChannels(Channels(factor, factor + scale_dim_));
  if (bias_layer_) {
    const float* bias = blobs_[bias_param_id_]->cpu_data();
    for (int c = 0; c < scale_dim_; ++c) out->terms[0].shift[c] += bias[c];
  }
  SetData(top[0], out);
}

void ScaleLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!in_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  const TensorPtr g = Diff(*top[0]);
  const bool to_factor = param_propagate_down_[0];
  const bool to_bias = bias_layer_ && param_propagate_down_[bias_param_id_];
  shared_ptr<GradientSums> sums;
  if (to_factor || to_bias) {
    sums = SumGradient(g.get(), in_);
    float* factor_diff = to_factor ? blobs_[0]->mutable_cpu_diff() : NULL;
    float* bias_diff = to_bias ? blobs_[bias_param_id_]->mutable_cpu_diff() : NULL;
    for (int c = 0; c < scale_dim_; ++c) {
      if (to_factor) factor_diff[c] += sums->of_product[c];
      if (to_bias) bias_diff[c] += sums->of_gradient[c];
    }
  }
  if (propagate_down[0]) {
    TensorPtr dx(new Tensor(g->dims));
    const float* factor = blobs_[0]->cpu_data();
    if (!g->is_one_linear_term()) g->Dense();
    dx->terms = g->terms;
    dx->post = g->post;  // a mask and a factor may change places
    dx->slope = g->slope;
    dx->mask = g->mask;
    dx->ScaleChannels(Channels(factor, factor + scale_dim_));
    if (sums) {
      // A BatchNorm before this layer needs the same sums of its own gradient.
      dx->sums.reset(new GradientSums(*sums));
      for (int c = 0; c < scale_dim_; ++c) {
        dx->sums->of_gradient[c] *= factor[c];
        dx->sums->of_product[c] *= factor[c];
      }
    }
    SetDiff(bottom[0], dx);
  }
  if (top[0] != bottom[0]) ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
