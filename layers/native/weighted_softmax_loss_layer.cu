#include <vector>

#include "caffe/layers/position_launch.cuh"
#include "caffe/layers/weighted_softmax_loss_layer.hpp"

namespace caffe {

template <typename Dtype, int Size>
__global__ void WeightedSoftmaxForward(const ScoreShape shape,
    const Dtype* score, const Labels<Dtype> labels,
    const Weighting<Dtype> weighting, Dtype* prob, double* weight,
    double* value) {
  const Lanes<Size> lanes;
  for (int position = FirstPosition<Size>(); position < shape.positions();
       position += PositionStep<Size>()) {
    ForwardPosition(lanes, shape, position, score, labels, weighting, prob,
        weight, value);
    if (lanes.rank() == 0 && labels.at(position) == Labels<Dtype>::OUTSIDE) {
      WrongLabel(labels, position);
    }
  }
}

template <typename Dtype, int Size>
__global__ void WeightedSoftmaxBackward(const ScoreShape shape,
    const Dtype* prob, const Labels<Dtype> labels,
    const Weighting<Dtype> weighting, const Dtype* loss_weight,
    const double* normaliser, Dtype* diff) {
  const Lanes<Size> lanes;
  const double scale = *loss_weight / *normaliser;
  for (int position = FirstPosition<Size>(); position < shape.positions();
       position += PositionStep<Size>()) {
    BackwardPosition(lanes, shape, position, prob, labels, weighting, scale,
        diff);
  }
}

/// Computes `parts` partial sums of weights and of values, each with one warp.
__global__ void SumParts(const int count, const int parts,
    const double* weight, const double* value, double* weight_parts,
    double* value_parts) {
  const Lanes<32> lanes;
  for (int part = FirstPosition<32>(); part < parts;
       part += PositionStep<32>()) {
    const double w = SumOfPart(lanes, part, parts, count, weight);
    const double v = SumOfPart(lanes, part, parts, count, value);
    if (lanes.rank() == 0) {
      weight_parts[part] = w;
      value_parts[part] = v;
    }
  }
}

/// Computes S and the reported value from the terms, with one warp.
template <typename Dtype>
__global__ void SumAll(const int count, const double* weight,
    const double* value, const Weighting<Dtype> weighting,
    double* normaliser, Dtype* loss) {
  const Lanes<32> lanes;
  const double w = SumOfPart(lanes, 0, 1, count, weight);
  const double v = SumOfPart(lanes, 0, 1, count, value);
  if (lanes.rank() == 0) {
    *normaliser = weighting.normaliser(w);
    *loss = v / *normaliser;
  }
}

template <typename Dtype>
void WeightedSoftmaxWithLossLayer<Dtype>::Forward_gpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  const ScoreShape shape = score_shape();
  const Labels<Dtype> labels = labels_of(bottom[1]->gpu_data());
  const Dtype* score = bottom[0]->gpu_data();
  Dtype* prob = this->prob_.mutable_gpu_data();
  const int count = shape.positions();
  const int PARTS = 1024;
  terms_.Reshape(vector<int>(1, 2 * (count + PARTS)));
  double* weight = terms_.mutable_gpu_data();
  double* value = weight + count;
  // NOLINT_NEXT_LINE(whitespace/operators)
  (shape.lanes() == 32 ? WeightedSoftmaxForward<Dtype, 32>
      : WeightedSoftmaxForward<Dtype, 1>)<<<BlocksFor(shape), THREADS_A_BLOCK>>>(
      shape, score, labels, weighting_, prob, weight, value);
  CUDA_POST_KERNEL_CHECK;
  int terms = count;
  if (count > PARTS) {
    double* weight_parts = value + count;
    // NOLINT_NEXT_LINE(whitespace/operators)
    SumParts<<<PARTS * 32 / THREADS_A_BLOCK, THREADS_A_BLOCK>>>(count, PARTS,
        weight, value, weight_parts, weight_parts + PARTS);
    CUDA_POST_KERNEL_CHECK;
    weight = weight_parts;
    value = weight_parts + PARTS;
    terms = PARTS;
  }
  // NOLINT_NEXT_LINE(whitespace/operators)
  SumAll<Dtype><<<1, 32>>>(terms, weight, value, weighting_,
      normaliser_.mutable_gpu_data(), top[0]->mutable_gpu_data());
  CUDA_POST_KERNEL_CHECK;
  if (top.size() == 2) {
    top[1]->ShareData(this->prob_);
  }
}

template <typename Dtype>
void WeightedSoftmaxWithLossLayer<Dtype>::Backward_gpu(
    const vector<Blob<Dtype>*>& top, const vector<bool>& propagate_down,
    const vector<Blob<Dtype>*>& bottom) {
  check_propagate_down(propagate_down);
  if (!propagate_down[0]) { return; }
  const ScoreShape shape = score_shape();
  // NOLINT_NEXT_LINE(whitespace/operators)
  (shape.lanes() == 32 ? WeightedSoftmaxBackward<Dtype, 32>
      : WeightedSoftmaxBackward<Dtype, 1>)<<<BlocksFor(shape), THREADS_A_BLOCK>>>(
      shape, this->prob_.gpu_data(), labels_of(bottom[1]->gpu_data()),
      weighting_, top[0]->gpu_diff(), normaliser_.gpu_data(),
      bottom[0]->mutable_gpu_diff());
  CUDA_POST_KERNEL_CHECK;
}

INSTANTIATE_LAYER_GPU_FUNCS(WeightedSoftmaxWithLossLayer);

}  // namespace caffe
