#include "caffe/engine/create_layer.hpp"

#include <cstdlib>
#include <string>

#include "caffe/engine/convolution_vector.hpp"
#include "caffe/engine/engine_layers.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {
namespace engine {

bool Enabled() {
#ifdef USE_ONEDNN
  const char* name = std::getenv("CAFFE_ENGINE");
  const std::string wanted = name ? name : "";
  CHECK(wanted == "" || wanted == "onednn" || wanted == "stock")
      << "the environment has CAFFE_ENGINE=" << wanted << ": set it to onednn (the default) or stock";
  return wanted != "stock" && Caffe::mode() == Caffe::CPU;
#else
  return false;
#endif
}

std::string WhySlow() {
  if (!Enabled()) return "";
#ifdef CAFFE_ENGINE_VECTOR
  if (HasVectors()) return "";
  return "this processor has no AVX2 and FMA, which the engine's own convolutions need: oneDNN computes all of them, "
      "several times slower";
#else
  return "the engine's own convolutions need GCC and x86-64: oneDNN computes all of them, several times slower";
#endif
}

template <>
shared_ptr<Layer<float> > CreateLayer<float>(const LayerParameter& param) {
  Layer<float>* layer = NULL;
  if (Enabled()) {
    const std::string& type = param.type();
    if (type == "Convolution" && param.convolution_param().engine() == ConvolutionParameter_Engine_DEFAULT) {
      layer = new ConvolutionLayer(param);
    } else if (type == "BatchNorm") {
      layer = new BatchNormLayer(param);
    } else if (type == "Scale") {
      layer = new ScaleLayer(param);
    } else if (type == "ReLU" && param.relu_param().engine() == ReLUParameter_Engine_DEFAULT) {
      layer = new ReLULayer(param);
    } else if (type == "Eltwise") {
      layer = new EltwiseLayer(param);
    } else if (type == "Split") {
      layer = new SplitLayer(param);
    } else if (type == "Concat") {
      layer = new ConcatLayer(param);
    } else if (type == "Dropout") {
      layer = new DropoutLayer(param);
    } else if (type == "LRN" && param.lrn_param().engine() == LRNParameter_Engine_DEFAULT) {
      layer = new LRNLayer(param);
    } else if (type == "InnerProduct") {
      layer = new InnerProductLayer(param);
    } else if (type == "Pooling" && param.pooling_param().engine() == PoolingParameter_Engine_DEFAULT) {
      layer = new PoolingLayer(param);
    } else if (type == "Softmax" && param.softmax_param().engine() == SoftmaxParameter_Engine_DEFAULT) {
      layer = new SoftmaxLayer(param);
    } else if (type == "Deconvolution" && param.convolution_param().engine() == ConvolutionParameter_Engine_DEFAULT) {
      layer = new DeconvolutionLayer(param);
    } else if (type == "Sigmoid" && param.sigmoid_param().engine() == SigmoidParameter_Engine_DEFAULT) {
      layer = new ActivationLayer<caffe::SigmoidLayer<float> >(param);
    } else if (type == "TanH" && param.tanh_param().engine() == TanHParameter_Engine_DEFAULT) {
      layer = new ActivationLayer<caffe::TanHLayer<float> >(param);
    } else if (type == "ELU" && param.elu_param().alpha() >= 0) {
      layer = new ActivationLayer<caffe::ELULayer<float> >(param);
    } else if (type == "PReLU") {
      layer = new ActivationLayer<caffe::PReLULayer<float> >(param);
    } else if (type == "Slice") {
      layer = new SliceLayer(param);
    } else if (type == "Crop") {
      layer = new CropLayer(param);
    } else if (type == "Bias") {
      layer = new BiasLayer(param);
    }
  }
  return shared_ptr<Layer<float> >(layer);
}

}  // namespace engine
}  // namespace caffe
