#include <vector>

#include "caffe/layers/extract_prob_layer.hpp"
#include "caffe/layers/position_kernels.hpp"

namespace caffe {

template <typename Dtype>
void ExtractProbLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const int axis = bottom[0]->CanonicalAxisIndex(
      this->layer_param_.softmax_param().axis());
  outer_num_ = bottom[0]->count(0, axis);
  classes_ = bottom[0]->shape(axis);
  inner_num_ = bottom[0]->count(axis + 1);
  CHECK_EQ(outer_num_ * inner_num_, bottom[1]->count())
      << "Layer '" << this->layer_param_.name() << "': probabilities of shape "
      << bottom[0]->shape_string() << " need one label a position.";
  vector<int> shape = bottom[0]->shape();
  shape[axis] = 1;
  for (int t = 0; t < top.size(); ++t) {
    top[t]->Reshape(shape);
  }
}

template <typename Dtype>
void ExtractProbLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const Dtype* prob = bottom[0]->cpu_data();
  const LossParameter& param = this->layer_param_.loss_param();
  const Labels<Dtype> labels = {bottom[1]->cpu_data(), classes_,
      param.has_ignore_label(), param.ignore_label()};
  Dtype* label_prob = top[0]->mutable_cpu_data();
  Dtype* largest = top.size() > 1 ? top[1]->mutable_cpu_data() : NULL;
  const ScoreShape shape = {outer_num_, classes_, inner_num_};
  for (int position = 0; position < shape.positions(); ++position) {
    CHECK(labels.class_at(position) >= 0 || labels.is_ignored(position))
        << "Layer '" << this->layer_param_.name() << "': label "
        << labels.label[position] << " of example " << position / inner_num_
        << " is outside 0.." << classes_ - 1
        << ", the classes of its probabilities.";
    ExtractPosition(OneLane(), shape, position, prob, labels, label_prob,
        largest);
  }
}

template <typename Dtype>
void ExtractProbLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  for (int b = 0; b < propagate_down.size(); ++b) {
    CHECK(!propagate_down[b]) << this->type()
        << " Layer has no backward pass: set propagate_down: false for both "
        << "of its bottoms.";
  }
}

#ifdef CPU_ONLY
STUB_GPU(ExtractProbLayer);
#endif

INSTANTIATE_CLASS(ExtractProbLayer);
REGISTER_LAYER_CLASS(ExtractProb);

}  // namespace caffe
