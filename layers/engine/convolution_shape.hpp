#ifndef CAFFE_ENGINE_CONVOLUTION_SHAPE_HPP_
#define CAFFE_ENGINE_CONVOLUTION_SHAPE_HPP_

#include <algorithm>

namespace caffe {
namespace engine {

// One convolution of n images. Activations are channels-last (n, h, w, c), weights are Caffe's (oc, ic / groups,
// kh, kw).
struct ConvShape {
  int n, ic, ih, iw;
  int oc, oh, ow;
  int kh, kw;
  int stride_h, stride_w;
  int pad_h, pad_w;
  int dilation_h, dilation_w;  // 1: neighbouring pixels
  int groups;
};

inline bool operator==(const ConvShape& a, const ConvShape& b) {
  return a.n == b.n && a.ic == b.ic && a.ih == b.ih && a.iw == b.iw && a.oc == b.oc && a.oh == b.oh && a.ow == b.ow &&
      a.kh == b.kh && a.kw == b.kw && a.stride_h == b.stride_h && a.stride_w == b.stride_w && a.pad_h == b.pad_h &&
      a.pad_w == b.pad_w && a.dilation_h == b.dilation_h && a.dilation_w == b.dilation_w && a.groups == b.groups;
}

inline bool operator!=(const ConvShape& a, const ConvShape& b) { return !(a == b); }

// Whether no pad is negative and a padded image, and what a filter spans of it, can be counted in ints.
inline bool CanBeCounted(const ConvShape& s) {
  const double kMost = 2147483647;
  return s.pad_h >= 0 && s.pad_w >= 0 && s.ih + 2. * s.pad_h <= kMost && s.iw + 2. * s.pad_w <= kMost &&
      s.dilation_h * (s.kh - 1.) < kMost && s.dilation_w * (s.kw - 1.) < kMost;
}

// Floats of an image with its padding.
inline double PaddedSize(const ConvShape& s) { return (s.ih + 2. * s.pad_h) * (s.iw + 2. * s.pad_w) * s.ic; }

// Whether so many floats are at most `times` those of an image's input and output. 1 MiB always passes.
inline bool InProportion(double floats, const ConvShape& s, double times) {
  return floats <= std::max(times * (double(s.ih) * s.iw * s.ic + double(s.oh) * s.ow * s.oc), 262144.);
}

// Multiplications and additions of the direct sum, two for each term: the same for all three passes.
inline double Flops(const ConvShape& s) {
  return 2.0 * s.n * s.oc * s.oh * s.ow * (s.ic / s.groups) * s.kh * s.kw;
}

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_CONVOLUTION_SHAPE_HPP_
