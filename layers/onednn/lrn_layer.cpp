#include "caffe/engine/engine_layers.hpp"

#include <vector>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/lrn_loops.hpp"

namespace caffe {
namespace engine {

typedef caffe::LRNLayer<float> Upstream;

void LRNLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = layer_param_.lrn_param().norm_region() == LRNParameter_NormRegion_ACROSS_CHANNELS &&
      top[0] != bottom[0] && IsPrivateData(*bottom[0]);
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  const TensorPtr x = Data(*bottom[0]);
  const float* values = x->Dense().get();
  const Normalisation n = {x->dims.c, size_, alpha_, beta_, k_};
  const TensorPtr y(new Tensor(x->dims, TakeBuffer(x->dims.count())));
  float* results = y->terms[0].values.get();
  const ThreadRooms rooms(n.RoomSize());
#pragma omp parallel for schedule(static)
  for (long at = 0; at < long(x->dims.count()); at += n.channels) {
    NormalisePixel(n, values + at, rooms.Mine(), results + at);
  }
  SetData(top[0], y);
}

void LRNLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (!propagate_down[0]) return;
  const TensorPtr x = Data(*bottom[0]), g = Diff(*top[0]);
  const float *values = x->Dense().get(), *gradients = g->Dense().get();
  const Normalisation n = {x->dims.c, size_, alpha_, beta_, k_};
  const TensorPtr dx(new Tensor(x->dims, TakeBuffer(x->dims.count())));
  float* results = dx->terms[0].values.get();
  const ThreadRooms rooms(n.RoomSize());
#pragma omp parallel for schedule(static)
  for (long at = 0; at < long(x->dims.count()); at += n.channels) {
    NormalisePixelGradient(n, values + at, gradients + at, rooms.Mine(), results + at);
  }
  SetDiff(bottom[0], dx);
  ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
