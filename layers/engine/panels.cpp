#include "caffe/engine/panels.hpp"

#include <algorithm>
#include <cstdlib>

#include "caffe/engine/convolution_product.hpp"

namespace caffe {
namespace engine {

#ifdef CAFFE_ENGINE_VECTOR

namespace {

CAFFE_ENGINE_VECTOR_BEGIN

CAFFE_ENGINE_NO_INLINE void MultiplyPanels(long m, int n, int k, const float* a, const float* panels, const float* bias,
    float* c, long stride) {
  const long start = 0;
  Product(m, n, a, k, Runs{1, k, &start}, panels, bias, c, stride);
}

CAFFE_ENGINE_VECTOR_END

}  // namespace

template <int lanes>
void Panels<lanes>::LayOut(const float* w, long row_stride, long column_stride, int rows, int columns, float* to) {
#pragma omp for schedule(static)
  for (int first = 0; first < columns; first += kPanel) {
    const int width = std::min<int>(kPanel, columns - first);
    for (int r = 0; r < rows; ++r) {
      float* row = to + long(first) * rows + long(r) * width;
      for (int c = 0; c < width; ++c) row[c] = w[r * row_stride + (first + c) * column_stride];
    }
  }
}

template <int lanes>
void Panels<lanes>::Multiply(long m, int n, int k, const float* a, const float* laid_out, const float* bias, float* c,
    long stride) {
  MultiplyPanels(m, n, k, a, laid_out, bias, c, stride);
}

#else

template <int lanes>
void Panels<lanes>::LayOut(const float*, long, long, int, int, float*) { abort(); }
template <int lanes>
void Panels<lanes>::Multiply(long, int, int, const float*, const float*, const float*, float*, long) { abort(); }

#endif

template struct Panels<CAFFE_ENGINE_LANES>;

}  // namespace engine
}  // namespace caffe
