#include "caffe/engine/engine_layers.hpp"

#include <vector>

namespace caffe {
namespace engine {

typedef caffe::SplitLayer<float> Upstream;

void SplitLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  bool any = false;
  for (size_t i = 0; i < top.size(); ++i) any = any || IsPrivateDiff(*top[i]);
  if (!any) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (!propagate_down[0]) return;
  TensorPtr sum(new Tensor(DimsOf(*bottom[0])));
  for (size_t i = 0; i < top.size(); ++i) {
    sum->Add(Diff(*top[i]).get(), 1);
    ReleaseDiff(top[i]);
  }
  SetDiff(bottom[0], sum);
}

}  // namespace engine
}  // namespace caffe
