#include "caffe/engine/direct.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "caffe/engine/convolution_product.hpp"
#include "caffe/engine/convolution_scratch.hpp"

namespace caffe {
namespace engine {

#ifdef CAFFE_ENGINE_VECTOR

namespace {

enum {
  kGroupPixels = 64,  // output pixels that are worked on together: their inputs stay in the cache
  kMaxTaps = 1024,
};

// The taps (kh, kw, ic) of an output pixel are runs of neighbouring floats in an image whose padding is there: kh
// runs of kw x ic, or with dilation kh x kw runs of ic. The padded rows of a group of output rows are copied for
// that.
struct Window {
  explicit Window(const ConvShape& s)
      : s(s), taps(s.kh * s.kw * s.ic), rows(RowsOfGroup(s)),
        row_groups((s.oh + rows - 1) / rows), padded(s.pad_h > 0 || s.pad_w > 0),
        line((s.iw + 2L * s.pad_w) * s.ic) {
    const bool dense = s.dilation_w == 1;
    for (int a = 0; a < s.kh; ++a) {
      for (int b = 0; b < (dense ? 1 : s.kw); ++b) offsets.push_back(a * s.dilation_h * line + long(b) * s.dilation_w * s.ic);
    }
    run = dense ? s.kw * s.ic : s.ic;
  }

  // About kGroupPixels pixels; fewer where there are not enough images to give every thread a group.
  static int RowsOfGroup(const ConvShape& s) {
    const int groups = (ThreadCount() + s.n - 1) / s.n;  // of an image
    return std::max(1, std::min((s.oh + groups - 1) / groups, kGroupPixels / s.ow));
  }
  int InputRows(int output_rows) const { return (output_rows - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1; }
  long GroupSize() const { return InputRows(rows) * line; }        // floats of a group's padded rows
  long ImageSize() const { return (s.ih + 2L * s.pad_h) * line; }  // and of an image's
  long PixelStride() const { return long(s.stride_w) * s.ic; }
  Runs runs() const { return Runs{static_cast<int>(offsets.size()), run, offsets.data()}; }

  const ConvShape& s;
  const int taps;
  const int rows, row_groups;  // rows of a group, groups of an image
  const bool padded;
  const long line;             // floats of a padded row
  std::vector<long> offsets;   // of the runs, from the first tap
  int run;                     // floats of a run
};

// Some output rows of an image.
struct Group {
  int image, row, rows;

  Group(const Window& w, int index) : image(index / w.row_groups), row(index % w.row_groups * w.rows) {
    rows = std::min(w.rows, w.s.oh - row);
  }
  long FirstPixel(const ConvShape& s) const { return (long(image) * s.oh + row) * s.ow; }
};

CAFFE_ENGINE_VECTOR_BEGIN

// The input rows of a group, with padding: in `buffer` unless x has them already.
static const float* PaddedRows(const Window& w, const Group& g, const float* x, float* buffer) {
  const ConvShape& s = w.s;
  const long image = long(g.image) * s.ih * s.iw * s.ic, width = long(s.iw) * s.ic, left = long(s.pad_w) * s.ic;
  const int first = g.row * s.stride_h - s.pad_h;
  if (!w.padded) return x + image + first * width;
  for (int i = 0; i < w.InputRows(g.rows); ++i) {
    float* to = buffer + i * w.line;
    if (first + i < 0 || first + i >= s.ih) {
      memset(to, 0, w.line * sizeof(float));
    } else {
      memset(to, 0, left * sizeof(float));
      Copy(x + image + (first + i) * width, width, to + left);
      memset(to + left + width, 0, left * sizeof(float));
    }
  }
  return buffer;
}

// y for the filters (taps, oc) in panels. buffer: of GroupSize().
static void Multiply(const Window& w, const float* x, const float* filters, const float* bias, float* y, float* buffer) {
  const ConvShape& s = w.s;
  const int groups = s.n * w.row_groups;
#pragma omp for schedule(static) nowait
  for (int index = 0; index < groups; ++index) {
    const Group g(w, index);
    const float* in = PaddedRows(w, g, x, buffer);
    float* out = y + g.FirstPixel(s) * s.oc;
    for (int i = 0; i < g.rows; ++i) {
      Product(s.ow, s.oc, in + i * s.stride_h * w.line, w.PixelStride(), w.runs(), filters, bias,
          out + long(i) * s.ow * s.oc, s.oc);
    }
  }
}

// dx of every image, for the filters (oc, width) in panels: width is taps rounded up to vectors. What each output
// pixel gives to its taps is added up in the padded image. image: of ImageSize(), followed by ow * width.
static void Scatter(const Window& w, const float* dy, const float* filters, int width, float* dx, float* image) {
  const ConvShape& s = w.s;
  float* taps = image + w.ImageSize();
#pragma omp for schedule(static) nowait
  for (int n = 0; n < s.n; ++n) {
    memset(image, 0, w.ImageSize() * sizeof(float));
    for (int i = 0; i < s.oh; ++i) {
      Product(s.ow, width, s.oc, dy + (long(n) * s.oh + i) * s.ow * s.oc, s.oc, filters, taps, width);
      for (int j = 0; j < s.ow; ++j) {
        float* to = image + i * s.stride_h * w.line + j * w.PixelStride();
        const float* from = taps + long(j) * width;
        for (size_t r = 0; r < w.offsets.size(); ++r, from += w.run) {
          float* run = to + w.offsets[r];
          int k = 0;
          for (; k + kLanes <= w.run; k += kLanes) Store(run + k, Load(run + k) + Load(from + k));
          for (; k < w.run; ++k) run[k] += from[k];
        }
      }
    }
    for (int i = 0; i < s.ih; ++i) {
      Copy(image + (i + s.pad_h) * w.line + s.pad_w * s.ic, long(s.iw) * s.ic, dx + (long(n) * s.ih + i) * s.iw * s.ic);
    }
  }
}

// Sums of the products of taps and gradients over the groups begin .. end: (taps, oc) in panels, then the biases'
// (oc). sums: room for them, followed by GroupSize().
static void SumProducts(const Window& w, const float* x, const float* dy, int begin, int end, float* total, float* sums) {
  const ConvShape& s = w.s;
  const size_t size = (w.taps + 1L) * s.oc;
  float* bias_sums = sums + long(w.taps) * s.oc;
  float* buffer = sums + size;
  memset(sums, 0, sizeof(float) * size);
  memset(total, 0, sizeof(float) * size);
  for (int index = begin; index < end; ++index) {
    const Group g(w, index);
    const float* in = PaddedRows(w, g, x, buffer);
    const float* out = dy + g.FirstPixel(s) * s.oc;
    const Pixels pixels = {g.rows, s.ow, s.stride_h * w.line, w.PixelStride(), long(s.ow) * s.oc, s.oc};
    for (size_t r = 0; r < w.offsets.size(); ++r) {
      AddTransposedProduct(w.run, s.oc, in + w.offsets[r], out, pixels, sums, r * w.run, w.taps);
    }
    for (int o = 0; o < s.oc; o += kLanes) {
      Vec sum = Broadcast(0);
      for (int p = 0; p < g.rows * s.ow; ++p) sum += Load(out + long(p) * s.oc + o);
      Store(bias_sums + o, Load(bias_sums + o) + sum);
    }
    if ((index - begin) % kPartBlocks == kPartBlocks - 1 || index == end - 1) AddPart(sums, size, total);
  }
}

CAFFE_ENGINE_VECTOR_END

// Where Caffe, whose order is (oc, ic, kh, kw), has a tap (kh, kw, ic) of the output channel o.
long CaffeTap(const Window& w, int o, int tap) {
  return long(o) * w.taps + tap % w.s.ic * w.s.kh * w.s.kw + tap / w.s.ic;
}

}  // namespace

template <int lanes>
bool Direct<lanes>::Supports(const ConvShape& s) {
  const double taps = double(s.ic) * s.kh * s.kw;
  // Upstream's division rounds a negative number towards 0: an image that is smaller than the filter may have an output.
  const bool is_inside = (s.oh - 1.) * s.stride_h + s.dilation_h * (s.kh - 1.) < s.ih + 2. * s.pad_h &&
      (s.ow - 1.) * s.stride_w + s.dilation_w * (s.kw - 1.) < s.iw + 2. * s.pad_w;
  return HasVectors(lanes) && s.groups == 1 && s.oc % kLanes == 0 && is_inside && taps <= kMaxTaps &&
      InProportion(PaddedSize(s) + s.ow * taps, s, 8);  // what each thread works in, see Scatter
}

template <int lanes>
void Direct<lanes>::Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe*,
    const OutputMoments*) {
  const Window window(shape_);
  const int oc = shape_.oc, taps = window.taps;
  bool laid_out;
  float* filters = filters_.Take(w, size_t(taps) * oc, size_t(taps) * oc, &laid_out);
  const ThreadRooms rooms(window.GroupSize());
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int tap = 0; tap < (laid_out ? 0 : taps); ++tap) {
      for (int o = 0; o < oc; ++o) filters[PanelOffset(tap, o, taps, oc)] = w[CaffeTap(window, o, tap)];
    }
    Multiply(window, x, filters, bias, y, rooms.Mine());
  }
}

template <int lanes>
void Direct<lanes>::BackwardData(const float* dy, const float* w, float* dx) {
  const Window window(shape_);
  const int oc = shape_.oc, taps = window.taps, width = (taps + kLanes - 1) / kLanes * kLanes;
  float* filters = SharedScratch().Get(size_t(oc) * width);
  const ThreadRooms rooms(window.ImageSize() + size_t(shape_.ow) * width);
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int o = 0; o < oc; ++o) {
      for (int tap = 0; tap < width; ++tap) {
        filters[PanelOffset(o, tap, oc, width)] = tap < taps ? w[CaffeTap(window, o, tap)] : 0;
      }
    }
    Scatter(window, dy, filters, width, dx, rooms.Mine());
  }
}

template <int lanes>
void Direct<lanes>::BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe*) {
  const Window window(shape_);
  const int oc = shape_.oc, taps = window.taps, threads = ThreadCount();
  const long groups = long(shape_.n) * window.row_groups, size = long(taps + 1) * oc;
  float* sums = SharedScratch().Get(threads * size);
  const ThreadRooms rooms(size + window.GroupSize());
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (int t = 0; t < threads; ++t) {
      SumProducts(window, x, dy, groups * t / threads, groups * (t + 1) / threads, sums + t * size, rooms.Mine());
    }
#pragma omp for schedule(static)
    for (int o = 0; o < oc; ++o) {
      for (int t = 0; t < threads; ++t) {
        const float* sum = sums + t * size;
        for (int tap = 0; tap < taps; ++tap) dw[CaffeTap(window, o, tap)] += sum[PanelOffset(tap, o, taps, oc)];
        if (db) db[o] += sum[long(taps) * oc + o];
      }
    }
  }
}

#else

template <int lanes>
bool Direct<lanes>::Supports(const ConvShape&) { return false; }
template <int lanes>
void Direct<lanes>::Forward(const float*, const float*, const float*, float*, const InputRecipe*, const OutputMoments*) {
  abort();
}
template <int lanes>
void Direct<lanes>::BackwardData(const float*, const float*, float*) { abort(); }
template <int lanes>
void Direct<lanes>::BackwardWeights(const float*, const float*, float*, float*, const InputRecipe*) { abort(); }

#endif

template class Direct<CAFFE_ENGINE_LANES>;

}  // namespace engine
}  // namespace caffe
