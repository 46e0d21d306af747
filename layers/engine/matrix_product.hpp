#ifndef CAFFE_ENGINE_MATRIX_PRODUCT_HPP_
#define CAFFE_ENGINE_MATRIX_PRODUCT_HPP_

namespace caffe {
namespace engine {

// A factor of a product, row by row: `stride` floats from one row to the next. `transposed`: as it lies in memory.
struct Factor {
  const float* values;
  long stride;
  bool transposed;
};

// c (m x n, rows `stride` apart) = a (m x k) b (k x n), or += where `add`. With all threads; inside of a parallel region with
// the one that calls it.
void MatrixProduct(long m, long n, long k, const Factor& a, const Factor& b, bool add, float* c, long stride);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_MATRIX_PRODUCT_HPP_
