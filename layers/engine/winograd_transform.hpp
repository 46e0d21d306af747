#ifndef CAFFE_ENGINE_WINOGRAD_TRANSFORM_HPP_
#define CAFFE_ENGINE_WINOGRAD_TRANSFORM_HPP_

#include "caffe/engine/convolution_vector.hpp"

// The one-dimensional transforms of Winograd's F(4, 3) with the interpolation points 0, 1, -1, 2, -2 and infinity
// (Lavin & Gray 2015, arXiv:1509.09308, section 4.3): four outputs of a filter of three taps, from six inputs, by six
// multiplications:
//     y = A^T [(G g) * (B^T d)].
// Transposing the same identity gives the gradient with respect to the filter, again by six multiplications:
//     dg = G^T [(A dy) * (B^T d)].
// In two dimensions each transform is applied to the columns and then to the rows.

#ifdef CAFFE_ENGINE_VECTOR

namespace caffe {
namespace engine {

CAFFE_ENGINE_VECTOR_BEGIN

// B^T d: six inputs to six points.
static inline void InputPoints(const Vec d[6], Vec v[6]) {
  const Vec two = Broadcast(2), four = Broadcast(4);
  const Vec even = Fnma(four, d[2], d[4]), odd = Fnma(four, d[1], d[3]);
  const Vec even2 = d[4] - d[2], odd2 = d[3] - d[1];
  v[0] = Fma(four, d[0] - d[2], even2);
  v[1] = even + odd;
  v[2] = even - odd;
  v[3] = Fma(two, odd2, even2);
  v[4] = Fnma(two, odd2, even2);
  v[5] = Fnma(four, odd2, d[5] - d[3]);
}

// A^T m: six points to four outputs.
static inline void OutputsFromPoints(const Vec m[6], Vec y[4]) {
  const Vec two = Broadcast(2), four = Broadcast(4), eight = Broadcast(8);
  const Vec even = m[1] + m[2], odd = m[1] - m[2], even2 = m[3] + m[4], odd2 = m[3] - m[4];
  y[0] = m[0] + even + even2;
  y[1] = Fma(two, odd2, odd);
  y[2] = Fma(four, even2, even);
  y[3] = Fma(eight, odd2, odd) + m[5];
}

// A dy: the gradients of four outputs to six points.
static inline void GradientPoints(const Vec dy[4], Vec z[6]) {
  const Vec two = Broadcast(2), four = Broadcast(4);
  const Vec even = dy[0] + dy[2], odd = dy[1] + dy[3];
  const Vec even2 = Fma(four, dy[2], dy[0]), odd2 = Fma(four, dy[3], dy[1]);
  z[0] = dy[0];
  z[1] = even + odd;
  z[2] = even - odd;
  z[3] = Fma(two, odd2, even2);
  z[4] = Fnma(two, odd2, even2);
  z[5] = dy[3];
}

// G g: three taps to six points.
static inline void FilterPoints(const Vec g[3], Vec u[6]) {
  const Vec even = (g[0] + g[2]) * Broadcast(-1.f / 6), odd = g[1] * Broadcast(-1.f / 6);
  const Vec even2 = Fma(Broadcast(4), g[2], g[0]) * Broadcast(1.f / 24), odd2 = g[1] * Broadcast(1.f / 12);
  u[0] = g[0] * Broadcast(1.f / 4);
  u[1] = even + odd;
  u[2] = even - odd;
  u[3] = even2 + odd2;
  u[4] = even2 - odd2;
  u[5] = g[2];
}

// G^T u: six points to the gradients of three taps.
static inline void TapsFromPoints(const Vec u[6], Vec dg[3]) {
  const Vec even = (u[1] + u[2]) * Broadcast(-1.f / 6), odd = (u[1] - u[2]) * Broadcast(-1.f / 6);
  const Vec even2 = (u[3] + u[4]) * Broadcast(1.f / 24), odd2 = (u[3] - u[4]) * Broadcast(1.f / 12);
  dg[0] = Fma(Broadcast(1.f / 4), u[0], even) + even2;
  dg[1] = odd + odd2;
  dg[2] = Fma(Broadcast(4), even2, even) + u[5];
}

CAFFE_ENGINE_VECTOR_END

}  // namespace engine
}  // namespace caffe

#endif
#endif  // CAFFE_ENGINE_WINOGRAD_TRANSFORM_HPP_
