#ifndef CAFFE_ENGINE_CONVOLUTION_SCRATCH_HPP_
#define CAFFE_ENGINE_CONVOLUTION_SCRATCH_HPP_

#include <stdlib.h>
#include <sys/mman.h>

#include <cstddef>
#include <memory>
#include <new>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace caffe {
namespace engine {

// Memory that is kept from call to call, in huge pages where the system has them.
class Scratch {
 public:
  // At least `count` floats, aligned to a page. What they held may be lost.
  float* Get(size_t count) {
    if (count > count_) {
      const size_t page = 2 << 20, bytes = (count * sizeof(float) + page - 1) / page * page;
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

// What a thread works in, and what the thread that starts a parallel region shares with the others.
inline Scratch& ThreadScratch() {
  static thread_local Scratch scratch;
  return scratch;
}

inline Scratch& SharedScratch() {
  static thread_local Scratch scratch;
  return scratch;
}

inline int ThreadCount() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_CONVOLUTION_SCRATCH_HPP_
