#ifndef CAFFE_WEIGHTING_HPP_
#define CAFFE_WEIGHTING_HPP_

#include "caffe/layers/weighting_rows.hpp"

namespace caffe {

/**
 * @brief The per-example mathematics of the losses, on host and device.
 *
 * With P = softmax(scores), p = P[label] and g = P - onehot(label), every loss
 * has the gradient  loss_weight / S * c(p) * g  and reports the value
 * V = sum_i weight(p_i) * distance(p_i) / S,  where  S = sum_i weight(p_i).
 * The twin of layers/weighting.py; the formulas are those of layers/table.py,
 * from which weighting_rows.hpp is written when Caffe is built.
 *
 * multiplier(p) is c(p), the factor of g in the gradient. emphasis(p) is the L1
 * norm of c(p) * g, which is what the papers call an example's weight.
 * distance(p) is an example's share of the reported value; it never reaches the
 * gradient.
 */
template <typename Dtype>
struct Weighting : WeightingRows<Dtype> {
  /// What an example adds to S: its emphasis where S is derivative normalised
  /// (the _DN losses and DM), else 1, so that S counts the examples.
  CAFFE_HOST_DEVICE Dtype weight(const Dtype p) const {
    return this->derivative_normalised() ? this->emphasis(p) : 1;
  }

  /// S from the sum of weights; positive even when every label is ignored.
  CAFFE_HOST_DEVICE Dtype normaliser(const double weight_sum) const {
    return this->name == LossParameter_Weighting_CCE
        ? (weight_sum > 1 ? weight_sum : 1) : weight_sum + 1e-8;
  }
};

}  // namespace caffe

#endif  // CAFFE_WEIGHTING_HPP_
