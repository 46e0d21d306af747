#ifndef CAFFE_EXTRACT_PROB_LAYER_HPP_
#define CAFFE_EXTRACT_PROB_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief Extracts p, the softmax probability of the label.
 *
 * @param bottom input Blob vector (length 2)
 *   -# @f$ (N \times C \times ...) @f$ the probabilities
 *   -# @f$ (N \times 1 \times ...) @f$ the labels, integers in [0, C)
 * @param top output Blob vector (length 1 or 2)
 *   -# @f$ (N \times 1 \times ...) @f$ the label's probability
 *   -# @f$ (N \times 1 \times ...) @f$ the largest probability
 *
 * The class axis is softmax_param.axis. For a label outside [0, C), p = 0 if the
 * label is loss_param.ignore_label; otherwise the layer ends the process (on a
 * GPU: p is NaN). There is no backward pass.
 */
template <typename Dtype>
class ExtractProbLayer : public Layer<Dtype> {
 public:
  explicit ExtractProbLayer(const LayerParameter& param)
      : Layer<Dtype>(param) {}
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "ExtractProb"; }
  virtual inline int ExactNumBottomBlobs() const { return 2; }
  virtual inline int MinTopBlobs() const { return 1; }
  virtual inline int MaxTopBlobs() const { return 2; }
  virtual inline bool AllowForceBackward(const int bottom_index) const {
    return false;
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

  int outer_num_, classes_, inner_num_;
};

}  // namespace caffe

#endif  // CAFFE_EXTRACT_PROB_LAYER_HPP_
