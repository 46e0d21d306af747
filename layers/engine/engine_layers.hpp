#ifndef CAFFE_ENGINE_ENGINE_LAYERS_HPP_
#define CAFFE_ENGINE_ENGINE_LAYERS_HPP_

#include <cstdint>
#include <memory>
#include <vector>

#include "caffe/engine/convolution.hpp"
#include "caffe/engine/tensor.hpp"
#include "caffe/engine/weights_mark.hpp"
#include "caffe/layers/batch_norm_layer.hpp"
#include "caffe/layers/bias_layer.hpp"
#include "caffe/layers/concat_layer.hpp"
#include "caffe/layers/conv_layer.hpp"
#include "caffe/layers/crop_layer.hpp"
#include "caffe/layers/deconv_layer.hpp"
#include "caffe/layers/dropout_layer.hpp"
#include "caffe/layers/eltwise_layer.hpp"
#include "caffe/layers/elu_layer.hpp"
#include "caffe/layers/inner_product_layer.hpp"
#include "caffe/layers/lrn_layer.hpp"
#include "caffe/layers/pooling_layer.hpp"
#include "caffe/layers/prelu_layer.hpp"
#include "caffe/layers/relu_layer.hpp"
#include "caffe/layers/scale_layer.hpp"
#include "caffe/layers/sigmoid_layer.hpp"
#include "caffe/layers/slice_layer.hpp"
#include "caffe/layers/softmax_layer.hpp"
#include "caffe/layers/split_layer.hpp"
#include "caffe/layers/tanh_layer.hpp"

// Upstream's layers with their CPU passes replaced: set-up, shapes, parameters and the GPU passes are inherited. Where the
// input is not of the kind that a pass was written for, it calls upstream's. Backward does what the last Forward did.

namespace caffe {
namespace engine {

typedef std::vector<Blob<float>*> Blobs;

#define CAFFE_ENGINE_PASSES                              \
 protected:                                              \
  virtual void Forward_cpu(const Blobs& bottom, const Blobs& top); \
  virtual void Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom)

// What Convolution and Deconvolution have in common: a two-dimensional convolution of four-dimensional blobs.
template <typename Upstream>
class WithConvolution : public Upstream {
 public:
  explicit WithConvolution(const LayerParameter& param) : Upstream(param), shape_() {}

 protected:
  // The convolution with this layer's kernel from blobs as `in` to blobs as `out`, made anew if a shape has changed.
  void SetConvolution(const Blob<float>& in, const Blob<float>& out, bool keep_filters = false) {
    ConvShape shape = ConvShape();
    const bool plane = in.num_axes() == 4 && this->channel_axis_ == 1 && !this->force_nd_im2col_ && in.count() && out.count();
    if (plane) {
      const Dims x = DimsOf(in), y = DimsOf(out);
      const int *kernel = this->kernel_shape_.cpu_data(), *stride = this->stride_.cpu_data(), *pad = this->pad_.cpu_data(),
                *dilation = this->dilation_.cpu_data();
      const ConvShape of_planes = {x.n, x.c, x.h, x.w, y.c, y.h, y.w, kernel[0], kernel[1], stride[0], stride[1],
                                   pad[0], pad[1], dilation[0], dilation[1], this->group_};
      shape = of_planes;
    }
    if (shape == shape_) return;
    shape_ = shape;
    convolution_.reset(plane && Convolution::Supports(shape) ? new Convolution(shape, keep_filters) : NULL);
  }

  std::unique_ptr<Convolution> convolution_;  // NULL: upstream's

 private:
  ConvShape shape_;  // all 0: not of planes
};

// Its results are always in the engine's layout.
class ConvolutionLayer : public WithConvolution<caffe::ConvolutionLayer<float> > {
 public:
  explicit ConvolutionLayer(const LayerParameter& param)
      : WithConvolution<caffe::ConvolutionLayer<float> >(param), moments_wanted_(new bool(true)) {}
  virtual void Reshape(const Blobs& bottom, const Blobs& top);
  CAFFE_ENGINE_PASSES;

 private:
  const shared_ptr<bool> moments_wanted_;  // by the layer that read the last results
  WeightsMark weights_mark_;
};

// A convolution with the roles of input and output exchanged.
class DeconvolutionLayer : public WithConvolution<caffe::DeconvolutionLayer<float> > {
 public:
  explicit DeconvolutionLayer(const LayerParameter& param) : WithConvolution<caffe::DeconvolutionLayer<float> >(param) {}
  virtual void Reshape(const Blobs& bottom, const Blobs& top);
  CAFFE_ENGINE_PASSES;
};

// Reads its input once for the statistics and leaves a recipe.
class BatchNormLayer : public caffe::BatchNormLayer<float> {
 public:
  explicit BatchNormLayer(const LayerParameter& param) : caffe::BatchNormLayer<float>(param) {}
  CAFFE_ENGINE_PASSES;

 private:
  TensorPtr out_;  // NULL: upstream's
  Buffer x_;
  Channels mean_, inverse_deviation_;
};

// One factor, and perhaps one bias, a channel: the forward pass leaves a recipe. Or the factors of a second blob, see
// ImageValues, or one for each value.
class ScaleLayer : public caffe::ScaleLayer<float> {
 public:
  explicit ScaleLayer(const LayerParameter& param) : caffe::ScaleLayer<float>(param) {}
  CAFFE_ENGINE_PASSES;

 private:
  void ForwardByBlob(const Blobs& bottom, const Blobs& top);
  void BackwardByBlob(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom);

  TensorPtr in_;  // NULL: upstream's
};

// Of each channel, by a recipe, or by a second blob, see ImageValues.
class BiasLayer : public caffe::BiasLayer<float> {
 public:
  explicit BiasLayer(const LayerParameter& param) : caffe::BiasLayer<float>(param), private_(false), axis_(0) {}
  CAFFE_ENGINE_PASSES;

 private:
  bool private_;
  int axis_;
};

// Leaves recipes both ways; a sum of several terms is carried out here, for a convolution could not read it.
class ReLULayer : public caffe::ReLULayer<float> {
 public:
  explicit ReLULayer(const LayerParameter& param) : caffe::ReLULayer<float>(param), private_(false) {}
  CAFFE_ENGINE_PASSES;

 private:
  bool private_;
};

// Sums leave recipes both ways; products and maxima are carried out.
class EltwiseLayer : public caffe::EltwiseLayer<float> {
 public:
  explicit EltwiseLayer(const LayerParameter& param) : caffe::EltwiseLayer<float>(param), private_(false) {}
  CAFFE_ENGINE_PASSES;

 private:
  bool Takes(const Blobs& bottom, const Blobs& top) const;
  TensorPtr GradientOf(size_t index, Tensor* g, const Blobs& bottom) const;

  bool private_;
  std::vector<uint8_t> from_;  // of the maxima: the number of the blob
};

// ELU, PReLU, Sigmoid and TanH: `Upstream` is upstream's class. Read recipes.
template <typename Upstream>
class ActivationLayer : public Upstream {
 public:
  explicit ActivationLayer(const LayerParameter& param) : Upstream(param), private_(false) {}
  CAFFE_ENGINE_PASSES;

 private:
  bool private_;
  TensorPtr in_;  // of a layer in place that needs it for the gradient
};

// Shares the data, as upstream; the sum of the gradients is a recipe.
class SplitLayer : public caffe::SplitLayer<float> {
 public:
  explicit SplitLayer(const LayerParameter& param) : caffe::SplitLayer<float>(param) {}

 protected:
  virtual void Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down, const Blobs& bottom);
};

// Maxima, with the tap that each came from for the gradient, and averages; reads recipes.
class PoolingLayer : public caffe::PoolingLayer<float> {
 public:
  explicit PoolingLayer(const LayerParameter& param) : caffe::PoolingLayer<float>(param), private_(false) {}
  CAFFE_ENGINE_PASSES;

 private:
  bool Takes(const Blobs& bottom, const Blobs& top) const;

  bool private_;
  std::vector<uint8_t> taps_;  // of the maxima
};

// Of channels; reads recipes. Moments of the parts are those of the whole.
class ConcatLayer : public caffe::ConcatLayer<float> {
 public:
  explicit ConcatLayer(const LayerParameter& param)
      : caffe::ConcatLayer<float>(param), private_(false), moments_wanted_(new bool(true)) {}
  CAFFE_ENGINE_PASSES;

 private:
  bool private_;
  const shared_ptr<bool> moments_wanted_;
};

// Of channels.
class SliceLayer : public caffe::SliceLayer<float> {
 public:
  explicit SliceLayer(const LayerParameter& param) : caffe::SliceLayer<float>(param), private_(false) {}
  CAFFE_ENGINE_PASSES;

 private:
  bool private_;
};

// Reads what it keeps of a recipe.
class CropLayer : public caffe::CropLayer<float> {
 public:
  explicit CropLayer(const LayerParameter& param) : caffe::CropLayer<float>(param), private_(false) {}
  CAFFE_ENGINE_PASSES;

 private:
  bool private_;
};

// Draws the same numbers as upstream's, in the order of plain values.
class DropoutLayer : public caffe::DropoutLayer<float> {
 public:
  explicit DropoutLayer(const LayerParameter& param) : caffe::DropoutLayer<float>(param), private_(false) {}
  CAFFE_ENGINE_PASSES;

 private:
  bool private_;
  Buffer factors_;  // 0 or 1 / (1 - ratio)
};

// Across channels, which lie together here, and within them; keeps nothing but its input for the backward pass.
class LRNLayer : public caffe::LRNLayer<float> {
 public:
  explicit LRNLayer(const LayerParameter& param) : caffe::LRNLayer<float>(param), private_(false) {}
  CAFFE_ENGINE_PASSES;

 private:
  TensorPtr Normalise(Tensor* x, Tensor* g) const;
  void NormaliseWithin(const float* x, const float* g, float* room, float* result) const;

  bool private_;
};

// By the engine's matrix product.
class InnerProductLayer : public caffe::InnerProductLayer<float> {
 public:
  explicit InnerProductLayer(const LayerParameter& param) : caffe::InnerProductLayer<float>(param) {}
  CAFFE_ENGINE_PASSES;
};

// Of rows that lie together: those of classification nets, and the channels of an activation.
class SoftmaxLayer : public caffe::SoftmaxLayer<float> {
 public:
  explicit SoftmaxLayer(const LayerParameter& param) : caffe::SoftmaxLayer<float>(param), private_(false) {}
  CAFFE_ENGINE_PASSES;

 private:
  bool private_;
};

#undef CAFFE_ENGINE_PASSES

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_ENGINE_LAYERS_HPP_
