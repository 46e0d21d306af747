#include "caffe/engine/lrn_loops.hpp"

#include <algorithm>
#include <cmath>

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

// s^-beta. That of AlexNet and GoogLeNet needs no logarithm.
inline __attribute__((always_inline)) void Powers(const Normalisation& n, const float* __restrict__ s,
    float* __restrict__ powers) {
  if (n.beta == 0.75f) {
    for (int c = 0; c < n.channels; ++c) {
      const float root = std::sqrt(s[c]);
      powers[c] = 1 / (root * std::sqrt(root));
    }
  } else {
    for (int c = 0; c < n.channels; ++c) powers[c] = std::pow(s[c], -n.beta);
  }
}

}  // namespace

FOR_EACH_PROCESSOR
void NormalisePixel(const Normalisation& n, const float* __restrict__ x, float* __restrict__ room, float* __restrict__ y) {
  float* s = room + n.channels + n.size;
  Denominators(n, x, room, s);
  Powers(n, s, room);
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
  Powers(n, s, powers);
  // The zeros at the ends stay.
  for (int c = 0; c < n.channels; ++c) ratios[half + c] = g[c] * x[c] * powers[c] / s[c];
  for (int c = 0; c < n.channels; ++c) s[c] = 0;
  for (int i = 0; i < n.size; ++i) {
    for (int c = 0; c < n.channels; ++c) s[c] += ratios[c + i];
  }
  const float factor = 2 * n.alpha * n.beta / n.size;
  for (int c = 0; c < n.channels; ++c) dx[c] = g[c] * powers[c] - factor * x[c] * s[c];
}

}  // namespace engine
}  // namespace caffe
