#ifndef CAFFE_ENGINE_TRANSIENT_DIFFS_HPP_
#define CAFFE_ENGINE_TRANSIENT_DIFFS_HPP_

namespace caffe {
namespace engine {

// While one of these lives, this thread's engine layers free the gradient of an activation as soon as it was used: one
// training step then needs a few of them at a time, not all of them. Gradients that somebody looked at before
// (SyncedMemory::looked_at) are kept. The solver does so in its own steps; Net::Backward alone keeps everything.
class TransientDiffs {
 public:
  TransientDiffs();
  ~TransientDiffs();
  static bool Wanted();
};

// Lives during each backward pass of a net.
class BackwardPass {
 public:
  BackwardPass();
  ~BackwardPass();
  static bool IsRunning();  // in this thread
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_TRANSIENT_DIFFS_HPP_
