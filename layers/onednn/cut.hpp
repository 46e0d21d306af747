#ifndef CAFFE_ENGINE_CUT_HPP_
#define CAFFE_ENGINE_CUT_HPP_

#include <algorithm>
#include <cstddef>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/tensor.hpp"

namespace caffe {
namespace engine {

// How an activation of c channels is cut: into rows of whole pixels and of whole vectors, rows into blocks that fit the
// first cache together with their results, blocks into parts, which the threads take one after the other. The parts
// depend on the shape only, and so do the bits of all sums, whatever the number of threads.
struct Cut {
  // Of so many channels, a row is one pixel: an end that fills no vector costs nothing there.
  enum { kManyChannels = 4096 };

  explicit Cut(const Dims& dims) : channels(dims.c), count(dims.count()), row(channels) {
    while (row < 64 || (channels < kManyChannels && row % 16)) row += channels;
    block = std::max(size_t(1), 1024 / row) * row;
    blocks = (count + block - 1) / block;
    parts = std::max<size_t>(1, std::min<size_t>(64, blocks / 8));
  }

  // `values` repeated to a row; `missing` where there are none.
  Channels Row(const Channels& values, float missing = 0) const {
    Channels out(row, missing);
    if (!values.empty()) {
      for (size_t j = 0; j < row; ++j) out[j] = values[j % channels];
    }
    return out;
  }

  // Calls work(part, first float, number of floats, room for as many) for all blocks.
  template <typename Work>
  void Run(const Work& work) const {
    const ThreadRooms rooms(block);
#pragma omp parallel for schedule(dynamic, 1) if (parts > 1)
    for (int part = 0; part < parts; ++part) {
      for (size_t b = blocks * part / parts; b < blocks * (part + 1) / parts; ++b) {
        work(part, b * block, std::min(block, count - b * block), rooms.Mine());
      }
    }
  }

  int channels;
  size_t count, row, block, blocks;
  int parts;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_CUT_HPP_
