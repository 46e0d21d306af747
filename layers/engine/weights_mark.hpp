#ifndef CAFFE_ENGINE_WEIGHTS_MARK_HPP_
#define CAFFE_ENGINE_WEIGHTS_MARK_HPP_

#include "caffe/engine/private_copy.hpp"
#include "caffe/syncedmem.hpp"

namespace caffe {
namespace engine {

// Finds out whether weights may have been written to. SyncedMemory drops its private copy when somebody asks for memory to
// write to, so a mark that is kept as the private copy is gone once somebody has asked. A NumPy array can be written to at any
// time: weights that pycaffe has handed out always count as changed.
class WeightsMark {
 public:
  // Whether the weights are known to be those of the last call.
  bool AreSame(SyncedMemory* weights);

 private:
  shared_ptr<PrivateCopy> mark_;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_WEIGHTS_MARK_HPP_
