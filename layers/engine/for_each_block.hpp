#ifndef CAFFE_ENGINE_FOR_EACH_BLOCK_HPP_
#define CAFFE_ENGINE_FOR_EACH_BLOCK_HPP_

#include "caffe/engine/cut.hpp"
#include "caffe/engine/fused_pixels.hpp"
#include "caffe/engine/readable.hpp"

namespace caffe {
namespace engine {

// Calls work(part, the values of a block, its first float, number of floats) for the blocks of x, whose recipe is carried out
// on the way. cut: of x's dims.
template <typename Work>
void ForEachBlock(Tensor* x, const Cut& cut, const Work& work) {
  const Readable in(x);
  const RecipeReader reader(in.recipe_or_null(), x->dims.c);
  cut.Run([&](int part, size_t first, size_t count, float* room) {
    const float* values = in.values + first;
    if (reader) {
      reader.Read(values, count, room);
      values = room;
    }
    work(part, values, first, count);
  });
}

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_FOR_EACH_BLOCK_HPP_
