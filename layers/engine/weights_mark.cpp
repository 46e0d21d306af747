#include "caffe/engine/weights_mark.hpp"

#include <mutex>

namespace caffe {
namespace engine {

namespace {

class Mark : public PrivateCopy {
 public:
  virtual void CopyTo(void*) {}  // the plain values are there
};

std::mutex marking;  // nets in several threads may share weights

}  // namespace

bool WeightsMark::AreSame(SyncedMemory* weights) {
  const std::lock_guard<std::mutex> lock(marking);
  if (weights->looked_at()) {
    mark_.reset();  // its memory may come back, shared by another net
    return false;
  }
  shared_ptr<PrivateCopy> now = weights->private_copy();
  if (now && now == mark_) return true;
  if (!dynamic_cast<Mark*>(now.get())) {
    weights->cpu_data();  // where the values are from now on
    now.reset(new Mark);
    weights->set_private_copy(now);
    weights->cpu_data();
  }
  mark_ = now;
  return false;
}

}  // namespace engine
}  // namespace caffe
