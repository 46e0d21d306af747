#include "caffe/engine/depthwise.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/convolution_vector.hpp"
#include "caffe/engine/fused_pixels.hpp"

namespace caffe {
namespace engine {

#ifdef CAFFE_ENGINE_VECTOR

namespace {

// A correlation of images (ih, iw) with filters (kh, kw), whose results are cut into strips of rows. Between neighbouring
// inputs `spread` - 1 zeros are put in: so the gradient of a convolution with a stride is a correlation without one.
struct Correlation {
  int n, channels, ih, iw, oh, ow, kh, kw, stride_h, stride_w, pad_h, pad_w, spread_h, spread_w;
  int rows, strips;  // rows of a strip, strips of an image
  long line;         // floats of a padded row

  void Cut() {
    const long kFloats = 1 << 16;  // of a strip's input rows
    line = ((ow - 1L) * stride_w + kw) * channels;
    rows = std::max(1L, std::min<long>(oh, (kFloats / line - kh) / stride_h + 1));
    strips = (oh + rows - 1) / rows;
  }
  int items() const { return n * strips; }
  size_t RoomSize() const { return ((rows - 1L) * stride_h + kh) * line; }
};

struct Strip {
  int image, row, rows;

  Strip(const Correlation& c, int item) : image(item / c.strips), row(item % c.strips * c.rows) {
    rows = std::min(c.rows, c.oh - row);
  }
};

CAFFE_ENGINE_VECTOR_BEGIN

// The padded input rows of a strip.
static void FillRoom(const Correlation& c, const Strip& s, const float* x, const RecipeReader& reader, float* room) {
  const int height = (s.rows - 1) * c.stride_h + c.kh;
  const long columns = c.line / c.channels;
  // The columns of x that are read: pad + i * spread < columns.
  const long width = std::max(0L, std::min<long>(c.iw, (columns - c.pad_w + c.spread_w - 1) / c.spread_w));
  for (int i = 0; i < height; ++i, room += c.line) {
    const int at = s.row * c.stride_h + i - c.pad_h;
    if (at < 0 || at % c.spread_h || at / c.spread_h >= c.ih || width == 0) {
      memset(room, 0, c.line * sizeof(float));
      continue;
    }
    const float* from = x + (long(s.image) * c.ih + at / c.spread_h) * c.iw * c.channels;
    float* to = room + long(c.pad_w) * c.channels;
    if (c.spread_w == 1) {
      const long size = width * c.channels;
      memset(room, 0, (to - room) * sizeof(float));
      if (reader) {
        reader.Read(from, size, to);
      } else {
        Copy(from, size, to);
      }
      memset(to + size, 0, (room + c.line - to - size) * sizeof(float));
    } else {
      memset(room, 0, c.line * sizeof(float));
      for (long j = 0; j < width; ++j) {
        Copy(from + j * c.channels, c.channels, to + j * c.spread_w * c.channels);
      }
    }
  }
}

// N neighbouring outputs y (N, channels) of the padded rows `in`. KH, KW: of the filters w (taps, channels), or 0 for those
// of c.
template <int KH, int KW, int N>
static inline void CorrelatePixels(const Correlation& c, const float* in, const float* w, float* y) {
  const int kh = KH ? KH : c.kh, kw = KW ? KW : c.kw, channels = c.channels;
  const long step = long(c.stride_w) * channels;
  for (int k = 0; k < channels; k += kLanes) {
    Vec sum[N];
#pragma GCC unroll 8
    for (int q = 0; q < N; ++q) sum[q] = Broadcast(0);
#pragma GCC unroll 3
    for (int a = 0; a < kh; ++a) {
#pragma GCC unroll 3
      for (int b = 0; b < kw; ++b) {
        const Vec tap = Load(w + (long(a) * kw + b) * channels + k);
        const float* x = in + a * c.line + long(b) * channels + k;
#pragma GCC unroll 8
        for (int q = 0; q < N; ++q) sum[q] = Fma(Load(x + q * step), tap, sum[q]);
      }
    }
#pragma GCC unroll 8
    for (int q = 0; q < N; ++q) Store(y + long(q) * channels + k, sum[q]);
  }
}

// Adds to dw (taps, channels) what N neighbouring pixels of dy give.
template <int KH, int KW, int N>
static inline void AddPixelProducts(const Correlation& c, const float* in, const float* dy, float* dw) {
  const int kh = KH ? KH : c.kh, kw = KW ? KW : c.kw, channels = c.channels;
  const long step = long(c.stride_w) * channels;
  for (int k = 0; k < channels; k += kLanes) {
    Vec g[N];
#pragma GCC unroll 8
    for (int q = 0; q < N; ++q) g[q] = Load(dy + long(q) * channels + k);
#pragma GCC unroll 3
    for (int a = 0; a < kh; ++a) {
#pragma GCC unroll 3
      for (int b = 0; b < kw; ++b) {
        float* tap = dw + (long(a) * kw + b) * channels + k;
        const float* x = in + a * c.line + long(b) * channels + k;
        Vec sum = Load(tap);
#pragma GCC unroll 8
        for (int q = 0; q < N; ++q) sum = Fma(Load(x + q * step), g[q], sum);
        Store(tap, sum);
      }
    }
  }
}

// One output row.
template <int KH, int KW>
static inline void CorrelateRow(const Correlation& c, const float* in, const float* w, float* y) {
  const long step = long(c.stride_w) * c.channels;
  int j = 0;
  for (; j + 4 <= c.ow; j += 4) CorrelatePixels<KH, KW, 4>(c, in + j * step, w, y + long(j) * c.channels);
  for (; j < c.ow; ++j) CorrelatePixels<KH, KW, 1>(c, in + j * step, w, y + long(j) * c.channels);
}

template <int KH, int KW>
static inline void AddRowProducts(const Correlation& c, const float* in, const float* dy, float* dw) {
  const long step = long(c.stride_w) * c.channels;
  int j = 0;
  for (; j + 8 <= c.ow; j += 8) AddPixelProducts<KH, KW, 8>(c, in + j * step, dy + long(j) * c.channels, dw);
  for (; j + 4 <= c.ow; j += 4) AddPixelProducts<KH, KW, 4>(c, in + j * step, dy + long(j) * c.channels, dw);
  for (; j < c.ow; ++j) AddPixelProducts<KH, KW, 1>(c, in + j * step, dy + long(j) * c.channels, dw);
}

CAFFE_ENGINE_VECTOR_END

// Calls finish(item, first float of the result, number of floats) for each strip that was computed.
template <typename Finish>
void Correlate(const Correlation& c, const float* x, const RecipeReader& reader, const float* w, float* y,
    const Finish& finish) {
  const ThreadRooms rooms(c.RoomSize());
  const long row = long(c.ow) * c.channels;
#pragma omp parallel for schedule(static)
  for (int item = 0; item < c.items(); ++item) {
    const Strip s(c, item);
    FillRoom(c, s, x, reader, rooms.Mine());
    const long first = (long(s.image) * c.oh + s.row) * row;
    for (int i = 0; i < s.rows; ++i) {
      const float* in = rooms.Mine() + i * c.stride_h * c.line;
      if (c.kh == 3 && c.kw == 3) {
        CorrelateRow<3, 3>(c, in, w, y + first + i * row);
      } else {
        CorrelateRow<0, 0>(c, in, w, y + first + i * row);
      }
    }
    finish(item, first, s.rows * row);
  }
}

Correlation ForwardCorrelation(const ConvShape& s) {
  Correlation c = {s.n, s.ic, s.ih, s.iw, s.oh, s.ow, s.kh, s.kw, s.stride_h, s.stride_w, s.pad_h, s.pad_w, 1, 1};
  c.Cut();
  return c;
}

// That of dy, with the filters turned by half a turn, makes dx.
Correlation BackwardCorrelation(const ConvShape& s) {
  Correlation c = {s.n, s.ic, s.oh, s.ow, s.ih, s.iw, s.kh, s.kw, 1, 1, s.kh - 1 - s.pad_h, s.kw - 1 - s.pad_w, s.stride_h,
      s.stride_w};
  c.Cut();
  return c;
}

// Caffe's filters (channels, taps) to (taps, channels).
void Turn(const float* w, int channels, int taps, bool reversed, float* out) {
  for (int t = 0; t < taps; ++t) {
    for (int c = 0; c < channels; ++c) out[size_t(t) * channels + c] = w[size_t(c) * taps + (reversed ? taps - 1 - t : t)];
  }
}

}  // namespace

template <int lanes>
bool Depthwise<lanes>::Supports(const ConvShape& s) {
  return HasVectors(lanes) && s.groups == s.ic && s.groups == s.oc && s.ic % kLanes == 0 && s.dilation_h == 1 &&
      s.dilation_w == 1 && s.pad_h < s.kh && s.pad_w < s.kw &&
      InProportion((s.kh + 2. * s.stride_h) * ((s.ow - 1.) * s.stride_w + s.kw + s.iw) * s.ic, s, 8);
}

template <int lanes>
void Depthwise<lanes>::Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
    const OutputMoments* moments) {
  const Correlation c = ForwardCorrelation(shape_);
  const size_t size = size_t(c.channels) * c.kh * c.kw;
  bool laid_out;
  float* filters = filters_.Take(w, size, size, &laid_out);
  if (!laid_out) Turn(w, c.channels, c.kh * c.kw, false, filters);
  OutputFinisher finisher(bias, moments, c.channels, c.items());
  Correlate(c, x, RecipeReader(recipe, c.channels), filters, y,
      [&](int item, long first, long count) { finisher.Finish(item, y + first, count); });
  finisher.WriteMoments(double(c.n) * c.oh * c.ow);
}

template <int lanes>
void Depthwise<lanes>::InputGradient(const float* x, const float* dy, const float* w, float* dx, const InputRecipe* recipe,
    const InputGradientSums* sums) {
  const Correlation c = BackwardCorrelation(shape_);
  std::vector<float> filters(size_t(c.channels) * c.kh * c.kw);
  Turn(w, c.channels, c.kh * c.kw, true, filters.data());
  InputSummer summer(recipe, sums, c.channels, c.items());
  Correlate(c, dy, RecipeReader(NULL, c.channels), filters.data(), dx,
      [&](int item, long first, long count) { summer.Add(item, x + first, dx + first, count); });
  summer.Write();
}

template <int lanes>
void Depthwise<lanes>::BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe* recipe) {
  const Correlation c = ForwardCorrelation(shape_);
  const RecipeReader reader(recipe, c.channels);
  BiasSummer biases(db, c.channels, c.items());
  const int shares = ThreadCount(), taps = c.kh * c.kw;
  const size_t size = size_t(taps) * c.channels;
  const long row = long(c.ow) * c.channels;
  float* totals = SharedScratch().Get(shares * size);
  const ThreadRooms rooms(c.RoomSize() + size);
#pragma omp parallel for schedule(static) num_threads(shares)
  for (int share = 0; share < shares; ++share) {
    float* total = totals + share * size;
    float* sums = rooms.Mine() + c.RoomSize();
    memset(total, 0, size * sizeof(float));
    const int begin = long(c.items()) * share / shares, end = long(c.items()) * (share + 1) / shares;
    for (int item = begin; item < end; ++item) {
      const Strip s(c, item);
      FillRoom(c, s, x, reader, rooms.Mine());
      const float* out = dy + (long(s.image) * c.oh + s.row) * row;
      memset(sums, 0, size * sizeof(float));
      for (int i = 0; i < s.rows; ++i) {
        const float* in = rooms.Mine() + i * c.stride_h * c.line;
        if (c.kh == 3 && c.kw == 3) {
          AddRowProducts<3, 3>(c, in, out + i * row, sums);
        } else {
          AddRowProducts<0, 0>(c, in, out + i * row, sums);
        }
      }
      for (size_t i = 0; i < size; ++i) total[i] += sums[i];
      biases.Add(item, out, s.rows * row);
    }
  }
  for (int share = 0; share < shares; ++share) {
    for (int t = 0; t < taps; ++t) {
      for (int k = 0; k < c.channels; ++k) dw[size_t(k) * taps + t] += totals[share * size + size_t(t) * c.channels + k];
    }
  }
  biases.Write();
}

#else

template <int lanes>
bool Depthwise<lanes>::Supports(const ConvShape&) { return false; }
template <int lanes>
void Depthwise<lanes>::Forward(const float*, const float*, const float*, float*, const InputRecipe*, const OutputMoments*) {
  abort();
}
template <int lanes>
void Depthwise<lanes>::BackwardWeights(const float*, const float*, float*, float*, const InputRecipe*) { abort(); }
template <int lanes>
void Depthwise<lanes>::InputGradient(const float*, const float*, const float*, float*, const InputRecipe*,
    const InputGradientSums*) {
  abort();
}

#endif

template class Depthwise<CAFFE_ENGINE_LANES>;

}  // namespace engine
}  // namespace caffe
