#include "caffe/engine/engine_layers.hpp"

#include <vector>

#include "caffe/engine/channel_slices.hpp"

namespace caffe {
namespace engine {

typedef caffe::ConcatLayer<float> Upstream;

void ConcatLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = false;
  if (top[0]->num_axes() == 4 && concat_axis_ == 1 && bottom.size() > 1) {
    for (size_t i = 0; i < bottom.size(); ++i) private_ = private_ || IsPrivateData(*bottom[i]);
  }
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  const Dims dims = DimsOf(*top[0]);
  const TensorPtr out = NewTensor(dims);
  // A BatchNorm may want the moments of the result: those of the parts, one after the other.
  bool moments = true;
  int first = 0;
  for (size_t i = 0; i < bottom.size(); ++i) {
    const TensorPtr x = Data(*bottom[i]);
    WriteChannels(x.get(), first, dims.c, out->Fill());
    first += x->dims.c;
    if (x->moments_wanted && *moments_wanted_) *x->moments_wanted = true;
    const Known& part = x->known;
    moments = moments && !part.mean.empty();
    if (moments) {
      out->known.mean.insert(out->known.mean.end(), part.mean.begin(), part.mean.end());
      out->known.variance.insert(out->known.variance.end(), part.variance.begin(), part.variance.end());
    }
  }
  if (!moments) out->known.mean.clear();
  *moments_wanted_ = false;
  out->moments_wanted = moments_wanted_;
  SetData(top[0], out);
}

void ConcatLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  const TensorPtr g = Diff(*top[0]);
  int first = 0;
  for (size_t i = 0; i < bottom.size(); ++i) {
    const int channels = bottom[i]->shape(1);
    if (propagate_down[i]) SetDiff(bottom[i], TakeChannels(g.get(), first, channels));
    first += channels;
  }
  ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
