#include "caffe/engine/layout.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace caffe {
namespace engine {

// to (columns x rows) = transpose of from (rows x columns), in squares whose lines fit the first cache.
static void Transpose(int rows, int columns, const float* from, float* to) {
  const int kSide = 16;
  for (int c0 = 0; c0 < columns; c0 += kSide) {
    const int c1 = std::min(c0 + kSide, columns);
    for (int r0 = 0; r0 < rows; r0 += kSide) {
      const int r1 = std::min(r0 + kSide, rows);
      for (int c = c0; c < c1; ++c) {
        for (int r = r0; r < r1; ++r) to[size_t(c) * rows + r] = from[size_t(r) * columns + c];
      }
    }
  }
}

static void TransposeImages(int images, int rows, int columns, const float* from, float* to) {
  const size_t size = size_t(rows) * columns;
  if (rows == 1 || columns == 1) {
    std::memcpy(to, from, images * size * sizeof(float));
    return;
  }
#pragma omp parallel for schedule(static) if (images * size > 1 << 15)
  for (int n = 0; n < images; ++n) Transpose(rows, columns, from + n * size, to + n * size);
}

void ToChannelsLast(int images, int channels, int pixels, const float* from, float* to) {
  TransposeImages(images, channels, pixels, from, to);
}

void FromChannelsLast(int images, int channels, int pixels, const float* from, float* to) {
  TransposeImages(images, pixels, channels, from, to);
}

}  // namespace engine
}  // namespace caffe
