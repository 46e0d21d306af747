#include <vector>

#include "caffe/layers/extract_prob_layer.hpp"
#include "caffe/layers/position_launch.cuh"

namespace caffe {

template <typename Dtype, int Size>
__global__ void ExtractProbForward(const ScoreShape shape, const Dtype* prob,
    const Labels<Dtype> labels, Dtype* label_prob, Dtype* largest) {
  const Lanes<Size> lanes;
  for (int position = FirstPosition<Size>(); position < shape.positions();
       position += PositionStep<Size>()) {
    ExtractPosition(lanes, shape, position, prob, labels, label_prob, largest);
  }
}

template <typename Dtype>
void ExtractProbLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const ScoreShape shape = {outer_num_, classes_, inner_num_};
  const LossParameter& param = this->layer_param_.loss_param();
  const Labels<Dtype> labels = {bottom[1]->gpu_data(), classes_,
      param.has_ignore_label(), param.ignore_label()};
  // NOLINT_NEXT_LINE(whitespace/operators)
  (shape.lanes() == 32 ? ExtractProbForward<Dtype, 32>
      : ExtractProbForward<Dtype, 1>)<<<BlocksFor(shape), THREADS_A_BLOCK>>>(
      shape, bottom[0]->gpu_data(), labels, top[0]->mutable_gpu_data(),
      top.size() > 1 ? top[1]->mutable_gpu_data() : NULL);
  CUDA_POST_KERNEL_CHECK;
}

template <typename Dtype>
void ExtractProbLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  Backward_cpu(top, propagate_down, bottom);  // which only checks that no gradient is asked for
}

INSTANTIATE_LAYER_GPU_FUNCS(ExtractProbLayer);

}  // namespace caffe
