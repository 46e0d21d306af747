#ifndef CAFFE_ENGINE_VECTOR_LOOPS_HPP_
#define CAFFE_ENGINE_VECTOR_LOOPS_HPP_

#include <cstddef>

// The inner loops of the passes, for one thread and a block that fits the first cache. The compiler makes one version
// for each generation of processors; the loader picks. Channel values come as rows of `row` floats, the channels repeated
// until a row is worth a loop: element i has the channel values of index i % row, and blocks start at a row's start.

namespace caffe {
namespace engine {

// Any x, base and g may be out.
// out = base + (x - mean) * scale + shift; base may be NULL, for none.
void AffineBlock(const float* base, const float* x, const float* mean, const float* scale, const float* shift, size_t row,
    size_t count, float* out);
// out = max((x - mean) * scale + shift, 0); NaN stays NaN.
void AffineReluBlock(const float* x, const float* mean, const float* scale, const float* shift, size_t row, size_t count,
    float* out);
void AddBlock(const float* base, const float* x, size_t count, float* out);  // out = base + x
void MultiplyBlock(const float* x, const float* factors, size_t count, float* out);
void ReluBlock(const float* x, float slope, size_t count, float* out);
void MaskBlock(const float* x, const float* mask, float slope, size_t count, float* out);
// The mask is (m - mean) * scale + shift.
void AffineMaskBlock(const float* x, const float* m, const float* mean, const float* scale, const float* shift,
    float slope, size_t row, size_t count, float* out);
// sum[j] += x
void SumBlock(const float* x, size_t row, size_t count, float* sum);
// sum[j] += x - origin, squares[j] += (x - origin)^2
void MomentsBlock(const float* x, const float* origin, size_t row, size_t count, float* sum, float* squares);
// sum[j] += g, products[j] += g * (x - mean)
void ProductsBlock(const float* g, const float* x, const float* mean, size_t row, size_t count, float* sum,
    float* products);
// out = g * a + (x - mean) * b + c, sum[j] += out
void CombineBlock(const float* g, const float* a, const float* x, const float* mean, const float* b, const float* c,
    size_t row, size_t count, float* out, float* sum);
// out = exp(x - max(x)) / its sum; relative error at most 1e-6, and 0 where that would be no normal number.
void SoftmaxRow(const float* x, size_t count, float* out);
// out = y (g - the sum of g y), the gradient of the softmax y
void SoftmaxRowGradient(const float* g, const float* y, size_t count, float* out);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_VECTOR_LOOPS_HPP_
