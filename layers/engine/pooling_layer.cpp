#include "caffe/engine/engine_layers.hpp"

#include <algorithm>
#include <vector>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/fused_pixels.hpp"
#include "caffe/engine/pooling_loops.hpp"
#include "caffe/engine/readable.hpp"

namespace caffe {
namespace engine {

typedef caffe::PoolingLayer<float> Upstream;

namespace {

// What a row or a column of results reads along one axis: inputs begin .. end, of a window that starts at `start`, none if that is
// beyond the image; `size` is what upstream divides a sum by, padding included.
struct Window {
  int start, begin, end, size;

  Window(int index, int stride, int pad, int kernel, int length) : start(index * stride - pad) {
    begin = std::max(start, 0);
    end = std::max(begin, std::min(start + kernel, length));
    size = std::min(start + kernel, length + pad) - start;
  }
};

}  // namespace

bool PoolingLayer::Takes(const Blobs& bottom, const Blobs& top) const {
  const PoolingParameter_PoolMethod method = layer_param_.pooling_param().pool();
  const bool is_max = method == PoolingParameter_PoolMethod_MAX && int64_t(kernel_h_) * kernel_w_ <= 256;  // taps fit a byte
  return top.size() == 1 && IsPrivateData(*bottom[0]) && (is_max || method == PoolingParameter_PoolMethod_AVE);
}

void PoolingLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = Takes(bottom, top);
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  const bool is_max = layer_param_.pooling_param().pool() == PoolingParameter_PoolMethod_MAX;
  const TensorPtr x = Data(*bottom[0]);
  const Readable in(x.get());
  const RecipeReader reader(in.recipe_or_null(), x->dims.c);
  const Dims dims = DimsOf(*top[0]);
  const int channels = dims.c;
  const long line = long(width_) * channels;
  const TensorPtr y = NewTensor(dims);
  float* results = y->Fill();
  if (is_max) taps_.resize(dims.count());
  const ThreadRooms rooms(reader ? kernel_h_ * line : 0);
#pragma omp parallel for schedule(static)
  for (int row = 0; row < dims.n * dims.h; ++row) {
    const Window h(row % dims.h, stride_h_, pad_h_, kernel_h_, height_);
    const float* image = in.values + row / dims.h * height_ * line;
    const float* lines = image + h.begin * line;
    if (reader) {
      reader.Read(lines, (h.end - h.begin) * line, rooms.Mine());
      lines = rooms.Mine();
    }
    for (int column = 0; column < dims.w; ++column) {
      const Window w(column, stride_w_, pad_w_, kernel_w_, width_);
      const size_t at = (size_t(row) * dims.w + column) * channels;
      const float* first = lines + long(w.begin) * channels;
      if (is_max) {
        const int first_tap = (h.begin - h.start) * kernel_w_ + w.begin - w.start;
        const TapWindow window = {h.end - h.begin, w.end - w.begin, line, first_tap, kernel_w_};
        MaxOfWindow(window, first, channels, results + at, taps_.data() + at);
        continue;
      }
      std::fill_n(results + at, channels, 0);
      for (int i = 0; i < h.end - h.begin; ++i) {
        for (int j = 0; j < w.end - w.begin; ++j) AddScaled(first + i * line + long(j) * channels, 1, channels, results + at);
      }
      for (int c = 0; c < channels; ++c) results[at + c] /= h.size * w.size;
    }
  }
  SetData(top[0], y);
}

void PoolingLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (!propagate_down[0]) return;
  const bool is_max = layer_param_.pooling_param().pool() == PoolingParameter_PoolMethod_MAX;
  const Dims dims = DimsOf(*bottom[0]), out = DimsOf(*top[0]);
  const int channels = dims.c;
  const TensorPtr g = Diff(*top[0]);
  const float* gradients = g->Dense().get();
  const TensorPtr dx = NewTensor(dims);
  float* results = dx->Fill();
#pragma omp parallel for schedule(static)
  for (int n = 0; n < dims.n; ++n) {
    float* image = results + size_t(n) * dims.h * dims.w * channels;
    std::fill_n(image, size_t(dims.h) * dims.w * channels, 0.f);
    for (int pixel = 0; pixel < out.h * out.w; ++pixel) {
      const Window h(pixel / out.w, stride_h_, pad_h_, kernel_h_, height_);
      const Window w(pixel % out.w, stride_w_, pad_w_, kernel_w_, width_);
      const size_t at = (size_t(n) * out.h * out.w + pixel) * channels;
      const float factor = 1.f / (h.size * w.size);
      for (int i = h.begin; i < h.end; ++i) {
        for (int j = w.begin; j < w.end; ++j) {
          float* to = image + (long(i) * dims.w + j) * channels;
          if (is_max) {
            MaxTapGradient(gradients + at, taps_.data() + at, (i - h.start) * kernel_w_ + j - w.start, channels, to);
          } else {
            AddScaled(gradients + at, factor, channels, to);
          }
        }
      }
    }
  }
  SetDiff(bottom[0], dx);
  ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
