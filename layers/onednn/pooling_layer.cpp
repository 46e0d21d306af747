#include "caffe/engine/engine_layers.hpp"

#include <algorithm>
#include <vector>

namespace caffe {
namespace engine {

typedef caffe::PoolingLayer<float> Upstream;

void PoolingLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = global_pooling_ && layer_param_.pooling_param().pool() == PoolingParameter_PoolMethod_AVE &&
      pad_h_ == 0 && pad_w_ == 0 && IsPrivateData(*bottom[0]);
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  const TensorPtr x = Data(*bottom[0]);
  const float* values = x->Dense().get();
  const int channels = x->dims.c, pixels = x->dims.h * x->dims.w;
  float* means = top[0]->mutable_cpu_data();  // one pixel an image: both layouts are the same
#pragma omp parallel for schedule(static)
  for (int n = 0; n < x->dims.n; ++n) {
    float* mean = means + size_t(n) * channels;
    std::fill_n(mean, channels, 0.f);
    for (int p = 0; p < pixels; ++p) {
      const float* pixel = values + (size_t(n) * pixels + p) * channels;
      for (int c = 0; c < channels; ++c) mean[c] += pixel[c];
    }
    for (int c = 0; c < channels; ++c) mean[c] /= pixels;
  }
}

void PoolingLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (!propagate_down[0]) return;
  const Dims dims = DimsOf(*bottom[0]);
  const int channels = dims.c, pixels = dims.h * dims.w;
  const float* gradients = top[0]->cpu_diff();
  const Buffer dx = TakeBuffer(dims.count());
#pragma omp parallel for schedule(static)
  for (int n = 0; n < dims.n; ++n) {
    const float* gradient = gradients + size_t(n) * channels;
    float* pixel = dx.get() + size_t(n) * pixels * channels;
    for (int p = 0; p < pixels; ++p, pixel += channels) {
      for (int c = 0; c < channels; ++c) pixel[c] = gradient[c] / pixels;
    }
  }
  SetDiff(bottom[0], TensorPtr(new Tensor(dims, dx)));
}

}  // namespace engine
}  // namespace caffe
