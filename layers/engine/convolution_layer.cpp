#include "caffe/engine/engine_layers.hpp"

#include <vector>

#include "caffe/engine/passes.hpp"
#include "caffe/engine/readable.hpp"

namespace caffe {
namespace engine {

typedef caffe::ConvolutionLayer<float> Upstream;

void ConvolutionLayer::Reshape(const Blobs& bottom, const Blobs& top) {
  Upstream::Reshape(bottom, top);
  SetConvolution(*bottom[0], *top[0], phase_ == TEST);
}

namespace {

// The convolution summed squares without its bias.
bool KeepDigits(const OutputMoments& moments, const float* bias, int channels) {
  bool keep = true;
  for (int c = 0; c < channels; ++c) {
    keep = keep && KeepsDigits(moments.mean[c] - (bias ? bias[c] : 0), moments.variance[c]);
  }
  return keep;
}

}  // namespace

void ConvolutionLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  if (!convolution_) return Upstream::Forward_cpu(bottom, top);
  const bool same_weights = phase_ == TEST && weights_mark_.AreSame(blobs_[0]->data().get());
  const float* weights = blobs_[0]->cpu_data();
  const float* bias = bias_term_ ? blobs_[1]->cpu_data() : NULL;
  for (size_t i = 0; i < bottom.size(); ++i) {
    if (phase_ == TEST) convolution_->TellWeights(same_weights || i > 0);
    const TensorPtr x = Data(*bottom[i]);
    const Dims dims = DimsOf(*top[i]);
    const TensorPtr y = NewTensor(dims);
    const Readable input(x.get(), convolution_->Fuses());
    if (convolution_->Fuses() && phase_ == TRAIN && *moments_wanted_) {
      y->known.mean.resize(dims.c);
      y->known.variance.resize(dims.c);
      const OutputMoments moments = {y->known.mean.data(), y->known.variance.data()};
      convolution_->Forward(input.values, weights, bias, y->Fill(), input.recipe_or_null(), &moments);
      if (!KeepDigits(moments, bias, dims.c)) y->known.mean.clear();  // the BatchNorm finds its own
    } else {
      convolution_->Forward(input.values, weights, bias, y->Fill(), input.recipe_or_null());
    }
    y->moments_wanted = moments_wanted_;
    SetData(top[i], y);
  }
  if (phase_ == TRAIN) *moments_wanted_ = false;  // but if a BatchNorm follows
}

void ConvolutionLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!convolution_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  const bool to_weights = param_propagate_down_[0];
  const bool to_bias = bias_term_ && param_propagate_down_[1];
  for (size_t i = 0; i < top.size(); ++i) {
    const TensorPtr dy = Diff(*top[i]);
    const ReadableGradient gradient(dy.get(), to_weights && propagate_down[i] && convolution_->ReadsGradients());
    float* bias_diff = to_bias ? blobs_[1]->mutable_cpu_diff() : NULL;
    // Whoever made the gradient may have summed it in the same pass.
    if (to_bias && (!dy->known.channel_sums.empty() || !to_weights)) {
      if (dy->known.channel_sums.empty()) dy->known.channel_sums = SumChannels(dy);
      for (int c = 0; c < dy->dims.c; ++c) bias_diff[c] += dy->known.channel_sums[c];
      bias_diff = NULL;
    }
    if (!to_weights && !propagate_down[i]) {
      ReleaseDiff(top[i]);
      continue;
    }
    const float* weights = blobs_[0]->cpu_data();
    float* weights_diff = to_weights ? blobs_[0]->mutable_cpu_diff() : NULL;
    TensorPtr dx;
    if (propagate_down[i]) {
      const Dims dims = DimsOf(*bottom[i]);
      dx = NewTensor(dims);
    }
    if (!to_weights) {
      convolution_->BackwardData(gradient.values, weights, dx->only_term().values.get());
    } else {
      const TensorPtr x = Data(*bottom[i]);
      const Readable input(x.get(), convolution_->Fuses());
      if (!dx) {
        convolution_->BackwardWeights(input.values, gradient.values, weights_diff, bias_diff, input.recipe_or_null());
      } else {
        shared_ptr<InputSums> sums;
        InputGradientSums places;
        if (input.is_recipe && input.recipe.mean) {  // a BatchNorm made it
          sums.reset(new InputSums);
          sums->values = x->only_term().values;
          sums->mean = x->only_term().mean;
          sums->of_gradient.resize(dx->dims.c);
          sums->of_product.resize(dx->dims.c);
          places.of_gradient = sums->of_gradient.data();
          places.of_product = sums->of_product.data();
          (input.recipe.relu ? dx->known.clipped_input_sums : dx->known.input_sums) = sums;
        }
        convolution_->Backward(input.values, gradient.values, weights, dx->only_term().values.get(), weights_diff, bias_diff,
            input.recipe_or_null(), sums ? &places : NULL, gradient.recipe_or_null());
      }
    }
    if (dx) SetDiff(bottom[i], dx);
    ReleaseDiff(top[i]);
  }
}

}  // namespace engine
}  // namespace caffe
