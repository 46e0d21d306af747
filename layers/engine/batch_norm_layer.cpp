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
    const float *mean_sum = blobs_[0]->cpu_data(), *variance_sum = blobs_[1]->cpu_data();
    for (int c = 0; c < channels_; ++c) {
      mean_[c] = mean_sum[c] * factor;
      variance[c] = variance_sum[c] * factor;
    }
  } else {
    if (in->moments_wanted) *in->moments_wanted = true;
    if (in->known.mean.empty()) Moments(in->dims, x, &in->known.mean, &in->known.variance);  // others may read the same
    mean_ = in->known.mean;
    variance = in->known.variance;
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
  Recipe recipe;
  recipe.terms.resize(1);
  recipe.terms[0].values = x;
  recipe.terms[0].mean = mean_;
  recipe.terms[0].scale = inverse_deviation_;
  recipe.terms[0].shift.assign(channels_, 0);
  out_.reset(new Tensor(in->dims, recipe));
  SetData(top[0], out_);
  if (use_global_stats_) out_.reset(new Tensor(in->dims));  // only a mark: the backward pass needs no values
}

// With n pixels a channel, y = (x - mean) / deviation and g the gradient of y (arXiv:1502.03167, section 3):
//   dx = (g - sum(g) / n - y * sum(g y) / n) / deviation
void BatchNormLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!out_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  TensorPtr g = Diff(*top[0]);
  if (use_global_stats_) {
    if (!g->recipe().is_one_linear_term()) g->Dense();
    const TensorPtr dx(new Tensor(g->dims, g->recipe()));
    dx->ScaleChannels(inverse_deviation_);
    SetDiff(bottom[0], dx);
  } else {
    const shared_ptr<GradientSums> sums = SumGradient(g.get(), out_);
    if (!g->recipe().is_one_linear_term()) g->Dense();
    const Dims dims = g->dims;
    // In place as the net has it, nobody but this blob has the gradient.
    if (top[0] == bottom[0]) SetDiff(bottom[0], TensorPtr());
    Recipe recipe = TakeRecipe(&g);
    Term& term = recipe.terms[0];
    const float n = dims.pixels();
    recipe.factor.resize(channels_);
    recipe.plus.values = x_;
    recipe.plus.mean = mean_;
    recipe.plus.scale.resize(channels_);
    recipe.plus.shift.resize(channels_);
    for (int i = 0; i < channels_; ++i) {
      const float r = inverse_deviation_[i];
      recipe.factor[i] = term.plain() ? r : r * term.scale[i];
      recipe.plus.scale[i] = -r * r * sums->of_product[i] / n;
      recipe.plus.shift[i] = -r * sums->of_gradient[i] / n;
    }
    term.mean.clear();  // its factor is in the recipe's
    term.scale.clear();
    term.shift.clear();
    SetDiff(bottom[0], TensorPtr(new Tensor(dims, recipe)));
  }
  if (top[0] != bottom[0]) ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
