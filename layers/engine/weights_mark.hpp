#ifndef CAFFE_ENGINE_WEIGHTS_MARK_HPP_
#define CAFFE_ENGINE_WEIGHTS_MARK_HPP_

#include "caffe/engine/private_copy.hpp"
#include "caffe/syncedmem.hpp"

namespace caffe {
namespace engine {

// Finds out whether weights may have been written to. SyncedMemory drops its private copy when somebody asks for memory to
// write to. So a mark in that place is there for as long as nobody has. A NumPy array can be written to at any time: of memory
// that pycaffe has handed out nothing is known.
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
