#include "caffe/engine/engine_layers.hpp"

#include <algorithm>
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
  out->Clip(layer_param_.relu_param().negative_slope(), phase_ == TRAIN);
  SetData(top[0], out);
  in.reset();  // in place, the terms now are the result's alone
  const Recipe& recipe = out->recipe();
  // For convolutions that read the sum, see TakeGradientOfAReader.
  if (phase_ == TRAIN && top[0] == bottom[0] && recipe.terms.size() > 1 && recipe.slope == 0) {
    const auto is_affine = [](const Term& term) { return !term.plain(); };
    const auto branch = std::find_if(recipe.terms.begin(), recipe.terms.end(), is_affine);
    if (branch != recipe.terms.end()) out->branch = *branch;
  }
  if (!recipe.is_readable() && !(phase_ == TRAIN && recipe.is_residual())) out->Dense();
}

void ReLULayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (!propagate_down[0]) return;
  const TensorPtr g = Diff(*top[0]), dx(new Tensor(g->dims));
  dx->Add(g.get(), 1);
  const bool is_masked = g->known.mask && IsPrivateData(*top[0]) && g->known.mask == Data(*top[0])->Dense();
  if (!is_masked) {
    const TensorPtr in = Data(*bottom[0]);
    const bool readable = in->recipe().is_readable();
    Term mask;
    if (readable) {
      mask = in->only_term();
    } else if (in->origin().values) {
      mask = in->origin();
    } else {
      mask.values = in->Dense();
    }
    dx->Mask(mask, layer_param_.relu_param().negative_slope());
    const shared_ptr<InputSums>& sums = g->known.clipped_input_sums;
    if (readable && sums && sums->values == mask.values) dx->known.input_sums = sums;
  }
  SetDiff(bottom[0], dx);
  if (top[0] != bottom[0]) ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
