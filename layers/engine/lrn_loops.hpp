#ifndef CAFFE_ENGINE_LRN_LOOPS_HPP_
#define CAFFE_ENGINE_LRN_LOOPS_HPP_

namespace caffe {
namespace engine {

// Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3), as Caffe has it:
//   y = x s^-beta,   s = k + alpha / size * the sum of x^2 over `size` channels around.
struct Normalisation {
  int channels, size;
  float alpha, beta, k;
  // Floats of the room that the loops need.
  int RoomSize() const { return 3 * (channels + size); }
};

// For one pixel.
void NormalisePixel(const Normalisation& n, const float* x, float* room, float* y);
// dx of the gradient g of y: g s^-beta - 2 alpha beta / size * x * the sum of g y / s over the channels around.
void NormalisePixelGradient(const Normalisation& n, const float* x, const float* g, float* room, float* dx);

// Within channels, for many pixels. s: of sums of squares, 1 + factor * s; powers: s^-beta.
void DenominatorsToPowers(float* s, float factor, float beta, long count, float* powers);
void RatiosBlock(const float* y, const float* x, const float* s, long count, float* out);  // out = y x / s
void SubtractProducts(const float* x, const float* sums, float factor, long count, float* dx);  // dx -= factor x sums

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_LRN_LOOPS_HPP_
