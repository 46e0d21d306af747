// Which nets get the engine's layers.
#include <string>
#include <typeinfo>

#include "gtest/gtest.h"

#include "caffe/engine/create_layer.hpp"
#include "caffe/layer.hpp"
#include "caffe/layer_factory.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {
namespace engine {

// Whether a layer of this type is of a class in the namespace `engine`, whose name the compiler makes part of the class's.
template <typename Dtype>
bool IsOurs(const std::string& type) {
  LayerParameter param;
  param.set_type(type);
  const shared_ptr<Layer<Dtype> > made = LayerRegistry<Dtype>::CreateLayer(param);
  const Layer<Dtype>& layer = *made;
  return std::string(typeid(layer).name()).find("engine") != std::string::npos;
}

// The engine computes in single precision only.
TEST(CreateLayerTest, TestNetsOfDoublesHaveUpstreamsLayers) {
  if (!Enabled()) return;
  for (const char* type : {"BatchNorm", "Bias", "Concat", "Convolution", "Crop", "Deconvolution", "Dropout", "ELU", "Eltwise",
                           "InnerProduct", "LRN", "PReLU", "Pooling", "ReLU", "Scale", "Sigmoid", "Slice", "Softmax", "Split",
                           "TanH"}) {
    SCOPED_TRACE(type);
    EXPECT_TRUE(IsOurs<float>(type));
    EXPECT_FALSE(IsOurs<double>(type));
  }
}

}  // namespace engine
}  // namespace caffe
