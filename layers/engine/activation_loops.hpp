#ifndef CAFFE_ENGINE_ACTIVATION_LOOPS_HPP_
#define CAFFE_ENGINE_ACTIVATION_LOOPS_HPP_

#include <cstddef>

// The inner loops of the activations that are more than a clip. See vector_loops.hpp. Outputs overlap no input.

namespace caffe {
namespace engine {

// Relative errors of the functions are below 1e-6, but of ELU near 0, which upstream, too, computes as exp(x) - 1.
void SigmoidBlock(const float* x, size_t count, float* y);
void TanhBlock(const float* x, size_t count, float* y);
void EluBlock(const float* x, float alpha, size_t count, float* y);  // x, or alpha (exp(x) - 1) where x < 0
void PReluBlock(const float* x, const float* slope, size_t row, size_t count, float* y);  // x, or slope x where x < 0

// dx for the gradient g of y, of which all but PReLU can be told from y alone.
void SigmoidGradient(const float* g, const float* y, size_t count, float* dx);
void TanhGradient(const float* g, const float* y, size_t count, float* dx);
void EluGradient(const float* g, const float* y, float alpha, size_t count, float* dx);  // alpha >= 0
// Also sum[j] += g x where x <= 0.
void PReluGradient(const float* g, const float* x, const float* slope, size_t row, size_t count, float* dx, float* sum);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_ACTIVATION_LOOPS_HPP_
