// Here and not in the header: a program that is compiled without OpenMP would have functions of the same names that know one
// thread only, and the linker would take those for all.
#include "caffe/engine/convolution_scratch.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

#include "caffe/engine/thread_places.hpp"

namespace caffe {
namespace engine {

Scratch& SharedScratch() {
  static thread_local Scratch scratch;
  return scratch;
}

int ThreadCount() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

ThreadRooms::ThreadRooms(size_t count) : stride_((count + kGap + 1023) / 1024 * 1024) {
  PlaceThreads();
  static thread_local Scratch scratch;
  if (stride_ < count || stride_ > SIZE_MAX / ThreadCount()) throw std::bad_alloc();
  rooms_ = scratch.Get(stride_ * ThreadCount());
}

float* ThreadRooms::Mine() const {
#ifdef _OPENMP
  return rooms_ + stride_ * omp_get_thread_num();
#else
  return rooms_;
#endif
}

}  // namespace engine
}  // namespace caffe
