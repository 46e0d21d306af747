#include "caffe/engine/engine_layers.hpp"

#include <vector>

#include "caffe/engine/layout.hpp"
#include "caffe/engine/passes.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {
namespace engine {

typedef caffe::DropoutLayer<float> Upstream;

void DropoutLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = IsPrivateData(*bottom[0]);
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  const TensorPtr x = Data(*bottom[0]);
  if (phase_ != TRAIN) return SetData(top[0], x);
  const long count = x->dims.count();
  unsigned int* drawn = rand_vec_.mutable_cpu_data();
  caffe_rng_bernoulli(count, 1. - threshold_, drawn);
  const Buffer plain = TakeBuffer(count);
#pragma omp parallel for schedule(static)
  for (long i = 0; i < count; ++i) plain.get()[i] = drawn[i] * scale_;
  factors_ = TakeBuffer(count);
  ToChannelsLast(x->dims.n, x->dims.c, x->dims.h * x->dims.w, plain.get(), factors_.get());
  SetData(top[0], Multiply(x.get(), factors_));
}

void DropoutLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (!propagate_down[0]) return;
  const TensorPtr g = Diff(*top[0]);
  SetDiff(bottom[0], phase_ == TRAIN ? Multiply(g.get(), factors_) : g);
  if (top[0] != bottom[0]) ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
