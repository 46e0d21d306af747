#include "caffe/layers/unified_weight_loss_layer.hpp"

namespace caffe {

INSTANTIATE_CLASS(UnifiedWeightLossLayer);
REGISTER_LAYER_CLASS(UnifiedWeightLoss);

}  // namespace caffe
