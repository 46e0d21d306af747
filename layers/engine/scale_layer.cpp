#include "caffe/engine/engine_layers.hpp"

#include <vector>

#include "caffe/engine/image_values.hpp"
#include "caffe/engine/outputs_only.hpp"
#include "caffe/engine/passes.hpp"

namespace caffe {
namespace engine {

typedef caffe::ScaleLayer<float> Upstream;

namespace {

bool SameShape(const Blob<float>& a, const Blob<float>& b) { return a.shape() == b.shape() && a.num_axes() == 4; }

}  // namespace

void ScaleLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  in_.reset();
  if (!IsPrivateData(*bottom[0])) return Upstream::Forward_cpu(bottom, top);
  if (bottom.size() > 1) {
    const bool fits = ImageValues::Fit(*bottom[0], *bottom[1], axis_) || SameShape(*bottom[0], *bottom[1]);
    if (!fits || bias_layer_ || bottom[0] == bottom[1]) return Upstream::Forward_cpu(bottom, top);
    return ForwardByBlob(bottom, top);
  }
  if (blobs_[0]->num_axes() != 1 || axis_ != 1) return Upstream::Forward_cpu(bottom, top);
  in_ = Data(*bottom[0]);
  if (!in_->recipe().is_one_term()) in_->Dense();
  TensorPtr out(new Tensor(in_->dims));
  out->Add(in_.get(), 1);
  const float* factor = blobs_[0]->cpu_data();
  out->ScaleChannels(Channels(factor, factor + scale_dim_));
  if (bias_layer_) {
    const float* bias = blobs_[bias_param_id_]->cpu_data();
    out->AddToChannels(Channels(bias, bias + scale_dim_));
  }
  SetData(top[0], out);
  if (OutputsOnly::Wanted()) in_.reset();
}

void ScaleLayer::ForwardByBlob(const Blobs& bottom, const Blobs& top) {
  in_ = Data(*bottom[0]);
  if (SameShape(*bottom[0], *bottom[1])) return SetData(top[0], Multiply(in_.get(), Data(*bottom[1])->Dense()));
  const Channels factor = ImageValues(*bottom[0], *bottom[1], axis_).Spread(bottom[1]->cpu_data());
  SetData(top[0], AffineByImage(in_.get(), factor, Channels(factor.size(), 0)));
  if (OutputsOnly::Wanted()) in_.reset();
}

void ScaleLayer::BackwardByBlob(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  const TensorPtr g = Diff(*top[0]);
  if (SameShape(*bottom[0], *bottom[1])) {
    const TensorPtr factor = Data(*bottom[1]);
    if (propagate_down[1]) SetDiff(bottom[1], Multiply(g.get(), in_->Dense()));
    if (propagate_down[0]) SetDiff(bottom[0], Multiply(g.get(), factor->Dense()));
  } else {
    const ImageValues values(*bottom[0], *bottom[1], axis_);
    if (propagate_down[1]) {
      values.Gather(SumProductsByImage(g.get(), in_.get()), bottom[1]->count(), bottom[1]->mutable_cpu_diff());
    }
    const Channels factor = values.Spread(bottom[1]->cpu_data());
    if (propagate_down[0]) SetDiff(bottom[0], AffineByImage(g.get(), factor, Channels(factor.size(), 0)));
  }
  if (top[0] != bottom[0]) ReleaseDiff(top[0]);
}

void ScaleLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!in_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (top[0] != bottom[0]) in_ = Data(*bottom[0]);  // another one if somebody has written to it
  if (bottom.size() > 1) return BackwardByBlob(top, propagate_down, bottom);
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
    const float* factor = blobs_[0]->cpu_data();
    if (!g->recipe().is_one_linear_term()) g->Dense();
    const TensorPtr dx(new Tensor(g->dims, g->recipe()));
    dx->ScaleChannels(Channels(factor, factor + scale_dim_));
    if (sums) {
      // A BatchNorm before this layer needs the same sums of its own gradient.
      const shared_ptr<GradientSums> scaled(new GradientSums(*sums));
      for (int c = 0; c < scale_dim_; ++c) {
        scaled->of_gradient[c] *= factor[c];
        scaled->of_product[c] *= factor[c];
      }
      dx->known.sums = scaled;
    }
    SetDiff(bottom[0], dx);
  }
  if (top[0] != bottom[0]) ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
