#include "caffe/engine/engine_layers.hpp"

#include <cmath>
#include <vector>

#include "caffe/engine/passes.hpp"

namespace caffe {
namespace engine {

typedef caffe::BatchNormLayer<float> Upstream;

void BatchNormLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  out_.reset();
  x_.reset();
  if (bottom[0]->num_axes() != 4 || !bottom[0]->count()) return Upstream::Forward_cpu(bottom, top);
  const TensorPtr in = Data(*bottom[0]);
  const Buffer x = in->Dense();
  Channels variance(channels_);
  mean_.resize(channels_);
  if (use_global_stats_) {
    const float sum_of_weights = blobs_[2]->cpu_data()[0];
    const float factor = sum_of_weights == 0 ? 0 : 1 / sum_of_weights;
    for (int c = 0; c < channels_; ++c) {
      mean_[c] = blobs_[0]->cpu_data()[c] * factor;
      variance[c] = blobs_[1]->cpu_data()[c] * factor;
    }
  } else {
    if (in->moments_wanted) *in->moments_wanted = true;
    if (in->channel_mean.empty()) {
      Moments(in->dims, x, &mean_, &variance);
      in->channel_mean = mean_;  // others may read the same
      in->channel_variance = variance;
    } else {
      mean_ = in->channel_mean;
      variance = in->channel_variance;
    }
    float *mean_sum = blobs_[0]->mutable_cpu_data(), *variance_sum = blobs_[1]->mutable_cpu_data();
    float* sum_of_weights = blobs_[2]->mutable_cpu_data();
    sum_of_weights[0] = sum_of_weights[0] * moving_average_fraction_ + 1;
    const int m = in->dims.pixels();
    const float unbias = m > 1 ? float(m) / (m - 1) : 1;
    for (int c = 0; c < channels_; ++c) {
      mean_sum[c] = mean_[c] + moving_average_fraction_ * mean_sum[c];
      variance_sum[c] = unbias * variance[c] + moving_average_fraction_ * variance_sum[c];
    }
    x_ = x;
  }
  inverse_deviation_.resize(channels_);
  for (int c = 0; c < channels_; ++c) inverse_deviation_[c] = 1 / std::sqrt(variance[c] + eps_);
  out_.reset(new Tensor(in->dims, x));
  Term& term = out_->terms[0];
  term.mean = mean_;
  term.scale = inverse_deviation_;
  term.shift.assign(channels_, 0);
  SetData(top[0], out_);
  if (use_global_stats_) out_.reset(new Tensor(in->dims));  // only a mark: the backward pass needs no values
}

// With n pixels a channel, y = (x - mean) / deviation and g the gradient of y (arXiv:1502.03167, section 3):
//   dx = (g - sum(g) / n - y * sum(g y) / n) / deviation
void BatchNormLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!out_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  const TensorPtr g = Diff(*top[0]);
  if (use_global_stats_) {
    TensorPtr dx(new Tensor(g->dims));
    if (!g->is_one_linear_term()) g->Dense();
    *dx = *g;
    dx->sums.reset();
    dx->input_sums.reset();
    dx->clipped_input_sums.reset();
    dx->channel_sums.clear();
    dx->ScaleChannels(inverse_deviation_);
    SetDiff(bottom[0], dx);
  } else {
    const shared_ptr<GradientSums> sums = SumGradient(g.get(), out_);
    if (!g->is_one_linear_term()) g->Dense();
    const Term& term = g->terms[0];
    const float n = g->dims.pixels();
    Channels a(channels_), b(channels_), c(channels_);
    for (int i = 0; i < channels_; ++i) {
      const float r = inverse_deviation_[i];
      a[i] = term.plain() ? r : r * term.scale[i];
      b[i] = -r * r * sums->of_product[i] / n;
      c[i] = -r * sums->of_gradient[i] / n;
    }
    Tensor unscaled(g->dims, term.values);
    unscaled.post = g->post;
    unscaled.slope = g->slope;
    unscaled.mask = g->mask;
    // In place as the net has it, nobody but this blob has the gradient: two references are here, one in each tensor.
    if (top[0] == bottom[0]) SetDiff(bottom[0], TensorPtr());
    const bool in_place = top[0] == bottom[0] && g.unique() && term.values.use_count() == 2;
    SetDiff(bottom[0], CombineGradient(unscaled, a, x_, mean_, b, c, in_place));
  }
  if (top[0] != bottom[0]) ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
