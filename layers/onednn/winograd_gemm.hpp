#ifndef CAFFE_ENGINE_WINOGRAD_GEMM_HPP_
#define CAFFE_ENGINE_WINOGRAD_GEMM_HPP_

#include "caffe/engine/winograd_vector.hpp"

// The small matrix products between the transforms, one for each of the 36 points. Up to 6 x 16 results are kept in
// 12 of the 16 registers: a product needs 12 independent sums to fill two multipliers of four cycles' latency.

#ifdef CAFFE_ENGINE_VECTOR

namespace caffe {
namespace engine {

CAFFE_ENGINE_VECTOR_BEGIN

// c (R x 8 C) = a (R x k, rows lda apart) times b (k x 8 C, contiguous); rows of c are ldc apart.
template <int R, int C>
static inline void RowProduct(const float* a, long lda, const float* b, int k, float* c, long ldc) {
  Vec sum[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < C; ++v) sum[r][v] = Broadcast(0);
  }
  for (int p = 0; p < k; ++p) {
    Vec row[C];
#pragma GCC unroll 8
    for (int v = 0; v < C; ++v) row[v] = Load(b + p * C * kLanes + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec x = Broadcast(a[r * lda + p]);
#pragma GCC unroll 8
      for (int v = 0; v < C; ++v) sum[r][v] = Fma(x, row[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < C; ++v) Store(c + r * ldc + v * kLanes, sum[r][v]);
  }
}

// c (m x 8 C) = a (m x k) times b (k x 8 C).
template <int C>
static inline void RowsProduct(int m, const float* a, long lda, const float* b, int k, float* c, long ldc) {
  int r = 0;
  for (; r + 6 <= m; r += 6) RowProduct<6, C>(a + r * lda, lda, b, k, c + r * ldc, ldc);
  a += r * lda;
  c += r * ldc;
  switch (m - r) {
    case 5: RowProduct<5, C>(a, lda, b, k, c, ldc); break;
    case 4: RowProduct<4, C>(a, lda, b, k, c, ldc); break;
    case 3: RowProduct<3, C>(a, lda, b, k, c, ldc); break;
    case 2: RowProduct<2, C>(a, lda, b, k, c, ldc); break;
    case 1: RowProduct<1, C>(a, lda, b, k, c, ldc); break;
  }
}

// c (R x 8 C, contiguous) += a^T (R x k) times b (k x 8 C): the k rows of a and b are lda and ldb apart.
template <int R, int C>
static inline void AddColumnProduct(const float* a, long lda, const float* b, long ldb, int k, float* c) {
  Vec sum[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < C; ++v) sum[r][v] = Load(c + (r * C + v) * kLanes);
  }
  for (int p = 0; p < k; ++p, a += lda, b += ldb) {
    Vec row[C];
#pragma GCC unroll 8
    for (int v = 0; v < C; ++v) row[v] = Load(b + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec x = Broadcast(a[r]);
#pragma GCC unroll 8
      for (int v = 0; v < C; ++v) sum[r][v] = Fma(x, row[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < C; ++v) Store(c + (r * C + v) * kLanes, sum[r][v]);
  }
}

// c (m x 8 C) += a^T (m x k) times b (k x 8 C), m a multiple of 8: as sixes and fours.
template <int C>
static inline void AddColumnsProduct(int m, const float* a, long lda, const float* b, long ldb, int k, float* c) {
  while (m > 0) {
    const int rows = m >= 6 && m != 8 ? 6 : 4;
    if (rows == 6) {
      AddColumnProduct<6, C>(a, lda, b, ldb, k, c);
    } else {
      AddColumnProduct<4, C>(a, lda, b, ldb, k, c);
    }
    a += rows;
    c += rows * C * kLanes;
    m -= rows;
  }
}

CAFFE_ENGINE_VECTOR_END

}  // namespace engine
}  // namespace caffe

#endif
#endif  // CAFFE_ENGINE_WINOGRAD_GEMM_HPP_
