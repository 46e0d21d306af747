#include "caffe/engine/transient_diffs.hpp"

#include <cstddef>

namespace caffe {
namespace engine {

namespace {

// The net whose gradients may be freed; the net whose backward pass is running, which may be another one in a layer of the first.
thread_local const void *transient = NULL, *running = NULL;
thread_local bool seen = false;

}  // namespace

TransientDiffs::TransientDiffs(const void* net) : before_(transient) { transient = net; }
TransientDiffs::~TransientDiffs() { transient = before_; }
bool TransientDiffs::Wanted() { return transient && transient == running && !seen; }

BackwardPass::BackwardPass(const void* net, bool is_seen) : before_(running), before_is_seen_(seen) {
  running = net;
  seen = is_seen;
}
BackwardPass::~BackwardPass() {
  running = before_;
  seen = before_is_seen_;
}
bool BackwardPass::IsRunning() { return running != NULL; }

}  // namespace engine
}  // namespace caffe
