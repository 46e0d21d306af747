#include "caffe/engine/matrix_product.hpp"

#if defined(USE_ONEDNN) && defined(__x86_64__)
#define CAFFE_ENGINE_ONEDNN_PRODUCT 1
#include <dnnl.hpp>
#else
#include <cblas.h>
#endif

#include <cstdlib>

namespace caffe {
namespace engine {

// oneDNN's has OpenMP's threads, as all of the engine; OpenBLAS brings threads of its own, which get in their way.
void MatrixProduct(long m, long n, long k, const Factor& a, const Factor& b, bool add, float* c, long stride) {
  if (!m || !n) return;
#ifdef CAFFE_ENGINE_ONEDNN_PRODUCT
  if (dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, 1, a.values, a.stride, b.values, b.stride, add,
          c, stride) != dnnl_success) {
    abort();  // wrong sizes, or no memory
  }
#else
  cblas_sgemm(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans, m, n, k, 1,
      a.values, a.stride, b.values, b.stride, add, c, stride);
#endif
}

}  // namespace engine
}  // namespace caffe
