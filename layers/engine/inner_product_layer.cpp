#include "caffe/engine/engine_layers.hpp"

#include <vector>

#include "caffe/engine/matrix_product.hpp"

namespace caffe {
namespace engine {

// x (M, K), weights (N, K) or with `transpose` (K, N), y (M, N).
void InnerProductLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  float* y = top[0]->mutable_cpu_data();
  const float* bias = bias_term_ ? blobs_[1]->cpu_data() : NULL;
  MatrixProduct(M_, N_, K_, Factor{bottom[0]->cpu_data(), K_, false},
      Factor{blobs_[0]->cpu_data(), transpose_ ? N_ : K_, !transpose_}, false, y, N_);
  for (int i = 0; bias && i < M_; ++i) {
    for (int j = 0; j < N_; ++j) y[long(i) * N_ + j] += bias[j];
  }
}

void InnerProductLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  const float* dy = top[0]->cpu_diff();
  if (param_propagate_down_[0]) {
    const float* x = bottom[0]->cpu_data();
    float* dw = blobs_[0]->mutable_cpu_diff();
    if (transpose_) {
      MatrixProduct(K_, N_, M_, Factor{x, K_, true}, Factor{dy, N_, false}, true, dw, N_);
    } else {
      MatrixProduct(N_, K_, M_, Factor{dy, N_, true}, Factor{x, K_, false}, true, dw, K_);
    }
  }
  if (bias_term_ && param_propagate_down_[1]) {
    float* db = blobs_[1]->mutable_cpu_diff();
    for (int i = 0; i < M_; ++i) {
      for (int j = 0; j < N_; ++j) db[j] += dy[long(i) * N_ + j];
    }
  }
  if (propagate_down[0]) {
    MatrixProduct(M_, K_, N_, Factor{dy, N_, false}, Factor{blobs_[0]->cpu_data(), transpose_ ? N_ : K_, transpose_}, false,
        bottom[0]->mutable_cpu_diff(), K_);
  }
}

}  // namespace engine
}  // namespace caffe
