#include "caffe/engine/passes.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "caffe/engine/cut.hpp"
#include "caffe/engine/vector_loops.hpp"

namespace caffe {
namespace engine {

namespace {

// A recipe made ready for blocks, without what a combined one adds.
class BlockRecipe {
 public:
  BlockRecipe(const Recipe& t, const Cut& cut) : t_(t), row_(cut.row) {
    mask_mean_ = cut.Row(t.mask.mean);
    mask_scale_ = cut.Row(t.mask.scale, 1);
    mask_shift_ = cut.Row(t.mask.shift);
    for (size_t k = 0; k < t.terms.size(); ++k) {
      const Term& term = t.terms[k];
      mean_.push_back(cut.Row(term.mean));
      scale_.push_back(cut.Row(term.scale, 1));
      shift_.push_back(cut.Row(term.shift));
    }
  }

  // The values of one block: in `out`, or where they already are.
  const float* Block(size_t first, size_t count, float* out) const {
    const float* values = NULL;
    if (t_.terms.empty()) {
      std::fill_n(out, count, 0.f);
      values = out;
    }
    for (size_t k = 0; k < t_.terms.size(); ++k) {
      const float* term = t_.terms[k].values.get() + first;
      if (!t_.terms[k].plain()) {
        AffineBlock(values, term, mean_[k].data(), scale_[k].data(), shift_[k].data(), row_, count, out);
        values = out;
      } else if (values) {
        AddBlock(values, term, count, out);
        values = out;
      } else {
        values = term;
      }
    }
    if (t_.post == Recipe::RELU) {
      ReluBlock(values, t_.slope, count, out);
      return out;
    }
    if (t_.post == Recipe::MASK) {
      const float* mask = t_.mask.values.get() + first;
      if (t_.mask.plain()) {
        MaskBlock(values, mask, t_.slope, count, out);
      } else {
        AffineMaskBlock(values, mask, mask_mean_.data(), mask_scale_.data(), mask_shift_.data(), t_.slope, row_, count, out);
      }
      return out;
    }
    return values;
  }

 private:
  const Recipe& t_;
  const size_t row_;
  std::vector<Channels> mean_, scale_, shift_;
  Channels mask_mean_, mask_scale_, mask_shift_;
};

Channels ToFloat(const std::vector<double>& values) { return Channels(values.begin(), values.end()); }

}  // namespace

void Evaluate(const Dims& dims, const Recipe& recipe, const Buffer& out, Channels* sums) {
  const Cut cut(dims);
  const BlockRecipe blocks(recipe, cut);
  if (recipe.is_combined()) {
    const Term& plus = recipe.plus;
    const Channels factor = cut.Row(recipe.factor), mean = cut.Row(plus.mean), scale = cut.Row(plus.scale),
                   shift = cut.Row(plus.shift);
    Sums found(cut, cut.parts);
    cut.Run([&](int part, size_t first, size_t count, float* room) {
      CombineBlock(blocks.Block(first, count, room), factor.data(), plus.values.get() + first, mean.data(), scale.data(),
          shift.data(), cut.row, count, out.get() + first, found.block(part));
      found.Flush(part);
    });
    *sums = ToFloat(found.Total());
    return;
  }
  cut.Run([&](int, size_t first, size_t count, float*) {
    const float* values = blocks.Block(first, count, out.get() + first);
    if (values != out.get() + first) std::copy(values, values + count, out.get() + first);
  });
}

bool KeepsDigits(double mean, double variance) {
  const double kLargestRatio = 8;
  return std::isfinite(variance) && mean * mean <= kLargestRatio * kLargestRatio * variance;
}

namespace {

// From the sums of differences from `origin`. Returns whether it was near enough to the mean.
bool MomentsAround(const Channels& origin, const Cut& cut, double pixels, const Buffer& x, Channels* mean,
    Channels* variance) {
  const Channels origin_row = cut.Row(origin);
  Sums sums(cut, cut.parts), squares(cut, cut.parts);
  cut.Run([&](int part, size_t first, size_t count, float*) {
    MomentsBlock(x.get() + first, origin_row.data(), cut.row, count, sums.block(part), squares.block(part));
    sums.Flush(part);
    squares.Flush(part);
  });
  const std::vector<double> sum = sums.Total(), square = squares.Total();
  bool near = true;
  mean->resize(cut.channels);
  variance->resize(cut.channels);
  for (int c = 0; c < cut.channels; ++c) {
    const double difference = sum[c] / pixels, found = square[c] / pixels - difference * difference;
    (*mean)[c] = origin[c] + difference;
    (*variance)[c] = found < 0 ? 0 : found;  // NaN stays
    near = near && KeepsDigits(difference, found);
  }
  return near;
}

}  // namespace

void Moments(const Dims& dims, const Buffer& x, Channels* mean, Channels* variance) {
  const Cut cut(dims);
  // A value of the channel's own is near the mean, but for outliers.
  const Channels first(x.get(), x.get() + dims.c);
  if (MomentsAround(first, cut, dims.pixels(), x, mean, variance)) return;
  const Channels origin(*mean);
  MomentsAround(origin, cut, dims.pixels(), x, mean, variance);
}

shared_ptr<GradientSums> SumGradient(Tensor* g, const TensorPtr& with) {
  if (g->known.sums && g->known.sums->with == with) return g->known.sums;
  if (!with->recipe().is_one_term()) with->Dense();
  if (g->recipe().is_combined()) g->Dense();
  const Term& x = with->only_term();
  shared_ptr<GradientSums> out(new GradientSums);
  out->with = with;
  const shared_ptr<InputSums>& found = g->known.input_sums;
  if (found && found->values == x.values && found->mean == x.mean) {
    out->of_gradient = found->of_gradient;
    out->of_product = found->of_product;
    for (int c = 0; c < g->dims.c; ++c) {
      out->of_product[c] = out->of_product[c] * x.scale[c] + out->of_gradient[c] * x.shift[c];
    }
    return out;
  }
  const Cut cut(g->dims);
  const Channels mean = cut.Row(x.mean);
  // The other branch of a residual block wants the sum of the terms, too.
  const bool is_sum = g->recipe().terms.size() > 1;
  const Buffer dense = is_sum ? g->TakeRoom() : Buffer();
  const BlockRecipe recipe(g->recipe(), cut);
  Sums sums(cut, cut.parts), products(cut, cut.parts);
  cut.Run([&](int part, size_t first, size_t count, float* room) {
    const float* values = recipe.Block(first, count, dense ? dense.get() + first : room);
    ProductsBlock(values, x.values.get() + first, mean.data(), cut.row, count, sums.block(part), products.block(part));
    sums.Flush(part);
    products.Flush(part);
  });
  if (is_sum) g->SetDense(dense);
  const std::vector<double> sum = sums.Total(), product = products.Total();
  out->of_gradient = ToFloat(sum);
  out->of_product.resize(g->dims.c);
  for (int c = 0; c < g->dims.c; ++c) {
    out->of_product[c] = x.plain() ? product[c] : product[c] * x.scale[c] + sum[c] * x.shift[c];
  }
  return out;
}

TensorPtr Multiply(Tensor* x, const Buffer& factors) {
  const float* values = x->Dense().get();
  const TensorPtr y = NewTensor(x->dims);
  float* results = y->Fill();
  const Cut cut(x->dims);
  cut.Run([&](int, size_t first, size_t count, float*) {
    MultiplyBlock(values + first, factors.get() + first, count, results + first);
  });
  return y;
}

Channels SumChannels(const TensorPtr& t) {
  const Buffer& values = t->Dense();
  Channels mean, variance;
  Moments(t->dims, values, &mean, &variance);
  for (int c = 0; c < t->dims.c; ++c) mean[c] *= t->dims.pixels();
  return mean;
}

}  // namespace engine
}  // namespace caffe
