#include "caffe/engine/activation_loops.hpp"

#include <algorithm>
#include <cmath>

#include "caffe/engine/for_each_processor.hpp"
#include "caffe/engine/vector_exp.hpp"

namespace caffe {
namespace engine {

// 1 / (1 + exp(-x)), by exp(-|x|), which cannot overflow.
FOR_EACH_PROCESSOR
void SigmoidBlock(const float* __restrict__ x, size_t count, float* __restrict__ y) {
  for (size_t i = 0; i < count; ++i) {
    const float v = x[i], e = ExpOfNegative(-std::fabs(v)), numerator = v < 0 ? e : 1;
    y[i] = numerator / (1 + e);
  }
}

// (1 - e) / (1 + e) with e = exp(-2 |x|). Near 0 that would be a difference of equals: there, the polynomial of Cephes' tanhf.
FOR_EACH_PROCESSOR
void TanhBlock(const float* __restrict__ x, size_t count, float* __restrict__ y) {
  for (size_t i = 0; i < count; ++i) {
    const float v = x[i], size = std::fabs(v), e = ExpOfNegative(-2 * size), square = v * v;
    const float series = v + v * square * (-3.33332819422e-1f + square * (1.33314422036e-1f + square * (-5.37397155531e-2f +
        square * (2.06390887954e-2f - square * 5.70498872745e-3f))));
    const float far = std::copysign((1 - e) / (1 + e), v);
    y[i] = size < 0.625f ? series : far;
  }
}

FOR_EACH_PROCESSOR
void EluBlock(const float* __restrict__ x, float alpha, size_t count, float* __restrict__ y) {
  for (size_t i = 0; i < count; ++i) {
    const float v = x[i], negative = v > 0 ? 0 : v, curved = alpha * (ExpOfNegative(negative) - 1);
    y[i] = v > 0 ? v : curved;
  }
}

FOR_EACH_PROCESSOR
void PReluBlock(const float* __restrict__ x, const float* __restrict__ slope, size_t row, size_t count,
    float* __restrict__ y) {
  for (size_t i = 0; i < count; i += row) {
    const size_t n = std::min(row, count - i);
    for (size_t j = 0; j < n; ++j) {
      const float v = x[i + j], positive = v < 0 ? 0 : v, negative = v > 0 ? 0 : v;
      y[i + j] = positive + slope[j] * negative;
    }
  }
}

FOR_EACH_PROCESSOR
void SigmoidGradient(const float* __restrict__ g, const float* __restrict__ y, size_t count, float* __restrict__ dx) {
  for (size_t i = 0; i < count; ++i) dx[i] = g[i] * y[i] * (1 - y[i]);
}

FOR_EACH_PROCESSOR
void TanhGradient(const float* __restrict__ g, const float* __restrict__ y, size_t count, float* __restrict__ dx) {
  for (size_t i = 0; i < count; ++i) dx[i] = g[i] * (1 - y[i] * y[i]);
}

FOR_EACH_PROCESSOR
void EluGradient(const float* __restrict__ g, const float* __restrict__ y, float alpha, size_t count,
    float* __restrict__ dx) {
  for (size_t i = 0; i < count; ++i) {
    const float v = y[i], above = v > 0 ? 1 : 0, below = v <= 0 ? 1 : 0;
    dx[i] = g[i] * (above + (alpha + v) * below);
  }
}

FOR_EACH_PROCESSOR
void PReluGradient(const float* __restrict__ g, const float* __restrict__ x, const float* __restrict__ slope, size_t row,
    size_t count, float* __restrict__ dx, float* __restrict__ sum) {
  for (size_t i = 0; i < count; i += row) {
    const size_t n = std::min(row, count - i);
    for (size_t j = 0; j < n; ++j) {
      const float v = x[i + j], d = g[i + j], above = v > 0 ? 1 : 0, below = v <= 0 ? 1 : 0;
      dx[i + j] = d * (above + slope[j] * below);
      sum[j] += d * v * below;
    }
  }
}

}  // namespace engine
}  // namespace caffe
