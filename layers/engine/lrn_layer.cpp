#include "caffe/engine/engine_layers.hpp"

#include <algorithm>
#include <vector>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/lrn_loops.hpp"
#include "caffe/engine/pooling_loops.hpp"
#include "caffe/engine/vector_loops.hpp"

namespace caffe {
namespace engine {

typedef caffe::LRNLayer<float> Upstream;

namespace {

// to (rows, width, channels) = the sum of x over the `size` x `size` pixels around. room: as large.
void SumWindows(const float* x, int rows, int width, int channels, int size, float* room, float* to) {
  const long line = long(width) * channels;
  const int half = size / 2;
  std::fill_n(room, rows * line, 0.f);
  std::fill_n(to, rows * line, 0.f);
  for (int row = 0; row < rows; ++row) {
    for (int shift = -std::min(half, width - 1); shift <= std::min(half, width - 1); ++shift) {
      const long from = std::max(shift, 0) * channels, at = std::max(-shift, 0) * channels;
      AddScaled(x + row * line + from, 1, line - from - at, room + row * line + at);
    }
  }
  for (int shift = -std::min(half, rows - 1); shift <= std::min(half, rows - 1); ++shift) {
    const int first = std::max(-shift, 0), last = std::min(rows, rows - shift);
    for (int row = first; row < last; ++row) AddScaled(room + (row + shift) * line, 1, line, to + row * line);
  }
}

}  // namespace

// Within channels, y = x s^-beta with s = 1 + alpha / size^2 * the sum of x^2 over the pixels around: here for an image.
void LRNLayer::NormaliseWithin(const float* x, const float* g, float* room, float* result) const {
  const long count = long(height_) * width_ * channels_;
  float *first = room, *second = room + count, *third = second + count;
  MultiplyBlock(x, x, count, first);
  SumWindows(first, height_, width_, channels_, size_, second, third);
  DenominatorsToPowers(third, alpha_ / (size_ * size_), beta_, count, first);  // third: s
  if (!g) return MultiplyBlock(x, first, count, result);
  // dx = g s^-beta - 2 alpha beta / size^2 * x * the sum of g x s^(-beta - 1) over the pixels around.
  MultiplyBlock(g, first, count, result);
  RatiosBlock(result, x, third, count, first);
  SumWindows(first, height_, width_, channels_, size_, second, third);
  SubtractProducts(x, third, 2 * alpha_ * beta_ / (size_ * size_), count, result);
}

void LRNLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = top[0] != bottom[0] && IsPrivateData(*bottom[0]);
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  SetData(top[0], Normalise(Data(*bottom[0]).get(), NULL));
}

void LRNLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (!propagate_down[0]) return;
  const TensorPtr g = Diff(*top[0]);
  SetDiff(bottom[0], Normalise(Data(*bottom[0]).get(), g.get()));
  ReleaseDiff(top[0]);
}

// y, or with a gradient g of it that of x.
TensorPtr LRNLayer::Normalise(Tensor* x, Tensor* g) const {
  const float *values = x->Dense().get(), *gradients = g ? g->Dense().get() : NULL;
  const TensorPtr result = NewTensor(x->dims);
  float* results = result->Fill();
  if (layer_param_.lrn_param().norm_region() == LRNParameter_NormRegion_WITHIN_CHANNEL) {
    const long image = x->dims.count() / x->dims.n;
    const ThreadRooms rooms(3 * image);
#pragma omp parallel for schedule(static)
    for (int n = 0; n < x->dims.n; ++n) {
      NormaliseWithin(values + n * image, g ? gradients + n * image : NULL, rooms.Mine(), results + n * image);
    }
    return result;
  }
  const Normalisation n = {x->dims.c, size_, alpha_, beta_, k_};
  const ThreadRooms rooms(n.RoomSize());
#pragma omp parallel for schedule(static)
  for (long at = 0; at < long(x->dims.count()); at += n.channels) {
    if (g) {
      NormalisePixelGradient(n, values + at, gradients + at, rooms.Mine(), results + at);
    } else {
      NormalisePixel(n, values + at, rooms.Mine(), results + at);
    }
  }
  return result;
}

}  // namespace engine
}  // namespace caffe
