#ifndef CAFFE_ENGINE_CONVOLUTION_VECTOR_HPP_
#define CAFFE_ENGINE_CONVOLUTION_VECTOR_HPP_

// Some floats in a register, with the arithmetic operators of GCC's vector extension: 8 by AVX2 and FMA, or 16 by AVX-512 where
// a file defines CAFFE_ENGINE_LANES so before it includes this one. Everything between CAFFE_ENGINE_VECTOR_BEGIN and _END is
// compiled for these instructions whatever the compiler's flags are: run it only where HasVectors(kLanes) is true. It lies in a
// namespace of its own, since the linker would make one function of two that differ only in their instructions.

#ifndef CAFFE_ENGINE_LANES
#define CAFFE_ENGINE_LANES 8
#endif

namespace caffe {
namespace engine {

enum { kLanesOfAvx2 = 8, kLanesOfAvx512 = 16 };

// Whether the processor has registers of so many floats, and, for those of AVX-512, ONEDNN_MAX_CPU_ISA in the environment allows
// them.
bool HasVectors(int lanes = kLanesOfAvx2);

// How many results a product of matrices sums together, in registers (convolution_product.hpp): rows of the first factor, and
// columns of the second, which are a panel of it.
constexpr int PanelRows(int lanes) { return lanes == kLanesOfAvx512 ? 12 : 6; }
constexpr int PanelColumns(int lanes) { return 2 * lanes; }

}  // namespace engine
}  // namespace caffe

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CAFFE_ENGINE_VECTOR 1
#include <immintrin.h>

// The namespace comes first: GCC 14 drops what follows a target's pragma in a macro.
#if CAFFE_ENGINE_LANES == 16
#define CAFFE_ENGINE_VECTOR_BEGIN \
  inline namespace avx512 { _Pragma("GCC push_options") _Pragma("GCC target(\"avx512f,fma\")")
#else
#define CAFFE_ENGINE_VECTOR_BEGIN inline namespace avx2 { _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma\")")
#endif
#define CAFFE_ENGINE_VECTOR_END } _Pragma("GCC pop_options")

// Left alone, GCC inlines other functions after each change of the code around them, which made convolutions up to 7 % slower.
#define CAFFE_ENGINE_INLINE __attribute__((always_inline)) static inline
#define CAFFE_ENGINE_NO_INLINE __attribute__((noinline)) static

namespace caffe {
namespace engine {

CAFFE_ENGINE_VECTOR_BEGIN

#if CAFFE_ENGINE_LANES == 16

typedef __m512 Vec;
static inline Vec Load(const float* p) { return _mm512_loadu_ps(p); }
static inline void Store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
static inline Vec Broadcast(float v) { return _mm512_set1_ps(v); }
static inline Vec Fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }    // a b + c
static inline Vec Fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b
// 0 where v is negative. NaN stays: of two operands that do not compare, max_ps gives the second one.
static inline Vec Clip(Vec v) { return _mm512_max_ps(_mm512_setzero_ps(), v); }
// v where a > 0, else 0.
static inline Vec WherePositive(Vec a, Vec v) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_GT_OQ), v);
}

#else

typedef __m256 Vec;
static inline Vec Load(const float* p) { return _mm256_loadu_ps(p); }
static inline void Store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
static inline Vec Broadcast(float v) { return _mm256_set1_ps(v); }
static inline Vec Fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline Vec Fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }
static inline Vec Clip(Vec v) { return _mm256_max_ps(_mm256_setzero_ps(), v); }
static inline Vec WherePositive(Vec a, Vec v) {
  return _mm256_and_ps(_mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_GT_OQ), v);
}

#endif

enum { kLanes = CAFFE_ENGINE_LANES };

// Every `stride`-th float.
static inline Vec Gather(const float* p, long stride) {
  float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = p[i * stride];
  return Load(lanes);
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

#endif
#endif  // CAFFE_ENGINE_CONVOLUTION_VECTOR_HPP_
