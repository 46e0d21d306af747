#ifndef CAFFE_ENGINE_READABLE_HPP_
#define CAFFE_ENGINE_READABLE_HPP_

#include "caffe/engine/convolution.hpp"
#include "caffe/engine/tensor.hpp"

namespace caffe {
namespace engine {

// A tensor for loops that carry out a recipe while they read: dense values, or one term and its recipe. Without `recipes`,
// it becomes dense. Lives no longer than the tensor.
struct Readable {
  explicit Readable(Tensor* x, bool recipes = true) : values(), recipe(), is_recipe(recipes && x->recipe().is_readable()) {
    if (!is_recipe) x->Dense();
    const Term& term = x->only_term();
    values = term.values.get();
    if (is_recipe) {
      const bool relu = x->recipe().post == Recipe::RELU;
      const InputRecipe r = {term.plain() ? NULL : term.mean.data(), term.scale.data(), term.shift.data(), relu};
      recipe = r;
    }
  }
  const InputRecipe* recipe_or_null() const { return is_recipe ? &recipe : NULL; }

  const float* values;
  InputRecipe recipe;
  bool is_recipe;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_READABLE_HPP_
