#ifndef CAFFE_ENGINE_VECTOR_EXP_HPP_
#define CAFFE_ENGINE_VECTOR_EXP_HPP_

#include <cstdint>
#include <cstring>

namespace caffe {
namespace engine {

static inline __attribute__((always_inline)) float Masked(float v, uint32_t mask) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof(bits));
  bits &= mask;
  memcpy(&v, &bits, sizeof(v));
  return v;
}

// exp(v) for v <= 0, without a branch, which would keep the compiler from vectors, or a call. With n = round(v / log 2)
// and r = v - n log 2, at most log(2) / 2 far from 0, it is 2^n times the Taylor series of exp(r), whose eighth term is
// below 6e-9.
static inline __attribute__((always_inline)) float ExpOfNegative(float v) {
  const uint32_t is_normal = -uint32_t(!(v < -87.3f));  // all bits or none; NaN stays NaN
  const float x = Masked(v, is_normal);
  const float kRound = 12582912;  // 1.5 * 2^23: a sum with it has no digits after the point
  const float shifted = x * 1.44269504f + kRound, n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // log 2 in two parts, the first times n exact
  const float series = 1 + r * (1 + r * (1.f / 2 + r * (1.f / 6 + r * (1.f / 24 + r * (1.f / 120 + r * (1.f / 720 +
      r * (1.f / 5040)))))));
  uint32_t digits;
  memcpy(&digits, &shifted, sizeof(digits));
  digits = (digits << 23) + 0x3f800000;  // n, the last digits of `shifted`, as the exponent of 1
  float power;
  memcpy(&power, &digits, sizeof(power));
  return series * Masked(power, is_normal);
}

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_VECTOR_EXP_HPP_
