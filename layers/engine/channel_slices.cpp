#include "caffe/engine/channel_slices.hpp"

#include <algorithm>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/fused_pixels.hpp"
#include "caffe/engine/readable.hpp"

namespace caffe {
namespace engine {

namespace {

const long kPixels = 64;  // that a thread takes at a time

}  // namespace

void WriteChannels(Tensor* x, int first, int channels, float* out) {
  const Readable in(x);
  const int count = x->dims.c;
  const RecipeReader reader(in.recipe_or_null(), count);
  const long pixels = x->dims.pixels();
  const ThreadRooms rooms(reader ? kPixels * count : 0);
#pragma omp parallel for schedule(static)
  for (long p = 0; p < pixels; p += kPixels) {
    const float* from = in.values + p * count;
    const long n = std::min(kPixels, pixels - p);
    if (reader) {
      reader.Read(from, n * count, rooms.Mine());
      from = rooms.Mine();
    }
    for (long i = 0; i < n; ++i) std::copy(from + i * count, from + (i + 1) * count, out + (p + i) * channels + first);
  }
}

TensorPtr TakeChannels(Tensor* x, int first, int count) {
  const float* from = x->Dense().get() + first;
  const int channels = x->dims.c;
  const long pixels = x->dims.pixels();
  const Dims dims = {x->dims.n, count, x->dims.h, x->dims.w};
  const TensorPtr out = NewTensor(dims);
  float* to = out->Fill();
#pragma omp parallel for schedule(static)
  for (long p = 0; p < pixels; ++p) std::copy(from + p * channels, from + p * channels + count, to + p * count);
  return out;
}

}  // namespace engine
}  // namespace caffe
