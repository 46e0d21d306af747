#include "caffe/engine/engine_layers.hpp"

#include <vector>

namespace caffe {
namespace engine {

typedef caffe::ReLULayer<float> Upstream;

void ReLULayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = IsPrivateData(*bottom[0]);
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  TensorPtr in = Data(*bottom[0]);
  TensorPtr out(new Tensor(in->dims));
  out->Add(in.get(), 1);
  out->post = Tensor::RELU;
  out->slope = layer_param_.relu_param().negative_slope();
  out->keep_origin = phase_ == TRAIN;
  SetData(top[0], out);
  in.reset();  // in place, the terms now are the result's alone
  if (!out->is_readable()) out->Dense();
}

void ReLULayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (!propagate_down[0]) return;
  const TensorPtr g = Diff(*top[0]);
  TensorPtr dx(new Tensor(g->dims));
  dx->Add(g.get(), 1);
  dx->post = Tensor::MASK;
  dx->slope = layer_param_.relu_param().negative_slope();
  const TensorPtr in = Data(*bottom[0]);
  if (in->is_readable()) {
    dx->mask = in->terms[0];
    if (g->clipped_input_sums && g->clipped_input_sums->values == in->terms[0].values) {
      dx->input_sums = g->clipped_input_sums;
    }
  } else if (in->origin.values) {
    dx->mask = in->origin;
  } else {
    dx->mask.values = in->Dense();
  }
  SetDiff(bottom[0], dx);
  if (top[0] != bottom[0]) ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
