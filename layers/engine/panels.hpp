#ifndef CAFFE_ENGINE_PANELS_HPP_
#define CAFFE_ENGINE_PANELS_HPP_

#include "caffe/engine/convolution_vector.hpp"

namespace caffe {
namespace engine {

// c (m x n, rows `stride` apart) = a (m x k) times n columns + bias, which may be NULL, by the kernels of convolution_product.hpp
// with registers of so many floats. Run only where HasVectors(lanes) is true. The columns are laid out in panels of
// PanelColumns(lanes), the last one narrower, and begin with a panel; n is a multiple of `lanes`.
template <int lanes>
void MultiplyPanels(long m, int n, int k, const float* a, const float* panels, const float* bias, float* c, long stride);

extern template void MultiplyPanels<kLanesOfAvx2>(long, int, int, const float*, const float*, const float*, float*, long);
extern template void MultiplyPanels<kLanesOfAvx512>(long, int, int, const float*, const float*, const float*, float*, long);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_PANELS_HPP_
