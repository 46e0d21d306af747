#include "caffe/engine/buffer.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <map>
#include <mutex>

namespace caffe {
namespace engine {

namespace {

const size_t kLargePage = 2 << 20;

// Unused buffers by their size in bytes. Nets that were reshaped or deleted leave sizes that nobody wants any more:
// what is unused may be a quarter of what is in use plus 64 MiB, beyond which all of it is freed.
class Pool {
 public:
  void* Take(size_t bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    used_ += bytes;
    std::multimap<size_t, void*>::iterator found = unused_.find(bytes);
    if (found != unused_.end()) {
      void* memory = found->second;
      unused_.erase(found);
      unused_bytes_ -= bytes;
      return memory;
    }
    const bool large = bytes >= kLargePage;
    void* memory = NULL;
    CHECK_EQ(posix_memalign(&memory, large ? kLargePage : 64, bytes), 0) << "no memory for " << bytes << " bytes";
#ifdef MADV_HUGEPAGE
    if (large) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
  }

  void Give(void* memory, size_t bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    used_ -= bytes;
    unused_bytes_ += bytes;
    unused_.insert(std::make_pair(bytes, memory));
    if (unused_bytes_ > used_ / 4 + (64 << 20)) Trim();
  }

  void TrimLocked() {
    std::lock_guard<std::mutex> lock(mutex_);
    Trim();
  }

 private:
  void Trim() {
    for (std::multimap<size_t, void*>::iterator it = unused_.begin(); it != unused_.end(); ++it) std::free(it->second);
    unused_.clear();
    unused_bytes_ = 0;
  }

  std::mutex mutex_;
  std::multimap<size_t, void*> unused_;
  size_t used_ = 0, unused_bytes_ = 0;
};

// Never destroyed: nets may outlive the other statics.
Pool& pool() {
  static Pool* pool = new Pool;
  return *pool;
}

struct Return {
  size_t bytes;
  void operator()(float* memory) const { pool().Give(memory, bytes); }
};

}  // namespace

Buffer TakeBuffer(size_t count) {
  const Return back = {(count * sizeof(float) + 4095) / 4096 * 4096};
  return Buffer(static_cast<float*>(pool().Take(back.bytes)), back);
}

void TrimBuffers() { pool().TrimLocked(); }

}  // namespace engine
}  // namespace caffe
