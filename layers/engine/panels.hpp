#ifndef CAFFE_ENGINE_PANELS_HPP_
#define CAFFE_ENGINE_PANELS_HPP_

#include "caffe/engine/convolution_vector.hpp"

namespace caffe {
namespace engine {

// A matrix as the second factor of products, laid out for the kernels of convolution_product.hpp with registers of so many
// floats. Run only where HasVectors(lanes) is true. The number of columns is a multiple of `lanes`.
template <int lanes>
struct Panels {
  // Lays out the elements w[row * row_stride + column * column_stride]. All threads of a parallel region share the work.
  static void LayOut(const float* w, long row_stride, long column_stride, int rows, int columns, float* to);

  // c (m x n, rows `stride` apart) = a (m x k) times n columns that were laid out, from a panel's start on, + bias, which may be
  // NULL.
  static void Multiply(long m, int n, int k, const float* a, const float* laid_out, const float* bias, float* c, long stride);
};

extern template struct Panels<kLanesOfAvx2>;
extern template struct Panels<kLanesOfAvx512>;

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_PANELS_HPP_
