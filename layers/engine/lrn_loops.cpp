#include "caffe/engine/lrn_loops.hpp"

#include <algorithm>
#include <cmath>

#include "caffe/engine/convolution_vector.hpp"
#include "caffe/engine/for_each_processor.hpp"

namespace caffe {
namespace engine {

namespace {

// s, of squares that have size / 2 zeros at both ends.
inline __attribute__((always_inline)) void Denominators(const Normalisation& n, const float* __restrict__ x,
    float* __restrict__ squares, float* __restrict__ s) {
  const int half = n.size / 2;
  std::fill_n(squares, half, 0.f);
  std::fill_n(squares + half + n.channels, half, 0.f);
  for (int c = 0; c < n.channels; ++c) squares[half + c] = x[c] * x[c];
  const float factor = n.alpha / n.size;
  std::fill_n(s, n.channels, n.k);
  for (int i = 0; i < n.size; ++i) {
    for (int c = 0; c < n.channels; ++c) s[c] += factor * squares[c + i];
  }
}

#ifdef CAFFE_ENGINE_VECTOR
CAFFE_ENGINE_VECTOR_BEGIN

// s^(-3/4) of whole vectors; returns how many values those are. A loop over std::sqrt, which may set errno, has no vectors.
long ThreeQuarterPowers(const float* s, long count, float* powers) {
  long c = 0;
  for (; c + kLanes <= count; c += kLanes) {
    const Vec root = _mm256_sqrt_ps(Load(s + c));
    Store(powers + c, Broadcast(1) / (root * _mm256_sqrt_ps(root)));
  }
  return c;
}

CAFFE_ENGINE_VECTOR_END
#else
long ThreeQuarterPowers(const float*, long, float*) { return 0; }
#endif

// s^-beta. That of AlexNet and GoogLeNet needs no logarithm.
void Powers(const float* s, float beta, long count, float* powers) {
  if (beta != 0.75f) {
    for (long c = 0; c < count; ++c) powers[c] = std::pow(s[c], -beta);
    return;
  }
  for (long c = HasVectors() ? ThreeQuarterPowers(s, count, powers) : 0; c < count; ++c) {
    const float root = std::sqrt(s[c]);
    powers[c] = 1 / (root * std::sqrt(root));
  }
}

}  // namespace

FOR_EACH_PROCESSOR
void NormalisePixel(const Normalisation& n, const float* __restrict__ x, float* __restrict__ room, float* __restrict__ y) {
  float* s = room + n.channels + n.size;
  Denominators(n, x, room, s);
  Powers(s, n.beta, n.channels, room);
  for (int c = 0; c < n.channels; ++c) y[c] = x[c] * room[c];
}

FOR_EACH_PROCESSOR
void NormalisePixelGradient(const Normalisation& n, const float* __restrict__ x, const float* __restrict__ g,
    float* __restrict__ room, float* __restrict__ dx) {
  const int half = n.size / 2;
  float* __restrict__ ratios = room;
  float* __restrict__ s = room + n.channels + n.size;
  float* __restrict__ powers = s + n.channels + n.size;
  Denominators(n, x, ratios, s);
  Powers(s, n.beta, n.channels, powers);
  // The zeros at the ends stay.
  for (int c = 0; c < n.channels; ++c) ratios[half + c] = g[c] * x[c] * powers[c] / s[c];
  for (int c = 0; c < n.channels; ++c) s[c] = 0;
  for (int i = 0; i < n.size; ++i) {
    for (int c = 0; c < n.channels; ++c) s[c] += ratios[c + i];
  }
  const float factor = 2 * n.alpha * n.beta / n.size;
  for (int c = 0; c < n.channels; ++c) dx[c] = g[c] * powers[c] - factor * x[c] * s[c];
}

FOR_EACH_PROCESSOR
void DenominatorsToPowers(float* __restrict__ s, float factor, float beta, long count, float* __restrict__ powers) {
  for (long i = 0; i < count; ++i) s[i] = 1 + factor * s[i];
  Powers(s, beta, count, powers);
}

FOR_EACH_PROCESSOR
void RatiosBlock(const float* __restrict__ y, const float* __restrict__ x, const float* __restrict__ s, long count,
    float* __restrict__ out) {
  for (long i = 0; i < count; ++i) out[i] = y[i] * x[i] / s[i];
}

FOR_EACH_PROCESSOR
void SubtractProducts(const float* __restrict__ x, const float* __restrict__ sums, float factor, long count,
    float* __restrict__ dx) {
  for (long i = 0; i < count; ++i) dx[i] -= factor * x[i] * sums[i];
}

}  // namespace engine
}  // namespace caffe
