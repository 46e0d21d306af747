#ifndef CAFFE_UNIFIED_WEIGHT_LOSS_LAYER_HPP_
#define CAFFE_UNIFIED_WEIGHT_LOSS_LAYER_HPP_

#include "caffe/layers/weighted_softmax_loss_layer.hpp"

namespace caffe {

/**
 * @brief Derivative manipulation (DM, arXiv 1905.11233): the emphasis of an
 *        example is exp(beta * p^lambda * (1 - p)), with lambda from
 *        loss_param.lamda_p and beta from loss_param.scale. lambda = 1 is IMAE
 *        (arXiv 1903.12141), with beta as its T.
 *
 * Bottoms and tops as in WeightedSoftmaxWithLossLayer.
 */
template <typename Dtype>
class UnifiedWeightLossLayer : public WeightedSoftmaxWithLossLayer<Dtype> {
 public:
  explicit UnifiedWeightLossLayer(const LayerParameter& param)
      : WeightedSoftmaxWithLossLayer<Dtype>(param) {}
  virtual inline const char* type() const { return "UnifiedWeightLoss"; }

 protected:
  virtual LossParameter_Weighting weighting_name() const {
    const LossParameter& param = this->layer_param_.loss_param();
    CHECK(!param.has_weighting()
        || param.weighting() == LossParameter_Weighting_DM)
        << "Layer '" << this->layer_param_.name() << "' (" << this->type()
        << "): its weighting is DM, not "
        << LossParameter_Weighting_Name(param.weighting())
        << "; a WeightedSoftmaxWithLoss takes any weighting.";
    return LossParameter_Weighting_DM;
  }
};

}  // namespace caffe

#endif  // CAFFE_UNIFIED_WEIGHT_LOSS_LAYER_HPP_
