#include "caffe/engine/transient_diffs.hpp"

namespace caffe {
namespace engine {

static thread_local int depth = 0, passes = 0;

TransientDiffs::TransientDiffs() { ++depth; }
TransientDiffs::~TransientDiffs() { --depth; }
bool TransientDiffs::Wanted() { return depth > 0; }

BackwardPass::BackwardPass() { ++passes; }
BackwardPass::~BackwardPass() { --passes; }
bool BackwardPass::IsRunning() { return passes > 0; }

}  // namespace engine
}  // namespace caffe
