#ifndef CAFFE_ENGINE_CONVOLUTION_HPP_
#define CAFFE_ENGINE_CONVOLUTION_HPP_

#include <memory>

#include "caffe/engine/convolution_shape.hpp"

namespace caffe {
namespace engine {

// The three passes of a convolution in float32 for channels-last activations, by the fastest kernel that there is here
// for the shape. x is (n, ih, iw, ic), y (n, oh, ow, oc), w (oc, ic / groups, kh, kw), bias (oc).
//
// Buffers that start at a multiple of 64 bytes are the fastest. The same inputs and number of threads give the same
// bits. One object must not be used by two threads at once.
class Convolution {
 public:
  // Whether there is a kernel here; if not, the caller uses upstream's im2col.
  static bool Supports(const ConvShape& shape);

  explicit Convolution(const ConvShape& shape);
  ~Convolution();

  void Forward(const float* x, const float* w, const float* bias, float* y);  // bias: or NULL
  void BackwardData(const float* dy, const float* w, float* dx);
  // Adds to dw and db, as Caffe's iter_size needs it. db: or NULL.
  void BackwardWeights(const float* x, const float* dy, float* dw, float* db);

  // A family of kernels: the same functions.
  class Kernels {
   public:
    virtual ~Kernels() {}
    virtual void Forward(const float* x, const float* w, const float* bias, float* y) = 0;
    virtual void BackwardData(const float* dy, const float* w, float* dx) = 0;
    virtual void BackwardWeights(const float* x, const float* dy, float* dw, float* db) = 0;
  };

 private:
  const std::unique_ptr<Kernels> kernels_;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_CONVOLUTION_HPP_
