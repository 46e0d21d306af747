#ifndef CAFFE_WEIGHTING_HPP_
#define CAFFE_WEIGHTING_HPP_

#include "caffe/layers/weighting_rows.hpp"

namespace caffe {

/**
 * @brief The losses as functions of p, for one example, on host and device.
 *
 * With P = softmax(scores), p = P[label] and g = P - onehot(label), every loss
 * has the gradient  loss_weight / S * c(p) * g  and reports the value
 * V = sum_i weight(p_i) * distance(p_i) / S,  where  S = sum_i weight(p_i).
 * layers/weighting.py computes the same in Python. The formulas come from
 * layers/table.py, from which weighting_rows.hpp is generated when Caffe is built.
 *
 * multiplier(p) is c(p), the factor of g in the gradient. emphasis(p) is the L1
 * norm of c(p) * g, which the papers call an example's weight. V is the weighted
 * mean of distance(p); it is not used for the gradient.
 */
template <typename Dtype>
struct Weighting : WeightingRows<Dtype> {
  /// The term of an example in S: its emphasis if the loss is derivative
  /// normalised (_DN and DM), else 1, so that S counts the examples.
  CAFFE_HOST_DEVICE Dtype weight(const Dtype p) const {
    return this->derivative_normalised() ? this->emphasis(p) : 1;
  }

  /// S from the sum of weights; positive even when every label is ignored. The
  /// sum of a batch may be too large for single precision.
  CAFFE_HOST_DEVICE double normaliser(const double weight_sum) const {
    return this->name == LossParameter_Weighting_CCE
        ? (weight_sum > 1 ? weight_sum : 1) : weight_sum + 1e-8;
  }
};

}  // namespace caffe

#endif  // CAFFE_WEIGHTING_HPP_
