#ifndef CAFFE_ENGINE_CREATE_LAYER_HPP_
#define CAFFE_ENGINE_CREATE_LAYER_HPP_

#include <string>

#include "caffe/common.hpp"

namespace caffe {

class LayerParameter;
template <typename Dtype> class Layer;

namespace engine {

// Whether this process, as it is set now, creates engine layers at all.
bool Enabled();

// Why convolutions are slower here than the engine can make them, in words for the user; "" where they are not.
std::string WhySlow();

// The engine's layer for `param`, or NULL for upstream's. Upstream's are wanted where the layer says `engine: CAFFE`,
// where the environment says CAFFE_ENGINE=stock, in GPU mode, and for double.
template <typename Dtype>
inline shared_ptr<Layer<Dtype> > CreateLayer(const LayerParameter& param) { return shared_ptr<Layer<Dtype> >(); }

template <>
shared_ptr<Layer<float> > CreateLayer<float>(const LayerParameter& param);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_CREATE_LAYER_HPP_
