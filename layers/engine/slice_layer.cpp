#include "caffe/engine/engine_layers.hpp"

#include <vector>

#include "caffe/engine/channel_slices.hpp"

namespace caffe {
namespace engine {

typedef caffe::SliceLayer<float> Upstream;

void SliceLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = top.size() > 1 && slice_axis_ == 1 && IsPrivateData(*bottom[0]);
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  const TensorPtr x = Data(*bottom[0]);
  int first = 0;
  for (size_t i = 0; i < top.size(); ++i) {
    SetData(top[i], TakeChannels(x.get(), first, top[i]->shape(1)));
    first += top[i]->shape(1);
  }
}

void SliceLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (!propagate_down[0]) return;
  const Dims dims = DimsOf(*bottom[0]);
  const TensorPtr dx = NewTensor(dims);
  int first = 0;
  for (size_t i = 0; i < top.size(); ++i) {
    WriteChannels(Diff(*top[i]).get(), first, dims.c, dx->Fill());
    first += top[i]->shape(1);
    ReleaseDiff(top[i]);
  }
  SetDiff(bottom[0], dx);
}

}  // namespace engine
}  // namespace caffe
