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

// The gradient of a convolution's input x, to be written by it, and where it puts the sums that a BatchNorm before x needs.
class InputGradient {
 public:
  // adds: the convolution may add to the gradient of another reader of x, and clip it.
  InputGradient(Tensor* x, const Readable& input, bool adds) : places_() {
    const Term& branch = x->branch;
    const Buffer other = adds && !input.is_recipe && branch.values ? TakeGradientOfAReader(x) : Buffer();
    dx = other ? TensorPtr(new Tensor(x->dims, other)) : NewTensor(x->dims);
    if (other) {
      dx->known.mask = x->Dense();
      residual_ = ResidualSum{branch.values.get(), branch.mean.data()};
      places_.residual = &residual_;
      dx->known.input_sums = SumsWith(branch);
    } else if (input.is_recipe && input.recipe.mean) {
      (input.recipe.relu ? dx->known.clipped_input_sums : dx->known.input_sums) = SumsWith(x->only_term());
    }
  }

  const InputGradientSums* places_or_null() const { return places_.of_gradient ? &places_ : NULL; }

  TensorPtr dx;

 private:
  shared_ptr<InputSums> SumsWith(const Term& term) {
    const shared_ptr<InputSums> sums(new InputSums);
    sums->values = term.values;
    sums->mean = term.mean;
    sums->of_gradient.resize(dx->dims.c);
    sums->of_product.resize(dx->dims.c);
    places_.of_gradient = sums->of_gradient.data();
    places_.of_product = sums->of_product.data();
    return sums;
  }

  InputGradientSums places_;
  ResidualSum residual_;
};

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
    const Readable input(x.get(), convolution_->Fuses(), phase_ == TRAIN && convolution_->FusesAll());
    if (convolution_->Fuses() && phase_ == TRAIN && *moments_wanted_) {
      y->known.mean.resize(dims.c);
      y->known.variance.resize(dims.c);
      const OutputMoments moments = {y->known.mean.data(), y->known.variance.data()};
      convolution_->Forward(input.values, weights, bias, y->Fill(), input.recipe_or_null(), &moments);
      if (!KeepDigits(moments, bias, dims.c)) y->known.mean.clear();  // the BatchNorm finds its own
    } else {
      convolution_->Forward(input.values, weights, bias, y->Fill(), input.recipe_or_null());
    }
    if (input.sum) x->SetDense(input.sum);
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
    const ReadableGradient gradient(dy.get(), to_weights && propagate_down[i] && convolution_->FusesAll());
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
    if (!to_weights) {
      const TensorPtr dx = NewTensor(DimsOf(*bottom[i]));
      convolution_->BackwardData(gradient.values, weights, dx->Fill());
      SetDiff(bottom[i], dx);
    } else {
      const TensorPtr x = Data(*bottom[i]);
      const Readable input(x.get(), convolution_->Fuses());
      if (!propagate_down[i]) {
        convolution_->BackwardWeights(input.values, gradient.values, weights_diff, bias_diff, input.recipe_or_null());
      } else {
        const bool adds = convolution_->FusesAll() && !bottom[i]->diff()->looked_at();
        const InputGradient found(x.get(), input, adds);
        convolution_->Backward(input.values, gradient.values, weights, found.dx->Fill(), weights_diff, bias_diff,
            input.recipe_or_null(), found.places_or_null(), gradient.recipe_or_null());
        SetDiff(bottom[i], found.dx);
      }
    }
    ReleaseDiff(top[i]);
  }
}

}  // namespace engine
}  // namespace caffe
