#ifndef CAFFE_ENGINE_CONVOLUTION_SCRATCH_HPP_
#define CAFFE_ENGINE_CONVOLUTION_SCRATCH_HPP_

#include <stdlib.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace caffe {
namespace engine {

// Memory that is kept from call to call, in huge pages where the system has them.
class Scratch {
 public:
  // At least `count` floats, aligned to a page. What they held may be lost.
  float* Get(size_t count) {
    if (count > count_) {
      const size_t page = 2 << 20;
      if (count > SIZE_MAX / sizeof(float) - page) throw std::bad_alloc();
      const size_t bytes = (count * sizeof(float) + page - 1) / page * page;
      count_ = 0;
      memory_.reset();
      memory_.reset(static_cast<float*>(aligned_alloc(page, bytes)));
      if (!memory_) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
      madvise(memory_.get(), bytes, MADV_HUGEPAGE);  // a wish: without, addresses are translated more often
#endif
      count_ = count;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(float* p) const { free(p); }
  };
  std::unique_ptr<float, Free> memory_;
  size_t count_ = 0;
};

// What the thread that starts a parallel region shares with the others.
Scratch& SharedScratch();

// How many threads a parallel region has.
int ThreadCount();

// Room for `count` floats for each thread of a parallel region, aligned to a small page. The thread that starts the region
// makes it before: nobody could catch what is thrown inside. A thread can have one at a time.
class ThreadRooms {
 public:
  // Floats between two rooms. A processor fetches ahead what it expects its thread to read. Beyond the end of the thread's room
  // that would be the memory of another thread, which would have to fetch it back: slowly, if the two share no cache.
  enum { kGap = 64 << 10 };

  explicit ThreadRooms(size_t count);

  // Of the thread that asks.
  float* Mine() const;

 private:
  const size_t stride_;
  float* rooms_;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_CONVOLUTION_SCRATCH_HPP_
