#include "caffe/engine/buffer.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

namespace caffe {
namespace engine {

namespace {

const size_t kLargePage = 2 << 20;

// Unused buffers by their size in bytes. A step takes and gives the same sizes again and again, so what is unused may be as
// much as was in use at most, less what is in use now, plus 128 MiB: the process needs no more memory than at its peak. Beyond
// that the longest unused are freed. Where a new buffer might displace one, an unused one that is up to four times too large
// serves instead, as the system clears the pages of a new one. The peak sinks slowly, for nets are reshaped and deleted.
class Pool {
 public:
  // At least `*bytes`; says how many.
  void* Take(size_t* bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    Unused::iterator found = unused_.lower_bound(*bytes);
    const bool displaces = used_ + unused_bytes_ + *bytes > peak_ + kSlack;  // a new one might
    if (found != unused_.end() && found->first <= (displaces ? *bytes * 4 : *bytes + *bytes / 4)) {
      void* memory = found->second.memory;
      *bytes = found->first;
      unused_.erase(found);
      unused_bytes_ -= *bytes;
      used_ += *bytes;
      return memory;
    }
    used_ += *bytes;
    peak_ = std::max(peak_, used_);
    FreeBeyond(peak_ + kSlack);
    const bool large = *bytes >= kLargePage;
    void* memory = NULL;
    CHECK_EQ(posix_memalign(&memory, large ? kLargePage : 64, *bytes), 0) << "no memory for " << *bytes << " bytes";
#ifdef MADV_HUGEPAGE
    if (large) madvise(memory, *bytes, MADV_HUGEPAGE);
#endif
    return memory;
  }

  void Give(void* memory, size_t bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    used_ -= bytes;
    peak_ -= (peak_ - used_) / 4096;
    unused_bytes_ += bytes;
    const Entry entry = {memory, ++given_};
    unused_.insert(std::make_pair(bytes, entry));
    FreeBeyond(peak_ + kSlack);
  }

  void TrimLocked() {
    std::lock_guard<std::mutex> lock(mutex_);
    peak_ = used_;
    FreeBeyond(0);
  }

 private:
  enum { kSlack = 128 << 20 };
  struct Entry {
    void* memory;
    uint64_t given;  // the number of the Give
  };
  typedef std::multimap<size_t, Entry> Unused;

  void FreeBeyond(size_t bytes) {
    while (!unused_.empty() && used_ + unused_bytes_ > bytes) {
      const Unused::iterator oldest = std::min_element(unused_.begin(), unused_.end(),
          [](const Unused::value_type& a, const Unused::value_type& b) { return a.second.given < b.second.given; });
      std::free(oldest->second.memory);
      unused_bytes_ -= oldest->first;
      unused_.erase(oldest);
    }
  }

  std::mutex mutex_;
  Unused unused_;
  size_t used_ = 0, unused_bytes_ = 0, peak_ = 0;
  uint64_t given_ = 0;
};

// Never destroyed: nets may outlive the other statics.
Pool& pool() {
  static Pool* pool = new Pool;
  return *pool;
}

// To a multiple of a page and of an eighth of the next power of two below, so that a buffer serves a little larger one, too.
size_t RoundUp(size_t bytes) {
  size_t step = 4096;
  while (step * 16 <= bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

struct Return {
  size_t bytes;
  void operator()(float* memory) const { pool().Give(memory, bytes); }
};

}  // namespace

Buffer TakeBuffer(size_t count) {
  Return back = {RoundUp(count * sizeof(float))};
  float* memory = static_cast<float*>(pool().Take(&back.bytes));
  return Buffer(memory, back);
}

void TrimBuffers() { pool().TrimLocked(); }

}  // namespace engine
}  // namespace caffe
