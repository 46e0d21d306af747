#ifndef CAFFE_ENGINE_TRANSIENT_DIFFS_HPP_
#define CAFFE_ENGINE_TRANSIENT_DIFFS_HPP_

namespace caffe {
namespace engine {

// While one of these lives, this thread's engine layers free the gradient of an activation of `net` as soon as it was used: one
// training step then needs a few of them at a time, not all of them. Gradients that somebody looked at before
// (SyncedMemory::looked_at) are kept. The solver does so in its own steps; Net::Backward alone keeps everything.
class TransientDiffs {
 public:
  explicit TransientDiffs(const void* net);
  ~TransientDiffs();
  static bool Wanted();

 private:
  const void* const before_;
};

// Lives during each backward pass of a net. is_seen: callbacks run during it, which may look at any gradient.
class BackwardPass {
 public:
  BackwardPass(const void* net, bool is_seen);
  ~BackwardPass();
  static bool IsRunning();  // in this thread

 private:
  const void* const before_;
  const bool before_is_seen_;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_TRANSIENT_DIFFS_HPP_
