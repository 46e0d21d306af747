#include "caffe/engine/engine_layers.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "caffe/engine/cut.hpp"
#include "caffe/engine/pooling_loops.hpp"
#include "caffe/engine/vector_loops.hpp"

namespace caffe {
namespace engine {

typedef caffe::EltwiseLayer<float> Upstream;

bool EltwiseLayer::Takes(const Blobs& bottom, const Blobs& top) const {
  bool any = false;
  for (size_t i = 0; i < bottom.size(); ++i) {
    any = any || IsPrivateData(*bottom[i]);
    if (bottom[i] == top[0]) return false;
  }
  if (op_ == EltwiseParameter_EltwiseOp_PROD && !stable_prod_grad_) return false;
  return any && (op_ != EltwiseParameter_EltwiseOp_MAX || bottom.size() <= 256);  // the number of a blob fits a byte
}

void EltwiseLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = Takes(bottom, top);
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  const Dims dims = DimsOf(*top[0]);
  if (op_ == EltwiseParameter_EltwiseOp_SUM) {
    TensorPtr out(new Tensor(dims));
    for (size_t i = 0; i < bottom.size(); ++i) out->Add(Data(*bottom[i]).get(), coeffs_[i]);
    return SetData(top[0], out);
  }
  std::vector<TensorPtr> in;
  for (size_t i = 0; i < bottom.size(); ++i) {
    in.push_back(Data(*bottom[i]));
    in[i]->Dense();
  }
  const TensorPtr out = NewTensor(dims);
  float* results = out->Fill();
  const bool is_max = op_ == EltwiseParameter_EltwiseOp_MAX;
  if (is_max) from_.resize(dims.count());
  const Cut cut(dims);
  cut.Run([&](int, size_t first, size_t count, float* room) {
    const auto values = [&](size_t i) { return in[i]->Dense().get() + first; };
    float* to = results + first;
    if (!is_max) {
      MultiplyBlock(values(0), values(1), count, to);
      for (size_t i = 2; i < in.size(); ++i) MultiplyBlock(to, values(i), count, to);
      return;
    }
    int32_t* from = reinterpret_cast<int32_t*>(room);
    std::copy(values(1), values(1) + count, to);  // of equal ones upstream, too, takes the second
    std::fill_n(from, count, 1);
    for (size_t i = 0; i < in.size(); ++i) {
      if (i != 1) MaxTap(values(i), i, count, to, from);
    }
    std::copy(from, from + count, from_.begin() + first);
  });
  SetData(top[0], out);
}

void EltwiseLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  const TensorPtr g = Diff(*top[0]);
  for (size_t i = 0; i < bottom.size(); ++i) {
    if (!propagate_down[i]) continue;
    TensorPtr dx = g;  // the same tensor for all: it is computed once
    if (op_ != EltwiseParameter_EltwiseOp_SUM) {
      dx = GradientOf(i, g.get(), bottom);
    } else if (coeffs_[i] != 1) {
      dx.reset(new Tensor(g->dims));
      dx->Add(g.get(), coeffs_[i]);
    }
    SetDiff(bottom[i], dx);
    if (IsPrivateData(*bottom[i]) && !bottom[i]->diff()->looked_at()) Data(*bottom[i])->gradient_of_a_reader = dx;
  }
  ReleaseDiff(top[0]);
}

// Of a product, g times the other factors; of maxima, g where this blob had it.
TensorPtr EltwiseLayer::GradientOf(size_t index, Tensor* g, const Blobs& bottom) const {
  const float* gradients = g->Dense().get();
  const bool is_max = op_ == EltwiseParameter_EltwiseOp_MAX;
  std::vector<TensorPtr> others;
  for (size_t i = 0; i < bottom.size() && !is_max; ++i) {
    if (i == index) continue;
    others.push_back(Data(*bottom[i]));
    others.back()->Dense();
  }
  const TensorPtr dx = NewTensor(g->dims);
  float* results = dx->Fill();
  const Cut cut(g->dims);
  cut.Run([&](int, size_t first, size_t count, float*) {
    float* to = results + first;
    if (is_max) {
      std::fill_n(to, count, 0.f);
      MaxTapGradient(gradients + first, from_.data() + first, index, count, to);
      return;
    }
    const float* product = gradients + first;
    for (size_t i = 0; i < others.size(); ++i, product = to) {
      MultiplyBlock(product, others[i]->Dense().get() + first, count, to);
    }
  });
  return dx;
}

}  // namespace engine
}  // namespace caffe
