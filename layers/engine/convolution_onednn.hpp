#ifndef CAFFE_ENGINE_CONVOLUTION_ONEDNN_HPP_
#define CAFFE_ENGINE_CONVOLUTION_ONEDNN_HPP_

#include "caffe/engine/convolution.hpp"

namespace caffe {
namespace engine {

// Convolution by oneDNN's direct kernels, for nearly every shape. A build without USE_ONEDNN has none of them.
bool OneDnnSupports(const ConvShape& shape);
Convolution::Kernels* NewOneDnnConvolution(const ConvShape& shape);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_CONVOLUTION_ONEDNN_HPP_
