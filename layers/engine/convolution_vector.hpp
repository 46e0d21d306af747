#ifndef CAFFE_ENGINE_CONVOLUTION_VECTOR_HPP_
#define CAFFE_ENGINE_CONVOLUTION_VECTOR_HPP_

// Eight floats in a register, with the arithmetic operators of GCC's vector extension. Everything between
// CAFFE_ENGINE_VECTOR_BEGIN and _END is compiled for AVX2 and FMA whatever the compiler's flags are: run it only
// where HasVectors() is true.

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CAFFE_ENGINE_VECTOR 1
#include <immintrin.h>

#define CAFFE_ENGINE_VECTOR_BEGIN _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma\")")
#define CAFFE_ENGINE_VECTOR_END _Pragma("GCC pop_options")

// Left alone, GCC inlines other functions after each change of the code around them, which made convolutions up to 7 % slower.
#define CAFFE_ENGINE_INLINE __attribute__((always_inline)) static inline
#define CAFFE_ENGINE_NO_INLINE __attribute__((noinline)) static

namespace caffe {
namespace engine {

inline bool HasVectors() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
inline bool HasWideVectors() { return __builtin_cpu_supports("avx512f"); }  // oneDNN's kernels use them

CAFFE_ENGINE_VECTOR_BEGIN

typedef __m256 Vec;
enum { kLanes = 8 };

static inline Vec Load(const float* p) { return _mm256_loadu_ps(p); }
static inline void Store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
static inline Vec Broadcast(float v) { return _mm256_set1_ps(v); }
static inline Vec Fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }    // a b + c
static inline Vec Fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }  // c - a b
// 0 where v is negative. NaN stays: of two operands that do not compare, max_ps gives the second one.
static inline Vec Clip(Vec v) { return _mm256_max_ps(_mm256_setzero_ps(), v); }
// v where a > 0, else 0.
static inline Vec WherePositive(Vec a, Vec v) {
  return _mm256_and_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_GT_OQ), v);
}
// Every `stride`-th float.
static inline Vec Gather(const float* p, long stride) {
  return _mm256_setr_ps(p[0], p[stride], p[2 * stride], p[3 * stride], p[4 * stride], p[5 * stride], p[6 * stride],
      p[7 * stride]);
}
// Some processors' memcpy is several times slower from cache to cache.
static inline void Copy(const float* from, long count, float* to) {
  long i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(to + i, Load(from + i));
  for (; i < count; ++i) to[i] = from[i];
}

CAFFE_ENGINE_VECTOR_END

}  // namespace engine
}  // namespace caffe

#else

namespace caffe {
namespace engine {

inline bool HasVectors() { return false; }
inline bool HasWideVectors() { return false; }

}  // namespace engine
}  // namespace caffe

#endif
#endif  // CAFFE_ENGINE_CONVOLUTION_VECTOR_HPP_
