#include "caffe/engine/engine_layers.hpp"

#include <algorithm>
#include <vector>

#include "caffe/engine/image_values.hpp"
#include "caffe/engine/passes.hpp"

namespace caffe {
namespace engine {

typedef caffe::BiasLayer<float> Upstream;

void BiasLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  const Blob<float>& bias = bottom.size() > 1 ? *bottom[1] : *blobs_[0];
  axis_ = bottom[0]->num_axes() ? bottom[0]->CanonicalAxisIndex(layer_param_.bias_param().axis()) : 0;
  private_ = IsPrivateData(*bottom[0]) && ImageValues::Fit(*bottom[0], bias, axis_);
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  const TensorPtr x = Data(*bottom[0]);
  const Channels summand = ImageValues(*bottom[0], bias, axis_).Spread(bias.cpu_data());
  if (axis_ == 0 && bias.num_axes() > 0) {  // of each image
    return SetData(top[0], AffineByImage(x.get(), Channels(summand.size(), 1), summand));
  }
  if (!x->recipe().is_one_term()) x->Dense();
  const TensorPtr y(new Tensor(x->dims));
  y->Add(x.get(), 1);
  y->AddToChannels(Channels(summand.begin(), summand.begin() + x->dims.c));
  SetData(top[0], y);
}

void BiasLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  const TensorPtr g = Diff(*top[0]);
  const bool learned = bottom.size() == 1;
  if (learned ? param_propagate_down_[0] : propagate_down[1]) {
    Blob<float>* bias = learned ? blobs_[0].get() : bottom[1];
    std::vector<float> sums(bias->count());
    ImageValues(*bottom[0], *bias, axis_).Gather(SumByImage(g.get()), bias->count(), sums.data());
    float* gradients = bias->mutable_cpu_diff();
    for (size_t i = 0; i < sums.size(); ++i) gradients[i] = (learned ? gradients[i] : 0) + sums[i];
  }
  if (top[0] == bottom[0]) return;
  if (propagate_down[0]) SetDiff(bottom[0], g);
  ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
