#include "caffe/engine/engine_layers.hpp"

#include <vector>

namespace caffe {
namespace engine {

typedef caffe::EltwiseLayer<float> Upstream;

void EltwiseLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = false;
  if (op_ == EltwiseParameter_EltwiseOp_SUM) {
    for (size_t i = 0; i < bottom.size(); ++i) private_ = private_ || IsPrivateData(*bottom[i]);
  }
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  TensorPtr out(new Tensor(DimsOf(*top[0])));
  for (size_t i = 0; i < bottom.size(); ++i) out->Add(Data(*bottom[i]).get(), coeffs_[i]);
  SetData(top[0], out);
}

void EltwiseLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  const TensorPtr g = Diff(*top[0]);
  for (size_t i = 0; i < bottom.size(); ++i) {
    if (!propagate_down[i]) continue;
    TensorPtr dx = g;  // the same tensor for all: it is computed once
    if (coeffs_[i] != 1) {
      dx.reset(new Tensor(g->dims));
      dx->Add(g.get(), coeffs_[i]);
    }
    SetDiff(bottom[i], dx);
  }
  ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
