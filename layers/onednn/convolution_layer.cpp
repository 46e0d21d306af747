#include "caffe/engine/engine_layers.hpp"

#include <vector>

#include "caffe/engine/passes.hpp"

namespace caffe {
namespace engine {

typedef caffe::ConvolutionLayer<float> Upstream;

void ConvolutionLayer::Reshape(const Blobs& bottom, const Blobs& top) {
  Upstream::Reshape(bottom, top);
  const bool plane = bottom[0]->num_axes() == 4 && channel_axis_ == 1 && !force_nd_im2col_ && bottom[0]->count() &&
      top[0]->count();
  if (!plane) {
    convolution_.reset();
    return;
  }
  const Dims in = DimsOf(*bottom[0]), out = DimsOf(*top[0]);
  const int *kernel = kernel_shape_.cpu_data(), *stride = stride_.cpu_data(), *pad = pad_.cpu_data(),
            *dilation = dilation_.cpu_data();
  const ConvShape shape = {in.n, in.c, in.h, in.w, out.c, out.h, out.w, kernel[0], kernel[1], stride[0], stride[1],
                           pad[0], pad[1], dilation[0], dilation[1], group_};
  if (convolution_ && shape == shape_) return;
  shape_ = shape;
  convolution_.reset(Convolution::Supports(shape) ? new Convolution(shape) : NULL);
}

void ConvolutionLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  if (!convolution_) return Upstream::Forward_cpu(bottom, top);
  const float* weights = blobs_[0]->cpu_data();
  const float* bias = bias_term_ ? blobs_[1]->cpu_data() : NULL;
  for (size_t i = 0; i < bottom.size(); ++i) {
    const TensorPtr x = Data(*bottom[i]);
    const Dims dims = DimsOf(*top[i]);
    const Buffer y = TakeBuffer(dims.count());
    convolution_->Forward(x->Dense().get(), weights, bias, y.get());
    SetData(top[i], TensorPtr(new Tensor(dims, y)));
  }
}

void ConvolutionLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!convolution_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  const bool to_weights = param_propagate_down_[0];
  const bool to_bias = bias_term_ && param_propagate_down_[1];
  for (size_t i = 0; i < top.size(); ++i) {
    const TensorPtr dy = Diff(*top[i]);
    dy->Dense();
    float* bias_diff = to_bias ? blobs_[1]->mutable_cpu_diff() : NULL;
    // Whoever made the gradient may have summed it in the same pass.
    if (to_bias && (!dy->channel_sums.empty() || !to_weights)) {
      if (dy->channel_sums.empty()) dy->channel_sums = SumChannels(dy);
      for (int c = 0; c < dy->dims.c; ++c) bias_diff[c] += dy->channel_sums[c];
      bias_diff = NULL;
    }
    if (to_weights) {
      const TensorPtr x = Data(*bottom[i]);
      convolution_->BackwardWeights(x->Dense().get(), dy->Dense().get(), blobs_[0]->mutable_cpu_diff(), bias_diff);
    }
    if (propagate_down[i]) {
      const Dims dims = DimsOf(*bottom[i]);
      const Buffer dx = TakeBuffer(dims.count());
      convolution_->BackwardData(dy->Dense().get(), blobs_[0]->cpu_data(), dx.get());
      SetDiff(bottom[i], TensorPtr(new Tensor(dims, dx)));
    }
    ReleaseDiff(top[i]);
  }
}

}  // namespace engine
}  // namespace caffe
