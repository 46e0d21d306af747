#include <cstdlib>
#include <string>
#include <vector>

#include "caffe/layers/read_weighting.hpp"
#include "caffe/layers/weighted_softmax_loss_layer.hpp"

namespace caffe {

template <typename Dtype>
void WeightedSoftmaxWithLossLayer<Dtype>::LayerSetUp(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  SoftmaxWithLossLayer<Dtype>::LayerSetUp(bottom, top);
  const LossParameter_Weighting name = weighting_name();
  const std::string wrong = ReadWeighting(
      this->layer_param_.loss_param(), name, &weighting_);
  CHECK(wrong.empty()) << "Layer '" << this->layer_param_.name() << "' ("
      << this->type() << ", " << LossParameter_Weighting_Name(name) << "): "
      << wrong;
  normaliser_.Reshape(vector<int>(1, 1));
}

template <typename Dtype>
LossParameter_Weighting
WeightedSoftmaxWithLossLayer<Dtype>::weighting_name() const {
  const LossParameter& param = this->layer_param_.loss_param();
  if (param.has_weighting()) {
    return param.weighting();
  }
  const char* name = std::getenv("CAFFE_WEIGHTING");
  CHECK(name) << "Layer '" << this->layer_param_.name() << "' ("
      << this->type() << ") does not say which weighting it means: set "
      << "loss_param { weighting: ... } in the prototxt, or the environment "
      << "variable CAFFE_WEIGHTING.";
  LossParameter_Weighting weighting;
  if (!LossParameter_Weighting_Parse(name, &weighting)) {
    std::string known;
    for (int i = 0; i < LossParameter_Weighting_Weighting_ARRAYSIZE; ++i) {
      if (LossParameter_Weighting_IsValid(i)) {
        known += " " + LossParameter_Weighting_Name(LossParameter_Weighting(i));
      }
    }
    LOG(FATAL) << "CAFFE_WEIGHTING is '" << name << "', which is none of"
        << known << ".";
  }
  return weighting;
}

template <typename Dtype>
void WeightedSoftmaxWithLossLayer<Dtype>::check_propagate_down(
    const vector<bool>& propagate_down) const {
  for (int b = 1; b < propagate_down.size(); ++b) {
    CHECK(!propagate_down[b]) << this->type()
        << " Layer cannot backpropagate to its "
        << (b == 1 ? "label" : "prob_groundtruth") << " inputs.";
  }
}

template <typename Dtype>
ScoreShape WeightedSoftmaxWithLossLayer<Dtype>::score_shape() const {
  const ScoreShape shape = {this->outer_num_,
      this->prob_.shape(this->softmax_axis_), this->inner_num_};
  return shape;
}

template <typename Dtype>
Labels<Dtype> WeightedSoftmaxWithLossLayer<Dtype>::labels_of(
    const Dtype* label) const {
  const Labels<Dtype> labels = {label,
      this->prob_.shape(this->softmax_axis_), this->has_ignore_label_,
      this->has_ignore_label_ ? this->ignore_label_ : 0};
  return labels;
}

template <typename Dtype>
int WeightedSoftmaxWithLossLayer<Dtype>::label_at(const Labels<Dtype>& labels,
    const int position) const {
  const int k = labels.at(position);
  CHECK_NE(k, Labels<Dtype>::OUTSIDE + 0) << "Layer '"
      << this->layer_param_.name() << "': label " << labels.label[position]
      << " of example " << position / this->inner_num_
      << " is outside 0.." << labels.classes - 1
      << ", the classes of its scores.";
  return k;
}

template <typename Dtype>
void WeightedSoftmaxWithLossLayer<Dtype>::Forward_cpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  this->softmax_layer_->Forward(this->softmax_bottom_vec_,
                                this->softmax_top_vec_);
  const Dtype* prob = this->prob_.cpu_data();
  const Labels<Dtype> labels = labels_of(bottom[1]->cpu_data());
  const ScoreShape shape = score_shape();
  double weight_sum = 0;
  double value = 0;
  for (int position = 0; position < shape.positions(); ++position) {
    const int k = label_at(labels, position);
    if (k < 0) { continue; }
    const Dtype p = prob[shape.first(position) + k * shape.inner];
    const Dtype weight = weighting_.weight(p);
    weight_sum += weight;
    value += weight * weighting_.distance(p);
  }
  const double normaliser = weighting_.normaliser(weight_sum);
  normaliser_.mutable_cpu_data()[0] = normaliser;
  top[0]->mutable_cpu_data()[0] = value / normaliser;
  if (top.size() == 2) {
    top[1]->ShareData(this->prob_);
  }
}

template <typename Dtype>
void WeightedSoftmaxWithLossLayer<Dtype>::Backward_cpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  check_propagate_down(propagate_down);
  if (!propagate_down[0]) { return; }
  const Dtype* prob = this->prob_.cpu_data();
  const Labels<Dtype> labels = labels_of(bottom[1]->cpu_data());
  const ScoreShape shape = score_shape();
  Dtype* diff = bottom[0]->mutable_cpu_diff();
  const double scale = top[0]->cpu_diff()[0] / normaliser_.cpu_data()[0];
  for (int position = 0; position < shape.positions(); ++position) {
    label_at(labels, position);
    BackwardPosition(OneLane(), shape, position, prob, labels, weighting_,
        scale, diff);
  }
}

#ifdef CPU_ONLY
STUB_GPU(WeightedSoftmaxWithLossLayer);
#endif

INSTANTIATE_CLASS(WeightedSoftmaxWithLossLayer);
REGISTER_LAYER_CLASS(WeightedSoftmaxWithLoss);

}  // namespace caffe
