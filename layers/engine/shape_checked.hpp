#ifndef CAFFE_ENGINE_SHAPE_CHECKED_HPP_
#define CAFFE_ENGINE_SHAPE_CHECKED_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/common.hpp"

namespace caffe {
namespace engine {

// The layer `Made`, whose backward pass ends the process if a blob was reshaped after the forward pass: what the layer keeps of
// that pass has the sizes of then.
template <typename Made>
class ShapeChecked : public Made {
 public:
  explicit ShapeChecked(const LayerParameter& param) : Made(param), passed_(false) {}

  virtual void Reshape(const std::vector<Blob<float>*>& bottom, const std::vector<Blob<float>*>& top) {
    Made::Reshape(bottom, top);
    if (!passed_) TakeShapes(bottom, top, &shapes_);
  }

 protected:
  virtual void Forward_cpu(const std::vector<Blob<float>*>& bottom, const std::vector<Blob<float>*>& top) {
    Made::Forward_cpu(bottom, top);
    TakeShapes(bottom, top, &shapes_);
    passed_ = true;
  }

  virtual void Backward_cpu(const std::vector<Blob<float>*>& top, const std::vector<bool>& propagate_down,
      const std::vector<Blob<float>*>& bottom) {
    std::vector<int> now;
    TakeShapes(bottom, top, &now);
    CHECK(now == shapes_) << "Layer '" << this->layer_param_.name() << "': its blobs were reshaped after the last forward "
        << "pass; make a forward pass before the backward pass";
    Made::Backward_cpu(top, propagate_down, bottom);
  }

 private:
  static void TakeShapes(const std::vector<Blob<float>*>& bottom, const std::vector<Blob<float>*>& top,
      std::vector<int>* shapes) {
    shapes->clear();
    for (const std::vector<Blob<float>*>* blobs : {&bottom, &top}) {
      for (const Blob<float>* blob : *blobs) {
        shapes->push_back(blob->num_axes());
        shapes->insert(shapes->end(), blob->shape().begin(), blob->shape().end());
      }
    }
  }

  bool passed_;  // whether there was a forward pass
  std::vector<int> shapes_;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_SHAPE_CHECKED_HPP_
