#ifndef CAFFE_ENGINE_CUT_HPP_
#define CAFFE_ENGINE_CUT_HPP_

#include <algorithm>
#include <cstddef>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/rows.hpp"
#include "caffe/engine/tensor.hpp"

namespace caffe {
namespace engine {

// An activation cut into rows and blocks, and blocks into parts, which the threads share. The parts depend on the
// shape only, and so do the bits of all sums, whatever the number of threads. Each thread takes about those images that it takes
// in a convolution, too, as they may still lie in its core's cache.
struct Cut : Rows {
  explicit Cut(const Dims& dims) : Rows(dims.c), count(dims.count()) {
    blocks = (count + block - 1) / block;
    parts = std::max<size_t>(1, std::min<size_t>(64, blocks / 8));
  }

  // Calls work(part, first float, number of floats, room for as many) for all blocks.
  template <typename Work>
  void Run(const Work& work) const {
    const ThreadRooms rooms(block);
#pragma omp parallel for schedule(static) if (parts > 1)
    for (int part = 0; part < parts; ++part) {
      for (size_t b = blocks * part / parts; b < blocks * (part + 1) / parts; ++b) {
        work(part, b * block, std::min(block, count - b * block), rooms.Mine());
      }
    }
  }

  size_t count, blocks;
  int parts;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_CUT_HPP_
