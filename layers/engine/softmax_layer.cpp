#include "caffe/engine/engine_layers.hpp"

#include <vector>

#include "caffe/engine/vector_loops.hpp"

namespace caffe {
namespace engine {

typedef caffe::SoftmaxLayer<float> Upstream;

namespace {

// Calls work(first float) for all rows of so many classes.
template <typename Work>
void ForRows(long rows, long classes, const Work& work) {
#pragma omp parallel for schedule(static) if (rows * classes > 1 << 17)
  for (long i = 0; i < rows; ++i) work(i * classes);
}

}  // namespace

void SoftmaxLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = inner_num_ > 1 && softmax_axis_ == 1 && IsPrivateData(*bottom[0]);
  if (!private_ && inner_num_ != 1) return Upstream::Forward_cpu(bottom, top);
  const long classes = bottom[0]->shape(softmax_axis_);
  if (!private_) {
    const float* scores = bottom[0]->cpu_data();
    float* probabilities = top[0]->mutable_cpu_data();
    return ForRows(outer_num_, classes, [=](long i) { SoftmaxRow(scores + i, classes, probabilities + i); });
  }
  const TensorPtr x = Data(*bottom[0]);
  const TensorPtr y = NewTensor(x->dims);
  const float* scores = x->Dense().get();
  float* probabilities = y->Fill();
  ForRows(x->dims.pixels(), classes, [=](long i) { SoftmaxRow(scores + i, classes, probabilities + i); });
  SetData(top[0], y);
}

// dx = y (g - the sum of g y over the classes).
void SoftmaxLayer::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  if (!propagate_down[0]) return;
  const TensorPtr y = Data(*top[0]), g = Diff(*top[0]);
  const TensorPtr dx = NewTensor(y->dims);
  const float *probabilities = y->Dense().get(), *gradients = g->Dense().get();
  float* results = dx->Fill();
  const long classes = y->dims.c;
  ForRows(y->dims.pixels(), classes, [=](long i) {
    SoftmaxRowGradient(gradients + i, probabilities + i, classes, results + i);
  });
  SetDiff(bottom[0], dx);
  if (top[0] != bottom[0]) ReleaseDiff(top[0]);
}

}  // namespace engine
}  // namespace caffe
