#ifndef CAFFE_ENGINE_READABLE_HPP_
#define CAFFE_ENGINE_READABLE_HPP_

#include "caffe/engine/convolution.hpp"
#include "caffe/engine/tensor.hpp"

namespace caffe {
namespace engine {

// A tensor for loops that carry out a recipe while they read: dense values, or one term and its recipe. Without `recipes`,
// it becomes dense. Lives no longer than the tensor. sums: the loop also reads the sum of a residual block and writes it to `sum`,
// which then are the tensor's dense values.
struct Readable {
  explicit Readable(Tensor* x, bool recipes = true, bool sums = false) : values(), recipe(), is_recipe(false) {
    const std::vector<Term>& terms = x->recipe().terms;
    const bool is_sum = sums && x->recipe().is_residual();
    is_recipe = is_sum || (recipes && x->recipe().is_readable());
    if (!is_recipe) x->Dense();
    const int base = is_sum && terms[1].plain();  // the sum's plain term
    const Term& term = terms[is_sum ? 1 - base : 0];
    values = term.values.get();
    if (is_recipe) {
      const bool relu = x->recipe().post == Recipe::RELU;
      if (is_sum) sum = TakeBuffer(x->dims.count());
      const InputRecipe r = {term.plain() ? NULL : term.mean.data(), term.scale.data(), term.shift.data(), relu,
          is_sum ? terms[base].values.get() : NULL, sum.get()};
      recipe = r;
    }
  }
  const InputRecipe* recipe_or_null() const { return is_recipe ? &recipe : NULL; }

  const float* values;
  InputRecipe recipe;
  bool is_recipe;
  Buffer sum;
};

// The same of a gradient behind a BatchNorm, for convolutions that read its recipe. Without `recipes`, it becomes dense.
struct ReadableGradient {
  ReadableGradient(Tensor* dy, bool recipes) : values(), recipe(), is_recipe(recipes && CanRead(dy->recipe())) {
    if (!is_recipe) dy->Dense();
    values = dy->only_term().values.get();
    if (is_recipe) {
      const Recipe& r = dy->recipe();
      const bool masked = r.post == Recipe::MASK;
      const GradientRecipe found = {r.factor.data(), r.plus.values.get(), r.plus.mean.data(), r.plus.scale.data(),
          r.plus.shift.data(), masked ? r.mask.scale.data() : NULL, masked ? r.mask.shift.data() : NULL};
      recipe = found;
    }
  }
  const GradientRecipe* recipe_or_null() const { return is_recipe ? &recipe : NULL; }

  const float* values;
  GradientRecipe recipe;
  bool is_recipe;

 private:
  // The mask must be that of a ReLU behind the same BatchNorm.
  static bool CanRead(const Recipe& r) {
    const bool own_mask = r.post == Recipe::MASK && r.slope == 0 && !r.mask.plain() && r.mask.values == r.plus.values &&
        r.mask.mean == r.plus.mean;
    return r.is_combined() && r.terms.size() == 1 && r.terms[0].plain() && (r.post == Recipe::NONE || own_mask);
  }
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_READABLE_HPP_
