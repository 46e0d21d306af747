#include "caffe/engine/winograd.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "caffe/engine/winograd_gemm.hpp"
#include "caffe/engine/winograd_transform.hpp"

namespace caffe {
namespace engine {

#ifdef CAFFE_ENGINE_VECTOR

namespace {

enum {
  kTile = 4,          // outputs of a tile along one axis
  kSpan = 6,          // inputs of a tile along one axis, and points
  kPoints = 36,       // points of a tile
  kSumPoint = 7,      // the point (1, 1) of a gradient is the sum of the tile: both interpolate at 1
  kStripTiles = 8,    // neighbouring tiles of a row that are transformed together
  kBlockTiles = 24,   // tiles that are multiplied together: their points stay in the second-level cache
  kPanel = 16,        // output channels that are multiplied together
  kLine = 16,         // floats of a cache line
};

// Memory that is kept from call to call, in huge pages where the system has them.
class Scratch {
 public:
  float* Get(size_t count) {
    if (count > count_) {
      const size_t page = 2 << 20, bytes = (count * sizeof(float) + page - 1) / page * page;
      memory_.reset(static_cast<float*>(aligned_alloc(page, bytes)));
      if (!memory_) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
      madvise(memory_.get(), bytes, MADV_HUGEPAGE);  // fewer misses of the address translation; does not matter if refused
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

int ThreadCount() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}


// A convolution with stride 1, cut into strips of tiles and those into blocks.
// Floats from one point of a block to the next: an odd number of cache lines, so that the points of a tile do not compete
// for the same few sets of the cache.
constexpr long PointStride(int channels) { return ((kBlockTiles * channels / kLine) | 1) * kLine; }

struct Slice { long begin, end; };
struct Plan {
  int ic, ih, iw, oc, oh, ow, pad_h, pad_w;
  int tiles_y, tiles_x, strip_tiles, strips_x, strips;  // strips: in all images together
  int block_strips, blocks;

  Plan(int n, int ic, int ih, int iw, int oc, int oh, int ow, int pad_h, int pad_w)
      : ic(ic), ih(ih), iw(iw), oc(oc), oh(oh), ow(ow), pad_h(pad_h), pad_w(pad_w) {
    tiles_y = (oh + kTile - 1) / kTile;
    tiles_x = (ow + kTile - 1) / kTile;
    strip_tiles = std::min<int>(tiles_x, kStripTiles);
    strips_x = (tiles_x + strip_tiles - 1) / strip_tiles;
    strips = n * tiles_y * strips_x;
    const int share = (strips + ThreadCount() - 1) / ThreadCount();
    block_strips = std::max(1, std::min(kBlockTiles / strip_tiles, share));
    blocks = (strips + block_strips - 1) / block_strips;
  }

  Slice InputSlice(int first, int count) const {
    const int last = std::min(strips, first + count);
    return Slice{RowOf(first, ih) * iw * ic, RowOf(last, ih) * iw * ic};
  }
  Slice OutputSlice(int first, int count) const {
    const int last = std::min(strips, first + count);
    return Slice{RowOf(first, oh) * ow * oc, RowOf(last, oh) * ow * oc};
  }
  long RowOf(int strip, int height) const {
    const int row = strip / strips_x;
    return long(row / tiles_y) * height + std::min(height, row % tiles_y * kTile);
  }
  size_t RowsSize() const { return size_t(kSpan) * (kTile * strip_tiles + 2) * std::max(ic, oc); }
  size_t FilterStride() const { return size_t(ic) * oc + kLine; }
  size_t SumsSize() const { return kPoints * FilterStride() + (oc / kLine + 1) * kLine; }  // filters' and biases'
};

struct Strip {
  int image, y, x, tiles;  // y, x: of the first output

  Strip(const Plan& p, int index) {
    const int tile_x = index % p.strips_x * p.strip_tiles;
    const int row = index / p.strips_x;
    image = row / p.tiles_y;
    y = row % p.tiles_y * kTile;
    x = tile_x * kTile;
    tiles = std::min(p.strip_tiles, p.tiles_x - tile_x);
  }
};

CAFFE_ENGINE_VECTOR_BEGIN

// Applies a transform of N rows to kSpan points along the columns of a strip: columns x0 .. x0 + width of the image
// (h, w, c) at rows y0 .. y0 + N, taken as 0 outside of it, to rows (kSpan, width, c).
template <int N, void (*Transform)(const Vec*, Vec*)>
static inline void TransformColumns(const float* image, int h, int w, int c, int y0, int x0, int width, float* rows) {
  const int first = std::max(x0, 0), last = std::min(x0 + width, w);
  const long size = long(width) * c, from = long(std::min(first - x0, width)) * c;
  const long to = std::max(from, long(last - x0) * c);
  for (int i = 0; i < kSpan; ++i) {
    std::fill(rows + i * size, rows + i * size + from, 0.f);
    std::fill(rows + i * size + to, rows + (i + 1) * size, 0.f);
  }
  const float* source[N];
  bool inside = true;
  for (int i = 0; i < N; ++i) {
    const bool row_inside = y0 + i >= 0 && y0 + i < h;
    source[i] = row_inside ? image + (long(y0 + i) * w + x0) * c : NULL;
    inside = inside && row_inside;
  }
  if (inside) {
    for (long k = from; k < to; k += kLanes) {
      Vec d[N], v[kSpan];
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) d[i] = Load(source[i] + k);
      Transform(d, v);
#pragma GCC unroll 8
      for (int i = 0; i < kSpan; ++i) Store(rows + i * size + k, v[i]);
    }
  } else {
    for (long k = from; k < to; k += kLanes) {
      Vec d[N], v[kSpan];
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) d[i] = source[i] ? Load(source[i] + k) : Broadcast(0);
      Transform(d, v);
#pragma GCC unroll 8
      for (int i = 0; i < kSpan; ++i) Store(rows + i * size + k, v[i]);
    }
  }
}

// Applies a transform of N columns to kSpan points along the rows that TransformColumns left; a tile starts every kTile
// columns. points: of the strip's first tile, (kPoints, tiles, c), point_stride apart.
template <int C, int N, void (*Transform)(const Vec*, Vec*)>
static inline void TransformRows(const float* rows, int width, int tiles, int channels, float* points) {
  const int c = C ? C : channels;
  const long point_stride = PointStride(c);
  for (int t = 0; t < tiles; ++t) {
    for (int i = 0; i < kSpan; ++i) {
      const float* row = rows + (long(i) * width + t * kTile) * c;
      float* to = points + i * kSpan * point_stride + long(t) * c;
      for (int k = 0; k < c; k += kLanes) {
        Vec d[N], v[kSpan];
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) d[j] = Load(row + j * c + k);
        Transform(d, v);
#pragma GCC unroll 8
        for (int j = 0; j < kSpan; ++j) Store(to + j * point_stride + k, v[j]);
      }
    }
  }
}

template <int IC>
static inline void InputTransform(const Plan& p, const Strip& s, const float* x, float* rows, float* points) {
  const int width = s.tiles * kTile + 2;
  TransformColumns<kSpan, InputPoints>(x + long(s.image) * p.ih * p.iw * p.ic, p.ih, p.iw, p.ic, s.y - p.pad_h,
      s.x - p.pad_w, width, rows);
  TransformRows<IC, kSpan, InputPoints>(rows, width, s.tiles, p.ic, points);
}

template <int OC>
static inline void GradientTransform(const Plan& p, const Strip& s, const float* dy, float* rows, float* points) {
  const int width = s.tiles * kTile;
  TransformColumns<kTile, GradientPoints>(dy + long(s.image) * p.oh * p.ow * p.oc, p.oh, p.ow, p.oc, s.y, s.x, width,
      rows);
  TransformRows<OC, kTile, GradientPoints>(rows, width, s.tiles, p.oc, points);
}

// A^T m A + bias of each tile of a strip, without what lies outside of the image.
template <int OC>
static inline void OutputTransform(const Plan& p, const Strip& s, const float* points, const float* bias, float* y) {
  const int oc = OC ? OC : p.oc;
  const long row = long(p.ow) * oc, point_stride = PointStride(oc);
  const int height = std::min<int>(kTile, p.oh - s.y);
  for (int t = 0; t < s.tiles; ++t) {
    const int x = s.x + t * kTile, width = std::min<int>(kTile, p.ow - x);
    float* to = y + ((long(s.image) * p.oh + s.y) * p.ow + x) * oc;
    const float* from = points + long(t) * oc;
    for (int k = 0; k < oc; k += kLanes) {
      Vec column[kSpan][kTile], out[kTile][kTile];
#pragma GCC unroll 8
      for (int j = 0; j < kSpan; ++j) {
        Vec m[kSpan];
#pragma GCC unroll 8
        for (int i = 0; i < kSpan; ++i) m[i] = Load(from + (i * kSpan + j) * point_stride + k);
        OutputsFromPoints(m, column[j]);
      }
      const Vec b = bias ? Load(bias + k) : Broadcast(0);
#pragma GCC unroll 8
      for (int i = 0; i < kTile; ++i) {
        Vec m[kSpan];
#pragma GCC unroll 8
        for (int j = 0; j < kSpan; ++j) m[j] = column[j][i];
        OutputsFromPoints(m, out[i]);
      }
      if (height == kTile && width == kTile) {
#pragma GCC unroll 8
        for (int i = 0; i < kTile; ++i) {
#pragma GCC unroll 8
          for (int j = 0; j < kTile; ++j) Store(to + i * row + j * oc + k, out[i][j] + b);
        }
      } else {
        for (int i = 0; i < height; ++i) {
          for (int j = 0; j < width; ++j) Store(to + i * row + j * oc + k, out[i][j] + b);
        }
      }
    }
  }
}

// G g G^T of every filter: to (kPoints, oc / kPanel, ic, kPanel), point after point stride apart. Filter (o, i) starts at
// w + o * o_stride + i * i_stride. flip: rotated by half a turn, as the backward pass needs it. Shared by the threads of
// a parallel region, which wait for one another at its end.
static void FilterTransform(const float* w, int ic, long i_stride, int oc, long o_stride, bool flip, float* points,
    long stride) {
  const int o_blocks = oc / kLanes;
#pragma omp for schedule(static)
  for (int block = 0; block < ic * o_blocks; ++block) {
    const int i = block / o_blocks, o = block % o_blocks * kLanes;
    const float* g = w + i * i_stride + o * o_stride;
    Vec column[3][kSpan];
    for (int b = 0; b < 3; ++b) {
      Vec tap[3];
      for (int a = 0; a < 3; ++a) tap[a] = Gather(g + (flip ? 8 - (a * 3 + b) : a * 3 + b), o_stride);
      FilterPoints(tap, column[b]);
    }
    const int panel = o / kPanel * kPanel, panel_width = std::min<int>(kPanel, oc - panel);
    float* to = points + long(panel) * ic + long(i) * panel_width + (o - panel);
    for (int a = 0; a < kSpan; ++a) {
      Vec tap[3] = {column[0][a], column[1][a], column[2][a]}, u[kSpan];
      FilterPoints(tap, u);
      for (int b = 0; b < kSpan; ++b) Store(to + (a * kSpan + b) * stride, u[b]);
    }
  }
}

template <int RW>
static inline void Prefetch(const float* p, const Slice& s, int point) {
  const long size = s.end - s.begin;
  for (long i = s.begin + size * point / kPoints, e = s.begin + size * (point + 1) / kPoints; i < e; i += kLine) __builtin_prefetch(p + i, RW, 2);
}

// y = x * w + bias for filters that FilterTransform laid out.
template <int IC, int OC>
static void Convolve(const Plan& p, const float* x, const float* filters, const float* bias, float* y) {
  const int ic = IC ? IC : p.ic, oc = OC ? OC : p.oc;
  static thread_local Scratch scratch;
  const long in_stride = PointStride(ic), out_stride = PointStride(oc);
  float* in = scratch.Get(kPoints * (in_stride + out_stride) + p.RowsSize());
  float* out = in + kPoints * in_stride;
  float* rows = out + kPoints * out_stride;
#pragma omp for schedule(static) nowait
  for (int block = 0; block < p.blocks; ++block) {
    const int first = block * p.block_strips, last = std::min(p.strips, first + p.block_strips);
    int tiles = 0;
    for (int i = first; i < last; ++i) {
      const Strip s(p, i);
      InputTransform<IC>(p, s, x, rows, in + long(tiles) * ic);
      tiles += s.tiles;
    }
    const Slice next_in = p.InputSlice(last, p.block_strips), now_out = p.OutputSlice(first, p.block_strips);
    for (int point = 0; point < kPoints; ++point) {
      Prefetch<0>(x, next_in, point);
      Prefetch<1>(y, now_out, point);
      const float* a = in + point * in_stride;
      const float* b = filters + point * p.FilterStride();
      float* c = out + point * out_stride;
      for (int o = 0; o < oc; o += kPanel) {
        if (oc - o >= kPanel) {
          RowsProduct<2>(tiles, a, ic, b + long(o) * ic, ic, c + o, oc);
        } else {
          RowsProduct<1>(tiles, a, ic, b + long(o) * ic, ic, c + o, oc);
        }
      }
    }
    tiles = 0;
    for (int i = first; i < last; ++i) {
      const Strip s(p, i);
      OutputTransform<OC>(p, s, out + long(tiles) * oc, bias, y);
      tiles += s.tiles;
    }
  }
}

// Sums (B^T d B)^T (A dy A^T) over this thread's blocks: sums is (kPoints, oc / kPanel, ic, kPanel).
template <int IC, int OC>
static void SumFilterGradients(const Plan& p, const float* x, const float* dy, int thread, int threads, float* sums) {
  const int ic = IC ? IC : p.ic, oc = OC ? OC : p.oc;
  static thread_local Scratch scratch;
  const long in_stride = PointStride(ic), out_stride = PointStride(oc);
  float* in = scratch.Get(kPoints * (in_stride + out_stride) + p.RowsSize());
  float* out = in + kPoints * in_stride;
  float* rows = out + kPoints * out_stride;
  memset(sums, 0, p.SumsSize() * sizeof(float));
  float* bias_sums = sums + kPoints * p.FilterStride();
  const int begin = long(p.blocks) * thread / threads, end = long(p.blocks) * (thread + 1) / threads;
  for (int block = begin; block < end; ++block) {
    const int first = block * p.block_strips, last = std::min(p.strips, first + p.block_strips);
    int tiles = 0;
    for (int i = first; i < last; ++i) {
      const Strip s(p, i);
      InputTransform<IC>(p, s, x, rows, in + long(tiles) * ic);
      GradientTransform<OC>(p, s, dy, rows, out + long(tiles) * oc);
      tiles += s.tiles;
    }
    const Slice next_in = p.InputSlice(last, p.block_strips), next_out = p.OutputSlice(last, p.block_strips);
    for (int point = 0; point < kPoints; ++point) {
      Prefetch<0>(x, next_in, point);
      Prefetch<0>(dy, next_out, point);
      const float* a = in + point * in_stride;
      const float* b = out + point * out_stride;
      float* c = sums + point * p.FilterStride();
      for (int o = 0; o < oc; o += kPanel) {
        if (oc - o >= kPanel) {
          AddColumnsProduct<2>(ic, a, ic, b + o, oc, tiles, c + long(o) * ic);
        } else {
          AddColumnsProduct<1>(ic, a, ic, b + o, oc, tiles, c + long(o) * ic);
        }
      }
    }
    for (int o = 0; o < oc; o += kLanes) {
      Vec sum = Broadcast(0);
      for (int t = 0; t < tiles; ++t) sum += Load(out + kSumPoint * out_stride + long(t) * oc + o);
      Store(bias_sums + o, Load(bias_sums + o) + sum);
    }
  }
}

// dw += G^T (sum over threads) G, in the order of the threads.
static void FilterGradients(const Plan& p, const float* sums, size_t sums_size, int threads, float* dw) {
  const int o_blocks = p.oc / kLanes;
#pragma omp for schedule(static)
  for (int block = 0; block < p.ic * o_blocks; ++block) {
    const int i = block / o_blocks, o = block % o_blocks * kLanes;
    const int panel = o / kPanel * kPanel, panel_width = std::min<int>(kPanel, p.oc - panel);
    const float* from = sums + long(panel) * p.ic + long(i) * panel_width + (o - panel);
    Vec column[kSpan][3];
    for (int b = 0; b < kSpan; ++b) {
      Vec u[kSpan];
      for (int a = 0; a < kSpan; ++a) {
        const float* point = from + (a * kSpan + b) * p.FilterStride();
        u[a] = Load(point);
        for (int t = 1; t < threads; ++t) u[a] += Load(point + t * sums_size);
      }
      TapsFromPoints(u, column[b]);
    }
    for (int a = 0; a < 3; ++a) {
      Vec u[kSpan], dg[3];
      for (int b = 0; b < kSpan; ++b) u[b] = column[b][a];
      TapsFromPoints(u, dg);
      for (int b = 0; b < 3; ++b) {
        float lanes[kLanes];
        Store(lanes, dg[b]);
        for (int lane = 0; lane < kLanes; ++lane) dw[(long(o + lane) * p.ic + i) * 9 + a * 3 + b] += lanes[lane];
      }
    }
  }
}

// Calls FUNCTION<ic, oc> with constants for the channels that ResNets for CIFAR have: a fifth faster than with variables.
#define CAFFE_ENGINE_FOR_CHANNELS(FUNCTION, ic, oc) \
  ((ic) == 16 && (oc) == 16 ? FUNCTION<16, 16> \
      : (ic) == 32 && (oc) == 32 ? FUNCTION<32, 32> : (ic) == 64 && (oc) == 64 ? FUNCTION<64, 64> : FUNCTION<0, 0>)

CAFFE_ENGINE_VECTOR_END

// db += sums of the threads, in their order.
void BiasGradients(const Plan& p, const float* sums, size_t sums_size, int threads, float* db) {
  for (int t = 0; t < threads; ++t) {
    const float* from = sums + t * sums_size + kPoints * p.FilterStride();
    for (int o = 0; o < p.oc; ++o) db[o] += from[o];
  }
}

// Used by the thread that calls, and read by all threads of its parallel region.
thread_local Scratch shared_scratch;

}  // namespace

bool Winograd::Supports(const ConvShape& s) {
  return HasVectors() && s.kh == 3 && s.kw == 3 && s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 &&
      s.dilation_w == 1 && s.groups == 1 && s.ic % kLanes == 0 && s.oc % kLanes == 0 && s.pad_h <= 2 && s.pad_w <= 2;
}

void Winograd::Forward(const float* x, const float* w, const float* bias, float* y) {
  const ConvShape& s = shape_;
  const Plan plan(s.n, s.ic, s.ih, s.iw, s.oc, s.oh, s.ow, s.pad_h, s.pad_w);
  float* filters = shared_scratch.Get(kPoints * plan.FilterStride());
#pragma omp parallel
  {
    FilterTransform(w, s.ic, 9, s.oc, 9L * s.ic, false, filters, plan.FilterStride());
    CAFFE_ENGINE_FOR_CHANNELS(Convolve, plan.ic, plan.oc)(plan, x, filters, bias, y);
  }
}

// dx is the convolution of dy with the filters turned by half a turn, and padded so that it has the size of x.
void Winograd::BackwardData(const float* dy, const float* w, float* dx) {
  const ConvShape& s = shape_;
  const Plan plan(s.n, s.oc, s.oh, s.ow, s.ic, s.ih, s.iw, 2 - s.pad_h, 2 - s.pad_w);
  float* filters = shared_scratch.Get(kPoints * plan.FilterStride());
#pragma omp parallel
  {
    FilterTransform(w, s.oc, 9L * s.ic, s.ic, 9, true, filters, plan.FilterStride());
    CAFFE_ENGINE_FOR_CHANNELS(Convolve, plan.ic, plan.oc)(plan, dy, filters, NULL, dx);
  }
}

void Winograd::BackwardWeights(const float* x, const float* dy, float* dw, float* db) {
  const ConvShape& s = shape_;
  const Plan plan(s.n, s.ic, s.ih, s.iw, s.oc, s.oh, s.ow, s.pad_h, s.pad_w);
  const int threads = ThreadCount();
  const size_t size = plan.SumsSize();
  float* sums = shared_scratch.Get(threads * size);
#pragma omp parallel num_threads(threads)
  {
    // A team may turn out smaller than it was asked for: each share is still summed alone, in the same order.
#pragma omp for schedule(static)
    for (int t = 0; t < threads; ++t) {
      CAFFE_ENGINE_FOR_CHANNELS(SumFilterGradients, plan.ic, plan.oc)(plan, x, dy, t, threads, sums + t * size);
    }
    FilterGradients(plan, sums, size, threads, dw);
#pragma omp single
    if (db) BiasGradients(plan, sums, size, threads, db);
  }
}

#else

bool Winograd::Supports(const ConvShape&) { return false; }
void Winograd::Forward(const float*, const float*, const float*, float*) { abort(); }
void Winograd::BackwardData(const float*, const float*, float*) { abort(); }
void Winograd::BackwardWeights(const float*, const float*, float*, float*) { abort(); }

#endif

}  // namespace engine
}  // namespace caffe
