#include "caffe/engine/engine_layers.hpp"

#include <algorithm>
#include <vector>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/fused_pixels.hpp"
#include "caffe/engine/readable.hpp"

namespace caffe {
namespace engine {

typedef caffe::CropLayer<float> Upstream;

namespace {

// The part of an image that a crop keeps, line by line.
struct Part {
  Part(const Dims& whole, const Dims& part, const int* offsets)
      : lines(long(part.n) * part.h), pixels(part.w), whole_(whole), part_(part), offsets_(offsets) {}

  // Where a line's pixels begin in the whole, with all of their channels.
  long InWhole(long line) const {
    const long image = line / part_.h + offsets_[0], row = line % part_.h + offsets_[2];
    return ((image * whole_.h + row) * whole_.w + offsets_[3]) * whole_.c;
  }
  long InPart(long line) const { return line * part_.w * part_.c; }
  int first_channel() const { return offsets_[1]; }

  const long lines;
  const int pixels;

 private:
  const Dims whole_, part_;
  const int* offsets_;
};

}  // namespace

void CropLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = top[0] != bottom[0] && IsPrivateData(*bottom[0]);
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  const TensorPtr x = Data(*bottom[0]);
  const Dims dims = DimsOf(*top[0]);
  const TensorPtr y = NewTensor(dims);
  const Part part(x->dims, dims, offsets.cpu_data());
  const Readable in(x.get());
  const int channels = x->dims.c;
  const RecipeReader reader(in.recipe_or_null(), channels);
  const ThreadRooms rooms(reader ? long(dims.w) * channels : 0);
  float* results = y->Fill();
#pragma omp parallel for schedule(static)
  for (long line = 0; line < part.lines; ++line) {
    const float* from = in.values + part.InWhole(line);
    if (reader) {
      reader.Read(from, long(dims.w) * channels, rooms.Mine());
      from = rooms.Mine();
    }
    from += part.first_channel();
    float* to = results + part.InPart(line);
    for (int i = 0; i < dims.w; ++i) std::copy(from + i * channels, from + i * channels + dims.c, to + i * dims.c);
  }
  SetData(top[0], y);
}

void CropLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (!propagate_down[0]) return;
  const TensorPtr g = Diff(*top[0]);
  const Dims dims = DimsOf(*bottom[0]);
  const TensorPtr dx = NewTensor(dims);
  const Part part(dims, g->dims, offsets.cpu_data());
  const int channels = g->dims.c;
  const float* gradients = g->Dense().get();
  float* results = dx->Fill();
  const long image = dims.count() / dims.n;
#pragma omp parallel for schedule(static)
  for (int n = 0; n < dims.n; ++n) std::fill_n(results + n * image, image, 0.f);
#pragma omp parallel for schedule(static)
  for (long line = 0; line < part.lines; ++line) {
    const float* from = gradients + part.InPart(line);
    float* to = results + part.InWhole(line) + part.first_channel();
    for (int i = 0; i < part.pixels; ++i) std::copy(from + i * channels, from + (i + 1) * channels, to + i * dims.c);
  }
  SetDiff(bottom[0], dx);
  ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
