#ifndef CAFFE_ENGINE_SGD_UPDATE_HPP_
#define CAFFE_ENGINE_SGD_UPDATE_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/net.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {
namespace engine {

// SGDSolver's Normalize, Regularize (L2), ComputeUpdateValue and Net::Update for all parameters, each in one pass; leaves
// in the diffs what they leave there. False, with nothing done, where upstream's code is to do it.
template <typename Dtype>
inline bool SgdUpdate(const char* type, const SolverParameter& param, Dtype rate, Net<Dtype>* net,
    const std::vector<shared_ptr<Blob<Dtype> > >& history) {
  return false;
}

template <>
bool SgdUpdate<float>(const char* type, const SolverParameter& param, float rate, Net<float>* net,
    const std::vector<shared_ptr<Blob<float> > >& history);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_SGD_UPDATE_HPP_
