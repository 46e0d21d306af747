#include "caffe/engine/image_values.hpp"

#include <algorithm>
#include <vector>

#include "caffe/engine/vector_loops.hpp"

namespace caffe {
namespace engine {

bool ImageValues::Fit(const Blob<float>& whole, const Blob<float>& values, int axis) {
  return whole.num_axes() == 4 && (values.num_axes() == 0 || axis + values.num_axes() <= 2);
}

ImageValues::ImageValues(const Blob<float>& whole, const Blob<float>& values, int axis)
    : images_(whole.shape(0)), channels_(whole.shape(1)), image_stride_(0), channel_stride_(0) {
  const int axes = values.num_axes();
  if (axes > 0 && axis + axes == 2) channel_stride_ = 1;
  if (axes > 0 && axis == 0) image_stride_ = axes == 2 ? channels_ : 1;
}

Channels ImageValues::Spread(const float* values) const {
  Channels spread(size_t(images_) * channels_);
  for (int n = 0; n < images_; ++n) {
    for (int c = 0; c < channels_; ++c) spread[n * channels_ + c] = values[n * image_stride_ + c * channel_stride_];
  }
  return spread;
}

void ImageValues::Gather(const Channels& spread, int count, float* values) const {
  std::vector<double> sums(count);
  for (int n = 0; n < images_; ++n) {
    for (int c = 0; c < channels_; ++c) sums[n * image_stride_ + c * channel_stride_] += spread[n * channels_ + c];
  }
  std::copy(sums.begin(), sums.end(), values);
}

namespace {

// Calls work(image, its first float, the first of the next one) for all images.
template <typename Work>
void ForImages(const Dims& dims, const Work& work) {
  const size_t image = dims.count() / dims.n;
#pragma omp parallel for schedule(static)
  for (int n = 0; n < dims.n; ++n) work(n, n * image, (n + 1) * image);
}

Channels Sum(Tensor* g, Tensor* x) {
  const Dims dims = g->dims;
  const Rows rows(dims.c);
  const Channels zero(rows.row, 0);
  const float *gradients = g->Dense().get(), *values = x ? x->Dense().get() : gradients;
  Channels result(size_t(dims.n) * dims.c);
  ForImages(dims, [&](int n, size_t begin, size_t end) {
    Sums sums(rows, 1), products(rows, 1);
    for (size_t i = begin; i < end; i += rows.block) {
      ProductsBlock(gradients + i, values + i, zero.data(), rows.row, std::min(rows.block, end - i), sums.block(0),
          products.block(0));
      sums.Flush(0);
      products.Flush(0);
    }
    const std::vector<double> total = x ? products.Total() : sums.Total();
    std::copy(total.begin(), total.end(), result.begin() + size_t(n) * dims.c);
  });
  return result;
}

}  // namespace

TensorPtr AffineByImage(Tensor* x, const Channels& factor, const Channels& summand) {
  const Dims dims = x->dims;
  const Rows rows(dims.c);
  const Channels zero(rows.row, 0);
  const float* values = x->Dense().get();
  const TensorPtr y = NewTensor(dims);
  float* results = y->Fill();
  ForImages(dims, [&](int n, size_t begin, size_t end) {
    const Channels scale = rows.Row(factor.data() + size_t(n) * dims.c), shift = rows.Row(summand.data() + size_t(n) * dims.c);
    for (size_t i = begin; i < end; i += rows.block) {
      AffineBlock(NULL, values + i, zero.data(), scale.data(), shift.data(), rows.row, std::min(rows.block, end - i),
          results + i);
    }
  });
  return y;
}

Channels SumByImage(Tensor* g) { return Sum(g, NULL); }
Channels SumProductsByImage(Tensor* g, Tensor* x) { return Sum(g, x); }

}  // namespace engine
}  // namespace caffe
