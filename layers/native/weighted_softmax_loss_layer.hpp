#ifndef CAFFE_WEIGHTED_SOFTMAX_WITH_LOSS_LAYER_HPP_
#define CAFFE_WEIGHTED_SOFTMAX_WITH_LOSS_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/layers/softmax_loss_layer.hpp"
#include "caffe/layers/position_kernels.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief Softmax loss whose gradient has the L1 norm 2 (1 - p) c(p) / S, with a
 *        chosen function c of p, the probability given to the label.
 *
 * loss_param.weighting names the function (see Weighting). If the prototxt does
 * not, as the released ones, the environment variable CAFFE_WEIGHTING names it.
 * There is no default.
 *
 * @param bottom input Blob vector (length 3)
 *   -# @f$ (N \times C \times ...) @f$ the scores
 *   -# @f$ (N \times 1 \times ...) @f$ the labels, integers in [0, C)
 *   -# the labels' probabilities; required, as in the released nets, but not read
 * @param top output Blob vector (length 1 or 2)
 *   -# the reported value V; the gradient is not the derivative of V
 *   -# the softmax probabilities
 *
 * loss_param.normalization and normalize are accepted and have no effect.
 */
template <typename Dtype>
class WeightedSoftmaxWithLossLayer : public SoftmaxWithLossLayer<Dtype> {
 public:
  explicit WeightedSoftmaxWithLossLayer(const LayerParameter& param)
      : SoftmaxWithLossLayer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "WeightedSoftmaxWithLoss"; }
  virtual inline int ExactNumBottomBlobs() const { return 3; }
  virtual inline bool AllowForceBackward(const int bottom_index) const {
    return bottom_index == 0;
  }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);

  /// The weighting that the layer's parameters or the environment name.
  virtual LossParameter_Weighting weighting_name() const;

  /// Ends the process if a gradient of labels or of prob_groundtruth is asked for.
  void check_propagate_down(const vector<bool>& propagate_down) const;

  ScoreShape score_shape() const;
  Labels<Dtype> labels_of(const Dtype* label) const;

  /// The label of a position; -1 if it is ignored. Ends the process at any other
  /// label that is not a class.
  int label_at(const Labels<Dtype>& labels, const int position) const;

  Weighting<Dtype> weighting_;
  /// S of the last forward pass: one value, on the CPU or GPU that computed it.
  Blob<double> normaliser_;
  /// On the GPU, the positions' terms of S and V, and partial sums of them.
  Blob<double> terms_;
};

}  // namespace caffe

#endif  // CAFFE_WEIGHTED_SOFTMAX_WITH_LOSS_LAYER_HPP_
