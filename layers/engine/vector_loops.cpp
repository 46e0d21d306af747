#include "caffe/engine/vector_loops.hpp"

#include <algorithm>

#include "caffe/engine/for_each_processor.hpp"
#include "caffe/engine/vector_exp.hpp"

namespace caffe {
namespace engine {

// ivdep: out may be an input, element by element.
FOR_EACH_PROCESSOR
void AffineBlock(const float* base, const float* x, const float* mean, const float* scale, const float* shift, size_t row,
    size_t count, float* out) {
  for (size_t i = 0; i < count; i += row) {
    const size_t n = std::min(row, count - i);
    if (base) {
#pragma GCC ivdep
      for (size_t j = 0; j < n; ++j) out[i + j] = base[i + j] + ((x[i + j] - mean[j]) * scale[j] + shift[j]);
    } else {
#pragma GCC ivdep
      for (size_t j = 0; j < n; ++j) out[i + j] = (x[i + j] - mean[j]) * scale[j] + shift[j];
    }
  }
}

FOR_EACH_PROCESSOR
void AffineReluBlock(const float* x, const float* __restrict__ mean, const float* __restrict__ scale,
    const float* __restrict__ shift, size_t row, size_t count, float* out) {
  for (size_t i = 0; i < count; i += row) {
    const size_t n = std::min(row, count - i);
#pragma GCC ivdep
    for (size_t j = 0; j < n; ++j) {
      const float v = (x[i + j] - mean[j]) * scale[j] + shift[j];
      out[i + j] = v < 0 ? 0 : v;
    }
  }
}

FOR_EACH_PROCESSOR
void AddBlock(const float* base, const float* x, size_t count, float* out) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) out[i] = base[i] + x[i];
}

FOR_EACH_PROCESSOR
void MultiplyBlock(const float* x, const float* factors, size_t count, float* out) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) out[i] = x[i] * factors[i];
}

FOR_EACH_PROCESSOR
void ReluBlock(const float* x, float slope, size_t count, float* out) {
  if (slope == 0) {
#pragma GCC ivdep
    for (size_t i = 0; i < count; ++i) {
      const float v = x[i];
      out[i] = v < 0 ? 0 : v;  // NaN stays NaN
    }
  } else {
#pragma GCC ivdep
    for (size_t i = 0; i < count; ++i) {
      const float v = x[i], factor = v < 0 ? slope : 1;
      out[i] = v * factor;
    }
  }
}

// Loads before it chooses, and chooses between values, not between calculations: else the compiler makes a branch.
FOR_EACH_PROCESSOR
void MaskBlock(const float* x, const float* mask, float slope, size_t count, float* out) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) {
    const float v = x[i], factor = mask[i] > 0 ? 1 : slope;
    out[i] = v * factor;  // NaN stays, whatever the factor
  }
}

FOR_EACH_PROCESSOR
void AffineMaskBlock(const float* x, const float* m, const float* __restrict__ mean, const float* __restrict__ scale,
    const float* __restrict__ shift, float slope, size_t row, size_t count, float* out) {
  for (size_t i = 0; i < count; i += row) {
    const size_t n = std::min(row, count - i);
#pragma GCC ivdep
    for (size_t j = 0; j < n; ++j) {
      const float v = x[i + j], mask = (m[i + j] - mean[j]) * scale[j] + shift[j], factor = mask > 0 ? 1 : slope;
      out[i + j] = v * factor;
    }
  }
}

FOR_EACH_PROCESSOR
void SumBlock(const float* __restrict__ x, size_t row, size_t count, float* __restrict__ sum) {
  for (size_t i = 0; i < count; i += row) {
    const size_t n = std::min(row, count - i);
    for (size_t j = 0; j < n; ++j) sum[j] += x[i + j];
  }
}

FOR_EACH_PROCESSOR
void MomentsBlock(const float* __restrict__ x, const float* __restrict__ origin, size_t row, size_t count,
    float* __restrict__ sum, float* __restrict__ squares) {
  for (size_t i = 0; i < count; i += row) {
    const size_t n = std::min(row, count - i);
    for (size_t j = 0; j < n; ++j) {
      const float v = x[i + j] - origin[j];
      sum[j] += v;
      squares[j] += v * v;
    }
  }
}

FOR_EACH_PROCESSOR
void ProductsBlock(const float* __restrict__ g, const float* __restrict__ x, const float* __restrict__ mean, size_t row,
    size_t count, float* __restrict__ sum, float* __restrict__ products) {
  for (size_t i = 0; i < count; i += row) {
    const size_t n = std::min(row, count - i);
    for (size_t j = 0; j < n; ++j) {
      sum[j] += g[i + j];
      products[j] += g[i + j] * (x[i + j] - mean[j]);
    }
  }
}

FOR_EACH_PROCESSOR
void CombineBlock(const float* g, const float* a, const float* x, const float* mean, const float* b, const float* c,
    size_t row, size_t count, float* out, float* sum) {
  for (size_t i = 0; i < count; i += row) {
    const size_t n = std::min(row, count - i);
#pragma GCC ivdep
    for (size_t j = 0; j < n; ++j) {
      const float v = g[i + j] * a[j] + (x[i + j] - mean[j]) * b[j] + c[j];
      out[i + j] = v;
      sum[j] += v;
    }
  }
}

FOR_EACH_PROCESSOR
void SoftmaxRow(const float* x, size_t count, float* out) {
  enum { kSums = 16 };  // side by side, in an order that depends on nothing but count
  float largest[kSums], sums[kSums] = {};
  std::fill_n(largest, int(kSums), x[0]);
  size_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (int j = 0; j < kSums; ++j) {
      const float v = x[i + j], other = largest[j];
      largest[j] = v > other ? v : other;
    }
  }
  for (; i < count; ++i) largest[0] = std::max(largest[0], x[i]);
  const float top = *std::max_element(largest, largest + kSums);
#pragma GCC ivdep
  for (size_t k = 0; k < count; ++k) out[k] = ExpOfNegative(x[k] - top);
  for (i = 0; i + kSums <= count; i += kSums) {
    for (int j = 0; j < kSums; ++j) sums[j] += out[i + j];
  }
  float sum = 0;
  for (; i < count; ++i) sum += out[i];
  for (int j = 0; j < kSums; ++j) sum += sums[j];
#pragma GCC ivdep
  for (size_t k = 0; k < count; ++k) out[k] /= sum;
}

FOR_EACH_PROCESSOR
void SoftmaxRowGradient(const float* g, const float* y, size_t count, float* out) {
  double sum = 0;
  for (size_t k = 0; k < count; ++k) sum += double(g[k]) * y[k];
  const float total = sum;
#pragma GCC ivdep
  for (size_t k = 0; k < count; ++k) out[k] = y[k] * (g[k] - total);
}

}  // namespace engine
}  // namespace caffe
