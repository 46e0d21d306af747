#include "caffe/engine/engine_layers.hpp"
#include "caffe/engine/vector_loops.hpp"

namespace caffe {
namespace engine {

void SoftmaxLayer::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  if (inner_num_ != 1) return caffe::SoftmaxLayer<float>::Forward_cpu(bottom, top);
  const float* scores = bottom[0]->cpu_data();
  float* probabilities = top[0]->mutable_cpu_data();
  const size_t classes = bottom[0]->shape(softmax_axis_);
#pragma omp parallel for schedule(static) if (bottom[0]->count() > 1 << 17)
  for (int i = 0; i < outer_num_; ++i) SoftmaxRow(scores + i * classes, classes, probabilities + i * classes);
}

}  // namespace engine
}  // namespace caffe
