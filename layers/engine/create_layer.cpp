#include "caffe/engine/create_layer.hpp"

#include <cstdlib>
#include <map>
#include <string>

#include "caffe/engine/convolution_vector.hpp"
#include "caffe/engine/engine_layers.hpp"
#include "caffe/engine/shape_checked.hpp"
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

namespace {

struct Kind {
  bool (*is_ours)(const LayerParameter&);
  Layer<float>* (*make)(const LayerParameter&);
};

template <typename Made>
Layer<float>* Make(const LayerParameter& param) { return new ShapeChecked<Made>(param); }

bool Always(const LayerParameter&) { return true; }

bool IfNotNegative(const LayerParameter& param) { return param.elu_param().alpha() >= 0; }

// Whether a layer's `field`, such as convolution_param, leaves the choice of its engine to Caffe.
#define CAFFE_ENGINE_DEFAULT(Field, field) \
  [](const LayerParameter& param) { return param.field().engine() == Field::DEFAULT; }

// The layers of the engine by type.
const std::map<std::string, Kind>& kinds() {
  static const std::map<std::string, Kind>* kinds = new std::map<std::string, Kind>{
      {"BatchNorm", {Always, Make<BatchNormLayer>}},
      {"Bias", {Always, Make<BiasLayer>}},
      {"Concat", {Always, Make<ConcatLayer>}},
      {"Convolution", {CAFFE_ENGINE_DEFAULT(ConvolutionParameter, convolution_param), Make<ConvolutionLayer>}},
      {"Crop", {Always, Make<CropLayer>}},
      {"Deconvolution", {CAFFE_ENGINE_DEFAULT(ConvolutionParameter, convolution_param), Make<DeconvolutionLayer>}},
      {"Dropout", {Always, Make<DropoutLayer>}},
      {"ELU", {IfNotNegative, Make<ActivationLayer<caffe::ELULayer<float> > >}},
      {"Eltwise", {Always, Make<EltwiseLayer>}},
      {"InnerProduct", {Always, Make<InnerProductLayer>}},
      {"LRN", {CAFFE_ENGINE_DEFAULT(LRNParameter, lrn_param), Make<LRNLayer>}},
      {"PReLU", {Always, Make<ActivationLayer<caffe::PReLULayer<float> > >}},
      {"Pooling", {CAFFE_ENGINE_DEFAULT(PoolingParameter, pooling_param), Make<PoolingLayer>}},
      {"ReLU", {CAFFE_ENGINE_DEFAULT(ReLUParameter, relu_param), Make<ReLULayer>}},
      {"Scale", {Always, Make<ScaleLayer>}},
      {"Sigmoid", {CAFFE_ENGINE_DEFAULT(SigmoidParameter, sigmoid_param), Make<ActivationLayer<caffe::SigmoidLayer<float> > >}},
      {"Slice", {Always, Make<SliceLayer>}},
      {"Softmax", {CAFFE_ENGINE_DEFAULT(SoftmaxParameter, softmax_param), Make<SoftmaxLayer>}},
      {"Split", {Always, Make<SplitLayer>}},
      {"TanH", {CAFFE_ENGINE_DEFAULT(TanHParameter, tanh_param), Make<ActivationLayer<caffe::TanHLayer<float> > >}},
  };
  return *kinds;
}

}  // namespace

template <>
shared_ptr<Layer<float> > CreateLayer<float>(const LayerParameter& param) {
  const std::map<std::string, Kind>::const_iterator kind = kinds().find(param.type());
  const bool ours = Enabled() && kind != kinds().end() && kind->second.is_ours(param);
  return shared_ptr<Layer<float> >(ours ? kind->second.make(param) : NULL);
}

}  // namespace engine
}  // namespace caffe
