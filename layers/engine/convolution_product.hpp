#ifndef CAFFE_ENGINE_CONVOLUTION_PRODUCT_HPP_
#define CAFFE_ENGINE_CONVOLUTION_PRODUCT_HPP_

#include <cstddef>
#include <type_traits>

#include "caffe/engine/convolution_vector.hpp"

// Products of matrices that are small enough for the second-level cache. Up to 6 x 16 results are summed in 12 of the 16
// registers, with AVX-512 up to 12 x 32 in 24 of 32: two multipliers of four cycles' latency need 8 independent sums at least. A
// matrix of n columns is laid out in panels (n / kPanel, rows, kPanel) where it is reused, the last panel narrower if n is not a
// multiple of kPanel.

#ifdef CAFFE_ENGINE_VECTOR

namespace caffe {
namespace engine {

CAFFE_ENGINE_VECTOR_BEGIN

enum { kPanel = PanelColumns(kLanes), kMostRows = PanelRows(kLanes) };

// Where the element (row, column) is in a matrix of n columns that is laid out in panels.
static inline long PanelOffset(int row, int column, int rows, int n) {
  const int panel = column / kPanel * kPanel, width = n - panel < kPanel ? n - panel : kPanel;
  return long(panel) * rows + long(row) * width + (column - panel);
}

// Rows to take next of m: kMostRows, but a few more than those in two halves, since one or two rows alone would wait for their
// own sums.
static inline int NextRows(int m) {
  return m <= kMostRows ? m : m <= kMostRows + kMostRows / 3 ? (m + 1) / 2 : int(kMostRows);
}

// Calls work(std::integral_constant<int, rows>()).
template <int R = kMostRows, typename Work>
CAFFE_ENGINE_INLINE void ForRows(int rows, const Work& work) {
  if (rows == R || R == 1) return work(std::integral_constant<int, R>());
  ForRows<(R > 1 ? R - 1 : 1)>(rows, work);
}

// A row of a matrix in `runs` pieces of `run` floats, which begin at `offsets` from the row's address.
struct Runs {
  int runs, run;
  const long* offsets;
};

// c (R x C registers) = a (R x k, rows lda apart) times b (k x C registers, contiguous) + bias; rows of c are ldc apart, bias may
// be NULL.
template <int R, int C>
CAFFE_ENGINE_INLINE void RowProduct(const float* a, long lda, const Runs& k, const float* b, const float* bias, float* c,
    long ldc) {
  Vec sum[R][C];
#pragma GCC unroll 16
  for (int v = 0; v < C; ++v) {
    const Vec start = bias ? Load(bias + v * kLanes) : Broadcast(0);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sum[r][v] = start;
  }
  for (int i = 0; i < k.runs; ++i) {
    const float* x = a + k.offsets[i];
    for (int p = 0; p < k.run; ++p, b += C * kLanes) {
      Vec row[C];
#pragma GCC unroll 16
      for (int v = 0; v < C; ++v) row[v] = Load(b + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Vec factor = Broadcast(x[r * lda + p]);
#pragma GCC unroll 16
        for (int v = 0; v < C; ++v) sum[r][v] = Fma(factor, row[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < C; ++v) Store(c + r * ldc + v * kLanes, sum[r][v]);
  }
}

// c (m x C registers) = a (m x k) times b (k x C registers) + bias.
template <int C>
CAFFE_ENGINE_INLINE void RowsProduct(int m, const float* a, long lda, const Runs& k, const float* b, const float* bias,
    float* c, long ldc) {
  while (m > 0) {
    const int rows = NextRows(m);
    ForRows(rows, [&](auto r) __attribute__((always_inline)) { RowProduct<r, C>(a, lda, k, b, bias, c, ldc); });
    a += rows * lda;
    c += rows * ldc;
    m -= rows;
  }
}

// c (m x n) = a (m x k) times b (k x n, in panels) + bias, n a multiple of kLanes.
CAFFE_ENGINE_INLINE void Product(int m, int n, const float* a, long lda, const Runs& k, const float* b, const float* bias,
    float* c, long ldc) {
  const long depth = long(k.runs) * k.run;
  int j = 0;
  for (; j + kPanel <= n; j += kPanel) RowsProduct<2>(m, a, lda, k, b + j * depth, bias ? bias + j : NULL, c + j, ldc);
  if (j < n) RowsProduct<1>(m, a, lda, k, b + j * depth, bias ? bias + j : NULL, c + j, ldc);
}

CAFFE_ENGINE_INLINE void Product(int m, int n, int k, const float* a, long lda, const float* b, float* c, long ldc) {
  const long start = 0;
  Product(m, n, a, lda, Runs{1, k, &start}, b, NULL, c, ldc);
}

// The terms of a sum over pixels: `lines` lines of `pixels` pixels, and the floats from one to the next.
struct Pixels {
  int lines, pixels;
  long line_a, pixel_a;  // in the left factor
  long line_b, pixel_b;  // in the right one
};

// c (R x C registers, contiguous) += a^T b, a (pixels x R), b (pixels x C registers).
template <int R, int C>
CAFFE_ENGINE_INLINE void AddColumnProduct(const float* a, const float* b, const Pixels& k, float* c) {
  Vec sum[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < C; ++v) sum[r][v] = Load(c + (r * C + v) * kLanes);
  }
  for (int i = 0; i < k.lines; ++i) {
    const float* x = a + i * k.line_a;
    const float* y = b + i * k.line_b;
    for (int p = 0; p < k.pixels; ++p, x += k.pixel_a, y += k.pixel_b) {
      Vec row[C];
#pragma GCC unroll 16
      for (int v = 0; v < C; ++v) row[v] = Load(y + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Vec factor = Broadcast(x[r]);
#pragma GCC unroll 16
        for (int v = 0; v < C; ++v) sum[r][v] = Fma(factor, row[v], sum[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < C; ++v) Store(c + (r * C + v) * kLanes, sum[r][v]);
  }
}

// c (m x C registers) += a^T b.
template <int C>
CAFFE_ENGINE_INLINE void AddColumnsProduct(int m, const float* a, const float* b, const Pixels& k, float* c) {
  while (m > 0) {
    const int rows = NextRows(m);
    ForRows(rows, [&](auto r) __attribute__((always_inline)) { AddColumnProduct<r, C>(a, b, k, c); });
    a += rows;
    c += rows * C * kLanes;
    m -= rows;
  }
}

// The m rows from `first` on of c (rows x n, in panels) += a^T b, n a multiple of kLanes.
CAFFE_ENGINE_INLINE void AddTransposedProduct(int m, int n, const float* a, const float* b, const Pixels& k, float* c,
    int first, int rows) {
  int j = 0;
  for (; j + kPanel <= n; j += kPanel) AddColumnsProduct<2>(m, a, b + j, k, c + PanelOffset(first, j, rows, n));
  if (j < n) AddColumnsProduct<1>(m, a, b + j, k, c + PanelOffset(first, j, rows, n));
}

// How many blocks of pixels are added up before their sums are added to the total: a long sum of small terms loses more
// than a sum of sums.
enum { kPartBlocks = 8 };

// total += part; part = 0. size: a multiple of kLanes.
static inline void AddPart(float* part, size_t size, float* total) {
  for (size_t i = 0; i < size; i += kLanes) {
    Store(total + i, Load(total + i) + Load(part + i));
    Store(part + i, Broadcast(0));
  }
}

CAFFE_ENGINE_VECTOR_END

}  // namespace engine
}  // namespace caffe

#endif
#endif  // CAFFE_ENGINE_CONVOLUTION_PRODUCT_HPP_
