#ifndef CAFFE_ENGINE_CHANNEL_SLICES_HPP_
#define CAFFE_ENGINE_CHANNEL_SLICES_HPP_

#include "caffe/engine/tensor.hpp"

namespace caffe {
namespace engine {

// Writes x to the channels from `first` on of `out`, which has `channels` of them; carries out x's recipe on the way.
void WriteChannels(Tensor* x, int first, int channels, float* out);

// The channels first .. first + count of x.
TensorPtr TakeChannels(Tensor* x, int first, int count);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_CHANNEL_SLICES_HPP_
