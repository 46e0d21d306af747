#include "caffe/engine/panels.hpp"

#include <cstdlib>

#include "caffe/engine/convolution_product.hpp"

namespace caffe {
namespace engine {

#ifdef CAFFE_ENGINE_VECTOR

namespace {

CAFFE_ENGINE_VECTOR_BEGIN

CAFFE_ENGINE_NO_INLINE void Multiply(long m, int n, int k, const float* a, const float* panels, const float* bias, float* c,
    long stride) {
  const long start = 0;
  Product(m, n, a, k, Runs{1, k, &start}, panels, bias, c, stride);
}

CAFFE_ENGINE_VECTOR_END

}  // namespace

template <int lanes>
void MultiplyPanels(long m, int n, int k, const float* a, const float* panels, const float* bias, float* c, long stride) {
  Multiply(m, n, k, a, panels, bias, c, stride);
}

#else

template <int lanes>
void MultiplyPanels(long, int, int, const float*, const float*, const float*, float*, long) { abort(); }

#endif

template void MultiplyPanels<CAFFE_ENGINE_LANES>(long, int, int, const float*, const float*, const float*, float*, long);

}  // namespace engine
}  // namespace caffe
