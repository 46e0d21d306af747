#ifndef CAFFE_ENGINE_IMAGE_VALUES_HPP_
#define CAFFE_ENGINE_IMAGE_VALUES_HPP_

#include "caffe/engine/tensor.hpp"

namespace caffe {
namespace engine {

// A factor or a summand for each image and channel of an activation, from a blob that has the activation's first axis, its
// second, both, or neither.
class ImageValues {
 public:
  // Whether `values`, whose axes begin at `axis` of `whole`, are of this kind.
  static bool Fit(const Blob<float>& whole, const Blob<float>& values, int axis);

  ImageValues(const Blob<float>& whole, const Blob<float>& values, int axis);

  // One value for each image and channel.
  Channels Spread(const float* values) const;
  // The sums of what `spread` holds for each value; overwrites `values`, of which there are `count`.
  void Gather(const Channels& spread, int count, float* values) const;

 private:
  const int images_, channels_;
  int image_stride_, channel_stride_;
};

// x * factor + summand, of each image and channel.
TensorPtr AffineByImage(Tensor* x, const Channels& factor, const Channels& summand);

// Sums over the pixels of each image and channel: of g, or of g x.
Channels SumByImage(Tensor* g);
Channels SumProductsByImage(Tensor* g, Tensor* x);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_IMAGE_VALUES_HPP_
