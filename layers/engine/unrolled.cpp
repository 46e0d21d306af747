#include "caffe/engine/unrolled.hpp"

#include <algorithm>
#include <cstring>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/convolution_vector.hpp"
#include "caffe/engine/fused_pixels.hpp"
#include "caffe/engine/matrix_product.hpp"

namespace caffe {
namespace engine {

namespace {

enum { kUnrolledFloats = 1 << 18 };  // what a thread unrolls at a time: most of a second-level cache

// The inputs (rows * ow, kh, kw, channels of the group) of some output rows of an image.
void Unroll(const ConvShape& s, const float* image, int group, int first, int rows, float* out) {
  const int channels = s.ic / s.groups;
  for (int i = first; i < first + rows; ++i) {
    for (int j = 0; j < s.ow; ++j) {
      for (int a = 0; a < s.kh; ++a) {
        const int y = i * s.stride_h - s.pad_h + a * s.dilation_h;
        for (int b = 0; b < s.kw; ++b, out += channels) {
          const int x = j * s.stride_w - s.pad_w + b * s.dilation_w;
          if (y < 0 || y >= s.ih || x < 0 || x >= s.iw) {
            memset(out, 0, channels * sizeof(float));
          } else {
            memcpy(out, image + (long(y) * s.iw + x) * s.ic + group * channels, channels * sizeof(float));
          }
        }
      }
    }
  }
}

}  // namespace

bool UnrolledSupports(const ConvShape& s) {
  return HasVectors() && InProportion(double(s.ow) * s.kh * s.kw * (s.ic / s.groups), s, 64);
}

void UnrolledWeights(const ConvShape& s, const float* x, const float* dy, float* dw, float* db) {
  const int channels = s.ic / s.groups, outputs = s.oc / s.groups, taps = s.kh * s.kw;
  const long width = long(taps) * channels;  // of an unrolled pixel
  const int rows = std::max(1L, std::min<long>(s.oh, kUnrolledFloats / (s.ow * width)));
  const int row_groups = (s.oh + rows - 1) / rows, items = s.n * row_groups;
  const int shares = ThreadCount();
  const size_t size = width * s.oc;
  float* totals = SharedScratch().Get(shares * size);
  const ThreadRooms rooms(rows * s.ow * width);
  BiasSummer biases(db, s.oc, items);
#pragma omp parallel num_threads(shares)
  {
#pragma omp for schedule(static)
    for (int share = 0; share < shares; ++share) {
      float* total = totals + share * size;
      const int begin = long(items) * share / shares, end = long(items) * (share + 1) / shares;
      if (begin == end) memset(total, 0, size * sizeof(float));
      for (int item = begin; item < end; ++item) {
        const int image = item / row_groups, first = item % row_groups * rows, count = std::min(rows, s.oh - first);
        const float* out = dy + (long(image) * s.oh + first) * s.ow * s.oc;
        for (int g = 0; g < s.groups; ++g) {
          Unroll(s, x + long(image) * s.ih * s.iw * s.ic, g, first, count, rooms.Mine());
          MatrixProduct(outputs, width, long(count) * s.ow, Factor{out + g * outputs, s.oc, true},
              Factor{rooms.Mine(), width, false}, item > begin, total + g * outputs * width, width);
        }
        biases.Add(item, out, long(count) * s.ow * s.oc);
      }
    }
#pragma omp for schedule(static)
    for (int o = 0; o < s.oc; ++o) {
      for (int share = 0; share < shares; ++share) {
        const float* from = totals + share * size + o * width;
        for (int t = 0; t < taps; ++t) {
          for (int c = 0; c < channels; ++c) dw[o * width + long(c) * taps + t] += from[long(t) * channels + c];
        }
      }
    }
  }
  biases.Write();
}

}  // namespace engine
}  // namespace caffe
