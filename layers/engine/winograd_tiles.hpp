#ifndef CAFFE_ENGINE_WINOGRAD_TILES_HPP_
#define CAFFE_ENGINE_WINOGRAD_TILES_HPP_

#include <algorithm>
#include <cstddef>

#include "caffe/engine/convolution.hpp"
#include "caffe/engine/convolution_product.hpp"
#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/winograd_transform.hpp"

// How the images of a convolution are cut into tiles, and the two-dimensional transforms of tiles.

#ifdef CAFFE_ENGINE_VECTOR

namespace caffe {
namespace engine {
namespace winograd {

enum {
  kTile = 4,         // outputs of a tile along one axis
  kSpan = 6,         // inputs of a tile along one axis, and points
  kPoints = 36,      // points of a tile
  kSumPoint = 7,     // of a gradient, the point (1, 1) is the sum of the tile, because both interpolate at 1
  kStripTiles = 8,   // neighbouring tiles of a row that are transformed together
  // Tiles that are multiplied together: their points stay in the second-level cache.
  kBlockTiles = 24,
  kFewChannels = 16,
  kBlockTilesOfFewChannels = 48,
  // Of filters that are larger than that cache, more, because all of them are read for each block.
  kLargeFilters = 128 * 128,
  kLargeBlockTiles = 96,
  kLine = 16,        // floats of a cache line
};

// Floats from one point of a block to the next: an odd number of cache lines, so that the points of a tile do not
// compete for the same few sets of the cache.
constexpr long PointStride(int channels, int block_tiles) {
  return ((long(block_tiles) * channels / kLine) | 1) * kLine;
}

// How many tiles are a block of a convolution.
constexpr int BlockTiles(int ic, int oc) {
  return ic * oc > kLargeFilters ? kLargeBlockTiles
      : ic <= kFewChannels && oc <= kFewChannels ? kBlockTilesOfFewChannels : kBlockTiles;
}

// Floats from one of the kSpan rows of a strip to the next, between its transforms.
constexpr long StripRow(int channels) { return long(kTile * kStripTiles + 2) * channels; }

// A run of floats in a tensor.
struct Slice {
  long begin, end;
};

// A convolution with 3 x 3 filters and stride 1, cut into strips of up to kStripTiles tiles, and those into blocks
// of up to block_tiles tiles. Strips are counted through all images.
struct Plan {
  int ic, ih, iw, oc, oh, ow, pad_h, pad_w;
  int tiles_y, tiles_x, strip_tiles, strips_x, strips;  // strips: in all images together
  int block_tiles, block_strips, blocks;

  Plan(int n, int ic, int ih, int iw, int oc, int oh, int ow, int pad_h, int pad_w)
      : ic(ic), ih(ih), iw(iw), oc(oc), oh(oh), ow(ow), pad_h(pad_h), pad_w(pad_w) {
    tiles_y = (oh + kTile - 1) / kTile;
    tiles_x = (ow + kTile - 1) / kTile;
    strip_tiles = std::min<int>(tiles_x, kStripTiles);
    strips_x = (tiles_x + strip_tiles - 1) / strip_tiles;
    strips = n * tiles_y * strips_x;
    block_tiles = BlockTiles(ic, oc);
    const int least = ic * oc > kLargeFilters ? ThreadCount() : 16;  // blocks of small inputs: something for every thread
    block_strips = std::min(block_tiles / strip_tiles, (strips + least - 1) / least);
    blocks = (strips + block_strips - 1) / block_strips;
  }

  // The rows of x and of y that belong to a block, about; nothing for a block after the last.
  Slice Inputs(int block) const { return Slice{FirstRow(block, ih) * iw * ic, FirstRow(block + 1, ih) * iw * ic}; }
  Slice Outputs(int block) const { return Slice{FirstRow(block, oh) * ow * oc, FirstRow(block + 1, oh) * ow * oc}; }
  long FirstRow(int block, int height) const {
    const int row = std::min(strips, block * block_strips) / strips_x;
    return long(row / tiles_y) * height + std::min(height, row % tiles_y * kTile);
  }

  // The blocks are dealt out in equal shares.
  int FirstBlock(int share, int shares) const { return long(blocks) * share / shares; }

  // Floats of the buffers. C: the channels of inputs and of outputs, or 0 for `channels`.
  template <int C>
  long PointStrideOf(int channels) const {
    return C ? PointStride(C, BlockTiles(C, C)) : PointStride(channels, block_tiles);
  }
  size_t RowsSize() const { return kSpan * StripRow(std::max(ic, oc)); }
  size_t FilterStride() const { return size_t(ic) * oc + kLine; }
  size_t FiltersSize() const { return kPoints * FilterStride(); }
  size_t SumsSize() const { return FiltersSize() + (oc / kLine + 1) * kLine; }  // filters' and biases'
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

// How values are read from memory: as they are, through a ReLU, or by a recipe. Keep is told each value of the
// block's own once, if the padding is 1.
struct KeepsNothing {
  void Keep(const float*, Vec) const {}
};

struct AsIs : KeepsNothing {
  Vec operator()(const float* p, int) const { return Load(p); }
};

struct Clipped : KeepsNothing {
  Vec operator()(const float* p, int) const { return Clip(Load(p)); }
};

template <bool kRelu>
struct ByRecipe : KeepsNothing {
  const float *mean, *scale, *shift;
  explicit ByRecipe(const InputRecipe& recipe) : mean(recipe.mean), scale(recipe.scale), shift(recipe.shift) {}
  Vec Centred(const float* p, int channel) const { return Load(p) - Load(mean + channel); }
  Vec Scaled(Vec centred, int channel) const { return Fma(centred, Load(scale + channel), Load(shift + channel)); }
  Vec operator()(const float* p, int channel) const {
    const Vec v = Scaled(Centred(p, channel), channel);
    return kRelu ? Clip(v) : v;
  }
};

struct Summed {
  const float* x;
  const InputRecipe& recipe;
  Vec operator()(const float* p, int channel) const {
    return Clip(Load(recipe.base + (p - x)) + ByRecipe<false>(recipe)(p, channel));
  }
  void Keep(const float* p, Vec v) const { Store(recipe.sum + (p - x), v); }
};

// A gradient by its recipe. Where the mask is 0, g is multiplied by it, not left out: NaN stays.
template <bool kMask>
struct Combined : KeepsNothing {
  const float* dy;
  const GradientRecipe& recipe;
  Combined(const float* dy, const GradientRecipe& recipe) : dy(dy), recipe(recipe) {}
  Vec operator()(const float* p, int channel) const {
    const Vec centred = Load(recipe.y + (p - dy)) - Load(recipe.mean + channel);
    Vec factor = Load(recipe.factor + channel);
    if (kMask) {
      const Vec mask = Fma(centred, Load(recipe.mask_scale + channel), Load(recipe.mask_shift + channel));
      factor = WherePositive(mask, factor);
    }
    return Fma(Load(p), factor, Fma(centred, Load(recipe.scale + channel), Load(recipe.shift + channel)));
  }
};

// What becomes of the outputs of a convolution, without their bias, and what is summed by channel: nothing,
struct NoTerms {
  Vec operator()(Vec v, long, int, Vec*, Vec*) const { return v; }
};

// for their moments v and v^2,
struct MomentTerms {
  Vec operator()(Vec v, long, int, Vec* sum, Vec* product) const {
    *sum += v;
    *product = Fma(v, v, *product);
    return v;
  }
};

// for InputGradientSums, whose x has the shape of the output, g and g (x - mean). Where the ReLU clips, v is multiplied by
// 0, not left out: NaN stays.
template <bool kRelu>
struct GradientTerms {
  const float* x;
  ByRecipe<kRelu> read;
  Vec operator()(Vec v, long at, int channel, Vec* sum, Vec* product) const {
    const Vec centred = read.Centred(x + at, channel);
    const Vec g = kRelu ? v * WherePositive(read.Scaled(centred, channel), Broadcast(1)) : v;
    *sum += g;
    *product = Fma(g, centred, *product);
    return v;
  }
};

// and for a ResidualSum, where dx holds the other gradient.
struct ResidualTerms {
  const float *x, *dx;
  ResidualSum sum_of_x;
  Vec operator()(Vec v, long at, int channel, Vec* sum, Vec* product) const {
    const Vec g = (v + Load(dx + at)) * WherePositive(Load(x + at), Broadcast(1));
    *sum += g;
    *product = Fma(g, Load(sum_of_x.values + at) - Load(sum_of_x.mean + channel), *product);
    return g;
  }
};

// Applies a transform of N rows to kSpan points along the columns of a strip: columns x0 .. x0 + width of the image
// (h, w, c) at rows y0 .. y0 + N, taken as 0 outside of it, to rows (kSpan, width, c), StripRow apart.
template <int C, int N, void (*Transform)(const Vec*, Vec*), typename Read>
CAFFE_ENGINE_NO_INLINE void TransformColumns(const float* image, int h, int w, int channels, int y0, int x0, int width,
    const Read& read, float* rows) {
  const int c = C ? C : channels;
  const int first = std::max(x0, 0), last = std::min(x0 + width, w);
  const long stride = StripRow(c), from = long(std::min(first - x0, width)) * c;
  const long to = std::max(from, long(last - x0) * c);
  for (int i = 0; i < kSpan; ++i) {
    std::fill(rows + i * stride, rows + i * stride + from, 0.f);
    std::fill(rows + i * stride + to, rows + i * stride + long(width) * c, 0.f);
  }
  // value(row, float of the row, channel), keep(row, float of the row, value)
  const auto transform = [&](const auto& value, const auto& keep) __attribute__((always_inline)) {
    for (long pixel = from; pixel < to; pixel += c) {
      const bool is_own = pixel >= c && pixel < long(width - 1) * c;
      for (int k = 0; k < c; k += kLanes) {
        Vec d[N], v[kSpan];
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) d[i] = value(i, pixel + k, k);
        if (is_own) {
#pragma GCC unroll 8
          for (int i = 1; i < N - 1; ++i) keep(i, pixel + k, d[i]);
        }
        Transform(d, v);
#pragma GCC unroll 8
        for (int i = 0; i < kSpan; ++i) Store(rows + i * stride + pixel + k, v[i]);
      }
    }
  };
  const long line = long(w) * c;
  const float* source = image + y0 * line + long(x0) * c;
  if (y0 >= 0 && y0 + N <= h) {
    return transform([&](int i, long at, int k) { return read(source + i * line + at, k); },
        [&](int i, long at, Vec v) { read.Keep(source + i * line + at, v); });
  }
  const float* nearest[N];  // rows of the image
  float inside[N];
  for (int i = 0; i < N; ++i) {
    const int y = std::min(std::max(y0 + i, 0), h - 1);
    nearest[i] = image + y * line + long(x0) * c;
    inside[i] = y == y0 + i;
  }
  transform([&](int i, long at, int k) { return WherePositive(Broadcast(inside[i]), read(nearest[i] + at, k)); },
      [&](int i, long at, Vec v) { if (inside[i]) read.Keep(nearest[i] + at, v); });
}

// Applies a transform of N columns to kSpan points along the rows that TransformColumns left; a tile starts every
// kTile columns. points: of the strip's first tile, (kPoints, tiles, c), point_stride apart.
template <int C, int N, void (*Transform)(const Vec*, Vec*)>
static inline void TransformRows(const float* rows, int tiles, int channels, long point_stride, float* points) {
  const int c = C ? C : channels;
  for (int t = 0; t < tiles; ++t) {
    for (int i = 0; i < kSpan; ++i) {
      const float* row = rows + i * StripRow(c) + long(t) * kTile * c;
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

// An activation or a gradient and the recipe for it, or NULL.
struct Input {
  const float* values;
  const InputRecipe* recipe;
};

struct Gradient {
  const float* values;
  const GradientRecipe* recipe;
};

// Calls work(read).
template <typename Work>
CAFFE_ENGINE_INLINE void WithReader(const Input& x, const Work& work) {
  if (!x.recipe) return work(AsIs());
  if (!x.recipe->mean) return work(Clipped());
  if (x.recipe->base) return work(Summed{x.values, *x.recipe});
  if (x.recipe->relu) return work(ByRecipe<true>(*x.recipe));
  work(ByRecipe<false>(*x.recipe));
}

template <typename Work>
CAFFE_ENGINE_INLINE void WithReader(const Gradient& dy, const Work& work) {
  if (!dy.recipe) return work(AsIs());
  if (dy.recipe->mask_scale) return work(Combined<true>(dy.values, *dy.recipe));
  work(Combined<false>(dy.values, *dy.recipe));
}

// Source: an Input, or of the convolution that makes dx a Gradient.
template <int IC, typename Source>
CAFFE_ENGINE_INLINE void InputTransform(const Plan& p, const Strip& s, const Source& x, float* rows, float* points) {
  const int width = s.tiles * kTile + 2, y0 = s.y - p.pad_h, x0 = s.x - p.pad_w;
  const float* image = x.values + long(s.image) * p.ih * p.iw * p.ic;
  WithReader(x, [&](const auto& read) __attribute__((always_inline)) {
    TransformColumns<IC, kSpan, InputPoints>(image, p.ih, p.iw, p.ic, y0, x0, width, read, rows);
  });
  TransformRows<IC, kSpan, InputPoints>(rows, s.tiles, p.ic, p.PointStrideOf<IC>(p.ic), points);
}

template <int OC>
CAFFE_ENGINE_INLINE void GradientTransform(const Plan& p, const Strip& s, const Gradient& dy, float* rows, float* points) {
  const int width = s.tiles * kTile;
  const float* image = dy.values + long(s.image) * p.oh * p.ow * p.oc;
  WithReader(dy, [&](const auto& read) __attribute__((always_inline)) {
    TransformColumns<OC, kTile, GradientPoints>(image, p.oh, p.ow, p.oc, s.y, s.x, width, read, rows);
  });
  TransformRows<OC, kTile, GradientPoints>(rows, s.tiles, p.oc, p.PointStrideOf<OC>(p.oc), points);
}

// A^T m A + bias of each tile of a strip, without what lies outside of the image. sums: NULL, or (2, oc), to which the
// terms are added.
template <int OC, typename Terms>
CAFFE_ENGINE_NO_INLINE void OutputTransform(const Plan& p, const Strip& s, const float* points, const float* bias, float* y,
    const Terms& terms, float* sums) {
  const int oc = OC ? OC : p.oc;
  const long row = long(p.ow) * oc, point_stride = p.PointStrideOf<OC>(p.oc);
  const int height = std::min<int>(kTile, p.oh - s.y);
  for (int t = 0; t < s.tiles; ++t) {
    const int x = s.x + t * kTile, width = std::min<int>(kTile, p.ow - x);
    const long first = ((long(s.image) * p.oh + s.y) * p.ow + x) * oc;
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
      Vec sum = Broadcast(0), product = Broadcast(0);
      if (height == kTile && width == kTile) {
#pragma GCC unroll 8
        for (int i = 0; i < kTile; ++i) {
#pragma GCC unroll 8
          for (int j = 0; j < kTile; ++j) {
            const long at = first + i * row + j * oc + k;
            Store(y + at, terms(out[i][j], at, k, &sum, &product) + b);
          }
        }
      } else {
        for (int i = 0; i < height; ++i) {
          for (int j = 0; j < width; ++j) {
            const long at = first + i * row + j * oc + k;
            Store(y + at, terms(out[i][j], at, k, &sum, &product) + b);
          }
        }
      }
      if (sums) {
        Store(sums + k, Load(sums + k) + sum);
        Store(sums + oc + k, Load(sums + oc + k) + product);
      }
    }
  }
}

// G g G^T of every filter: to (kPoints, ic, oc), each point in panels, stride apart. Filter (o, i) starts at w + o
// * o_stride + i * i_stride. flip: rotated by half a turn, as the backward pass needs it. Shared by the threads of
// a parallel region, which wait for one another at its end.
static void FilterTransform(const float* w, int ic, long i_stride, int oc, long o_stride, bool flip, float* points,
    long stride) {
  const int o_blocks = oc / kLanes;
#pragma omp for schedule(static)
  for (int block = 0; block < ic * o_blocks; ++block) {
    const int o = block / ic * kLanes, i = block % ic;  // a panel from its start to its end
    const float* g = w + i * i_stride + o * o_stride;
    Vec column[3][kSpan];
    for (int b = 0; b < 3; ++b) {
      Vec tap[3];
      for (int a = 0; a < 3; ++a) tap[a] = Gather(g + (flip ? 8 - (a * 3 + b) : a * 3 + b), o_stride);
      FilterPoints(tap, column[b]);
    }
    float* to = points + PanelOffset(i, o, ic, oc);
    for (int a = 0; a < kSpan; ++a) {
      Vec tap[3] = {column[0][a], column[1][a], column[2][a]}, u[kSpan];
      FilterPoints(tap, u);
      for (int b = 0; b < kSpan; ++b) Store(to + (a * kSpan + b) * stride, u[b]);
    }
  }
}

// Fetches the part of a slice that is due at a point, so that memory is read while the points are multiplied.
static inline void Prefetch(const float* tensor, const Slice& slice, int point) {
  const long size = slice.end - slice.begin;
  const long end = slice.begin + size * (point + 1) / kPoints;
  for (long i = slice.begin + size * point / kPoints; i < end; i += kLine) __builtin_prefetch(tensor + i, 0, 2);
}

CAFFE_ENGINE_VECTOR_END

}  // namespace winograd
}  // namespace engine
}  // namespace caffe

#endif
#endif  // CAFFE_ENGINE_WINOGRAD_TILES_HPP_
