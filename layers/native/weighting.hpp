#ifndef CAFFE_WEIGHTING_HPP_
#define CAFFE_WEIGHTING_HPP_

#include <cfloat>
#include <cmath>

#include "caffe/proto/caffe.pb.h"

#ifdef __CUDACC__
#define CAFFE_HOST_DEVICE __host__ __device__
#else
#define CAFFE_HOST_DEVICE
#endif

namespace caffe {

/**
 * @brief The per-example mathematics of the nine losses, on host and device.
 *
 * With P = softmax(scores), p = P[label] and g = P - onehot(label), every loss
 * has the gradient  loss_weight / S * c(p) * g  and reports the value
 * V = sum_i weight(p_i) * distance(p_i) / S,  where  S = sum_i weight(p_i).
 * The twin of layers/weighting.py; the formulas are those of "Derivative
 * Manipulation for General Example Weighting" (arXiv 1905.11233).
 */
template <typename Dtype>
struct Weighting {
  LossParameter_Weighting kind;
  Dtype q;       ///< exponent of GCE
  Dtype lambda;  ///< mode of DM: emphasis peaks at p = lambda / (lambda + 1)
  Dtype beta;    ///< sharpness of DM; IMAE's T when lambda = 1

  /// c(p), the factor of g in the gradient.
  CAFFE_HOST_DEVICE Dtype multiplier(const Dtype p) const {
    switch (kind) {
      case LossParameter_Weighting_MAE:
      case LossParameter_Weighting_MAE_DN:
        return p;
      case LossParameter_Weighting_MSE:
      case LossParameter_Weighting_MSE_DN:
        return 2 * p * (1 - p);
      case LossParameter_Weighting_GCE:
      case LossParameter_Weighting_GCE_DN:
        return pow(p, q);
      case LossParameter_Weighting_DM:
        return emphasis(p) / (2 - 2 * p + Dtype(1e-6));
      default:  // CCE, CCE_DN
        return 1;
    }
  }

  /// The L1 norm of c(p) * g, which is what the papers call an example's weight.
  CAFFE_HOST_DEVICE Dtype emphasis(const Dtype p) const {
    return kind == LossParameter_Weighting_DM
        ? exp(beta * pow(p, lambda) * (1 - p))
        : 2 * multiplier(p) * (1 - p);
  }

  /// What an example adds to S: its emphasis where S is derivative normalised
  /// (the _DN losses and DM), else 1, so that S counts the examples.
  CAFFE_HOST_DEVICE Dtype weight(const Dtype p) const {
    switch (kind) {
      case LossParameter_Weighting_CCE_DN:
      case LossParameter_Weighting_MAE_DN:
      case LossParameter_Weighting_MSE_DN:
      case LossParameter_Weighting_GCE_DN:
      case LossParameter_Weighting_DM:
        return emphasis(p);
      default:
        return 1;
    }
  }

  /// An example's share of the reported value; it never reaches the gradient.
  CAFFE_HOST_DEVICE Dtype distance(const Dtype p) const {
    switch (kind) {
      case LossParameter_Weighting_CCE:
      case LossParameter_Weighting_DM:
        return -log(p < Dtype(FLT_MIN) ? Dtype(FLT_MIN) : p);  // NaN stays
      default:
        return 1 - p;
    }
  }

  /// S from the sum of weights; positive even when every label is ignored.
  CAFFE_HOST_DEVICE Dtype normalizer(const double weight_sum) const {
    return kind == LossParameter_Weighting_CCE
        ? (weight_sum > 1 ? weight_sum : 1) : weight_sum + 1e-8;
  }
};

}  // namespace caffe

#endif  // CAFFE_WEIGHTING_HPP_
