#ifndef CAFFE_ENGINE_ROWS_HPP_
#define CAFFE_ENGINE_ROWS_HPP_

#include <algorithm>
#include <cstddef>
#include <vector>

namespace caffe {
namespace engine {

typedef std::vector<float> Channels;  // one value a channel

// How pixels of `channels` channels are cut for the loops of vector_loops.hpp: into rows of whole pixels and of whole
// vectors, rows into blocks that fit the first cache together with their results.
struct Rows {
  // Of so many channels, a row is one pixel: an end that fills no vector costs nothing there.
  enum { kManyChannels = 4096 };

  explicit Rows(int channels) : channels(channels), row(channels) {
    while (row < 64 || (channels < kManyChannels && row % 16)) row += channels;
    block = std::max(size_t(1), 1024 / row) * row;
  }

  // One value a channel repeated to a row; `missing` where there are none.
  Channels Row(const float* values, float missing = 0) const {
    Channels out(row, missing);
    for (size_t j = 0; values && j < row; ++j) out[j] = values[j % channels];
    return out;
  }
  Channels Row(const Channels& values, float missing = 0) const {
    return Row(values.empty() ? NULL : values.data(), missing);
  }

  int channels;
  size_t row, block;
};

// Sums by channel, of each part of the work alone: floats over a few dozen pixels of each lane, doubles beyond.
class Sums {
 public:
  Sums(const Rows& rows, int parts) : rows_(rows), parts_(parts, Part(rows)) {}

  // What a loop adds to, a row.
  float* block(int part) { return parts_[part].floats.data(); }

  // After each block of a part.
  void Flush(int number, bool now = false) {
    Part& part = parts_[number];
    if (!now && ++part.pending < 8) return;
    part.pending = 0;
    for (size_t j = 0; j < rows_.row; ++j) {
      part.doubles[j] += part.floats[j];
      part.floats[j] = 0;
    }
  }

  std::vector<double> Total() {
    std::vector<double> total(rows_.channels, 0);
    for (size_t p = 0; p < parts_.size(); ++p) {
      Flush(p, true);
      for (size_t j = 0; j < rows_.row; ++j) total[j % rows_.channels] += parts_[p].doubles[j];
    }
    return total;
  }

 private:
  struct Part {
    // The parts lie one cache line apart, or more.
    explicit Part(const Rows& rows) : floats(rows.row + 16), doubles(rows.row + 8), pending(0) {}
    std::vector<float> floats;
    std::vector<double> doubles;
    int pending;
  };
  const Rows& rows_;
  std::vector<Part> parts_;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_ROWS_HPP_
