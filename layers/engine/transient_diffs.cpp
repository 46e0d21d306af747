#include "caffe/engine/transient_diffs.hpp"

namespace caffe {
namespace engine {

static thread_local int depth = 0;

TransientDiffs::TransientDiffs() { ++depth; }
TransientDiffs::~TransientDiffs() { --depth; }
bool TransientDiffs::Wanted() { return depth > 0; }

}  // namespace engine
}  // namespace caffe
