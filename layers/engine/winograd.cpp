#include "caffe/engine/winograd.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "caffe/engine/winograd_tiles.hpp"

namespace caffe {
namespace engine {

#ifdef CAFFE_ENGINE_VECTOR

namespace {

using namespace winograd;

CAFFE_ENGINE_VECTOR_BEGIN

// What a thread works in: the points of a block, the rows of a strip between its two transforms, and sums over some
// blocks, if a share is summed in parts.
struct Buffers {
  float *in, *out, *rows, *sums;

  Buffers(const Plan& p, const ThreadRooms& rooms, size_t sums_size = 0) {
    in = rooms.Mine();
    out = in + kPoints * p.PointStrideOf<0>(p.ic);
    sums = out + kPoints * p.PointStrideOf<0>(p.oc);
    rows = sums + sums_size;
  }

  static size_t Size(const Plan& p, size_t sums_size = 0) {
    return kPoints * (p.PointStrideOf<0>(p.ic) + p.PointStrideOf<0>(p.oc)) + sums_size + p.RowsSize();
  }
};

// y = x * w + bias, for filters that FilterTransform laid out. bias may be NULL. sums: NULL, or (blocks, 2, oc) for the sums of
// the terms. base: NULL, or of x's recipe. residual: NULL, or of y where y is dx. Source: see InputTransform.
template <typename Source>
struct Convolved {
  const Plan& plan;
  Source x;
  const float* filters;
  const float* bias;
  float* y;
  float* sums;
  const float* base;
  const ResidualSum* residual;

  float* BlockSums(int block) const { return sums ? sums + 2L * block * plan.oc : NULL; }
};

// The gradients of the filters and biases, from x and dy. sums: (shares, SumsSize()), of each share of the blocks. A team of
// threads may turn out smaller than it was asked for; a share is still summed alone and in the same order.
struct FilterSums {
  const Plan& plan;
  Input x;
  Gradient dy;
  int shares;
  float* sums;

  // A share of few blocks is summed at once: for large filters, sums of parts would be most of the memory.
  static bool InParts(const Plan& p, int shares) { return (p.blocks + shares - 1) / shares > kPartBlocks; }
  static size_t PartSize(const Plan& p, int shares) { return InParts(p, shares) ? p.SumsSize() : 0; }
};

template <int IC, int OC, typename Source, typename Terms>
static inline void ConvolveBlock(const Convolved<Source>& product, int block, const Terms& terms, const Buffers& buffers) {
  const Plan& p = product.plan;
  const int ic = IC ? IC : p.ic, oc = OC ? OC : p.oc;
  float *y = product.y, *sums = product.BlockSums(block);
  const int first = block * p.block_strips, last = std::min(p.strips, first + p.block_strips);
  int tiles = 0;
  for (int i = first; i < last; ++i) {
    const Strip s(p, i);
    InputTransform<IC>(p, s, product.x, buffers.rows, buffers.in + long(tiles) * ic);
    tiles += s.tiles;
  }
  const Slice next_in = p.Inputs(block + 1), now_out = p.Outputs(block);
  for (int point = 0; point < kPoints; ++point) {
    Prefetch(product.x.values, next_in, point);
    if (product.base) Prefetch(product.base, next_in, point);
    Prefetch(y, now_out, point);
    if (product.residual) Prefetch(product.residual->values, now_out, point);
    Product(tiles, oc, ic, buffers.in + point * p.PointStrideOf<IC>(ic), ic,
        product.filters + point * p.FilterStride(), buffers.out + point * p.PointStrideOf<OC>(oc), oc);
  }
  if (sums) memset(sums, 0, 2 * oc * sizeof(float));
  tiles = 0;
  for (int i = first; i < last; ++i) {
    const Strip s(p, i);
    OutputTransform<OC>(p, s, buffers.out + long(tiles) * oc, product.bias, y, terms, sums);
    tiles += s.tiles;
  }
}

// Adds a block's (B^T d B)^T (A dy A^T) to sums, laid out as FilterTransform does it, its dy to those behind.
template <int IC, int OC>
static inline void AddFilterGradients(const FilterSums& work, int block, const Buffers& buffers, float* sums) {
  const Plan& p = work.plan;
  const int ic = IC ? IC : p.ic, oc = OC ? OC : p.oc;
  const int first = block * p.block_strips, last = std::min(p.strips, first + p.block_strips);
  int tiles = 0;
  for (int i = first; i < last; ++i) {
    const Strip s(p, i);
    InputTransform<IC>(p, s, work.x, buffers.rows, buffers.in + long(tiles) * ic);
    GradientTransform<OC>(p, s, work.dy, buffers.rows, buffers.out + long(tiles) * oc);
    tiles += s.tiles;
  }
  const Slice next_in = p.Inputs(block + 1), next_out = p.Outputs(block + 1);
  for (int point = 0; point < kPoints; ++point) {
    Prefetch(work.x.values, next_in, point);
    Prefetch(work.dy.values, next_out, point);
    if (work.dy.recipe) Prefetch(work.dy.recipe->y, next_out, point);
    AddTransposedProduct(ic, oc, buffers.in + point * p.PointStrideOf<IC>(ic), buffers.out + point * p.PointStrideOf<OC>(oc),
        Pixels{1, tiles, 0, ic, 0, oc}, sums + point * p.FilterStride(), 0, ic);
  }
  float* bias_sums = sums + kPoints * p.FilterStride();
  for (int o = 0; o < oc; o += kLanes) {
    Vec sum = Broadcast(0);
    for (int t = 0; t < tiles; ++t) sum += Load(buffers.out + kSumPoint * p.PointStrideOf<OC>(oc) + long(t) * oc + o);
    Store(bias_sums + o, Load(bias_sums + o) + sum);
  }
}

// Shared by the threads of a parallel region, as SumFilterGradients, BothGradients and FilterGradients are.
template <int IC, int OC>
static void Convolve(const Convolved<Input>& product, const ThreadRooms& rooms) {
  const Buffers buffers(product.plan, rooms);
#pragma omp for schedule(static) nowait
  for (int block = 0; block < product.plan.blocks; ++block) {
    if (product.sums) {
      ConvolveBlock<IC, OC>(product, block, MomentTerms(), buffers);
    } else {
      ConvolveBlock<IC, OC>(product, block, NoTerms(), buffers);
    }
  }
}

// Calls add(block, sums) for the blocks of a share; the total goes to the share's sums.
template <typename Add>
static inline void SumShare(const FilterSums& work, int share, const Buffers& buffers, const Add& add) {
  const Plan& p = work.plan;
  const int begin = p.FirstBlock(share, work.shares), end = p.FirstBlock(share + 1, work.shares);
  float* total = work.sums + share * p.SumsSize();
  memset(total, 0, p.SumsSize() * sizeof(float));
  if (!FilterSums::InParts(p, work.shares)) {
    for (int block = begin; block < end; ++block) add(block, total);
    return;
  }
  memset(buffers.sums, 0, p.SumsSize() * sizeof(float));
  for (int block = begin; block < end; ++block) {
    add(block, buffers.sums);
    if ((block - begin) % kPartBlocks == kPartBlocks - 1 || block == end - 1) {
      AddPart(buffers.sums, p.SumsSize(), total);
    }
  }
}

template <int IC, int OC>
static void SumFilterGradients(const FilterSums& work, const ThreadRooms& rooms) {
  const Buffers buffers(work.plan, rooms, FilterSums::PartSize(work.plan, work.shares));
#pragma omp for schedule(static)
  for (int share = 0; share < work.shares; ++share) {
    SumShare(work, share, buffers, [&](int block, float* sums) { AddFilterGradients<IC, OC>(work, block, buffers, sums); });
  }
}

// Both gradients, for equal tiles of x and y, so that a block of dy is still in the cache for the second one, and its x for
// the sums of the input's gradient. data: the product that makes dx, to whose channels IC and OC belong the other way round.
template <int IC, int OC>
static void BothGradients(const FilterSums& work, const Convolved<Gradient>& data, const ThreadRooms& rooms) {
  const Buffers buffers(work.plan, rooms, FilterSums::PartSize(work.plan, work.shares));
  Buffers turned(buffers);
  std::swap(turned.in, turned.out);
#pragma omp for schedule(static)
  for (int share = 0; share < work.shares; ++share) {
    SumShare(work, share, buffers, [&](int block, float* sums) {
      AddFilterGradients<IC, OC>(work, block, buffers, sums);
      const Input& x = work.x;
      if (data.residual) {
        ConvolveBlock<OC, IC>(data, block, ResidualTerms{x.values, data.y, *data.residual}, turned);
      } else if (data.sums && x.recipe->relu) {
        ConvolveBlock<OC, IC>(data, block, GradientTerms<true>{x.values, ByRecipe<true>(*x.recipe)}, turned);
      } else if (data.sums) {
        ConvolveBlock<OC, IC>(data, block, GradientTerms<false>{x.values, ByRecipe<false>(*x.recipe)}, turned);
      } else {
        ConvolveBlock<OC, IC>(data, block, NoTerms(), turned);
      }
    });
  }
}

// dw += G^T (sum over shares) G, in the order of the shares.
static void FilterGradients(const FilterSums& work, float* dw) {
  const Plan& p = work.plan;
  const float* sums = work.sums;
  const int shares = work.shares;
  const int o_blocks = p.oc / kLanes;
#pragma omp for schedule(static)
  for (int block = 0; block < p.ic * o_blocks; ++block) {
    const int o = block / p.ic * kLanes, i = block % p.ic;
    const float* from = sums + PanelOffset(i, o, p.ic, p.oc);
    Vec column[kSpan][3];
    for (int b = 0; b < kSpan; ++b) {
      Vec u[kSpan];
      for (int a = 0; a < kSpan; ++a) {
        const float* point = from + (a * kSpan + b) * p.FilterStride();
        u[a] = Load(point);
        for (int share = 1; share < shares; ++share) u[a] += Load(point + share * p.SumsSize());
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

// FUNCTION<ic, oc> with constants for the channels that ResNets for CIFAR have, which is faster than with variables.
#define CAFFE_ENGINE_FOR_CHANNELS(FUNCTION, ic, oc) \
  ((ic) == 16 && (oc) == 16 ? FUNCTION<16, 16> \
      : (ic) == 32 && (oc) == 32 ? FUNCTION<32, 32> : (ic) == 64 && (oc) == 64 ? FUNCTION<64, 64> : FUNCTION<0, 0>)

CAFFE_ENGINE_VECTOR_END

// db += the sums of the shares, in their order.
void BiasGradients(const FilterSums& work, float* db) {
  const Plan& p = work.plan;
  for (int share = 0; share < work.shares; ++share) {
    const float* from = work.sums + share * p.SumsSize() + kPoints * p.FilterStride();
    for (int o = 0; o < p.oc; ++o) db[o] += from[o];
  }
}

// The total of (blocks, 2, channels), in double.
double Total(const float* sums, int blocks, int channels, int which, int channel) {
  double total = 0;
  for (int block = 0; block < blocks; ++block) total += sums[(2L * block + which) * channels + channel];
  return total;
}

// The variance is mean(y^2) - mean(y)^2 for y without its bias, which changes no variance: what comes from filters
// alone has a mean that is not large beside its deviation.
void MomentsFromSums(const Plan& p, const float* sums, double pixels, const float* bias,
    const OutputMoments& moments) {
  for (int o = 0; o < p.oc; ++o) {
    const double mean = Total(sums, p.blocks, p.oc, 0, o) / pixels;
    moments.mean[o] = mean + (bias ? bias[o] : 0);
    const double variance = Total(sums, p.blocks, p.oc, 1, o) / pixels - mean * mean;
    moments.variance[o] = variance < 0 ? 0 : variance;  // NaN stays
  }
}

// The convolution that makes y of x.
Plan ForwardPlan(const ConvShape& s) {
  return Plan(s.n, s.ic, s.ih, s.iw, s.oc, s.oh, s.ow, s.pad_h, s.pad_w);
}

// The one that makes dx of dy: with the filters turned by half a turn, and padded so that dx has the size of x.
Plan BackwardPlan(const ConvShape& s) {
  return Plan(s.n, s.oc, s.oh, s.ow, s.ic, s.ih, s.iw, 2 - s.pad_h, 2 - s.pad_w);
}

}  // namespace

template <int lanes>
bool Winograd<lanes>::Supports(const ConvShape& s, bool keeps_filters) {
  // For fewer tiles, transforming a filter does not pay, unless it fits the cache. Reading one that was transformed before, which
  // is four times as large as the filter, pays earlier.
  const double tiles = double(s.n) * ((s.oh + kTile - 1) / kTile) * ((s.ow + kTile - 1) / kTile);
  const int worthwhile_tiles = keeps_filters ? 9 : 32;
  return (tiles >= worthwhile_tiles || s.ic * s.oc <= kLargeFilters) &&
      HasVectors(lanes) && s.kh == 3 && s.kw == 3 && s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 &&
      s.dilation_w == 1 && s.groups == 1 && s.ic % kLanes == 0 && s.oc % kLanes == 0 && s.pad_h <= 2 && s.pad_w <= 2;
}

template <int lanes>
void Winograd<lanes>::Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
    const OutputMoments* moments) {
  const ConvShape& s = shape_;
  const Plan p = ForwardPlan(s);
  bool laid_out;
  float* filters = filters_.Take(w, 9L * s.ic * s.oc, p.FiltersSize() + (moments ? size_t(p.blocks) * 2 * s.oc : 0),
      &laid_out);
  float* sums = moments ? filters + p.FiltersSize() : NULL;
  const Convolved<Input> product = {p, {x, recipe}, filters, bias, y, sums, recipe ? recipe->base : NULL, NULL};
  const ThreadRooms rooms(Buffers::Size(p));
#pragma omp parallel
  {
    if (!laid_out) FilterTransform(w, s.ic, 9, s.oc, 9L * s.ic, false, filters, p.FilterStride());
    CAFFE_ENGINE_FOR_CHANNELS(Convolve, p.ic, p.oc)(product, rooms);
  }
  if (moments) MomentsFromSums(p, sums, double(s.n) * s.oh * s.ow, bias, *moments);
}

template <int lanes>
void Winograd<lanes>::BackwardData(const float* dy, const float* w, float* dx) {
  const ConvShape& s = shape_;
  const Plan q = BackwardPlan(s);
  float* filters = SharedScratch().Get(q.FiltersSize());
  const Convolved<Input> product = {q, {dy, NULL}, filters, NULL, dx, NULL, NULL, NULL};
  const ThreadRooms rooms(Buffers::Size(q));
#pragma omp parallel
  {
    FilterTransform(w, s.oc, 9L * s.ic, s.ic, 9, true, filters, q.FilterStride());
    CAFFE_ENGINE_FOR_CHANNELS(Convolve, q.ic, q.oc)(product, rooms);
  }
}

template <int lanes>
void Winograd<lanes>::BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe* recipe) {
  const Plan p = ForwardPlan(shape_);
  const int shares = ThreadCount();
  const FilterSums work = {p, {x, recipe}, {dy, NULL}, shares, SharedScratch().Get(shares * p.SumsSize())};
  const ThreadRooms rooms(Buffers::Size(p, FilterSums::PartSize(p, shares)));
#pragma omp parallel num_threads(shares)
  {
    CAFFE_ENGINE_FOR_CHANNELS(SumFilterGradients, p.ic, p.oc)(work, rooms);
    FilterGradients(work, dw);
  }
  if (db) BiasGradients(work, db);
}

template <int lanes>
void Winograd<lanes>::Backward(const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
    const InputRecipe* recipe, const InputGradientSums* sums, const GradientRecipe* gradient) {
  if (!Fuses()) return Kernels::Backward(x, dy, w, dx, dw, db, recipe, NULL);
  const ConvShape& s = shape_;
  const Plan p = ForwardPlan(s), q = BackwardPlan(s);
  const int shares = ThreadCount();
  float* filters = SharedScratch().Get(q.FiltersSize() + shares * p.SumsSize() + size_t(p.blocks) * 2 * s.ic);
  float* share_sums = filters + q.FiltersSize();
  float* input_sums = sums ? share_sums + shares * p.SumsSize() : NULL;
  const FilterSums work = {p, {x, recipe}, {dy, gradient}, shares, share_sums};
  const Convolved<Gradient> data = {q, {dy, gradient}, filters, NULL, dx, input_sums, NULL, sums ? sums->residual : NULL};
  const ThreadRooms rooms(Buffers::Size(p, FilterSums::PartSize(p, shares)));
#pragma omp parallel num_threads(shares)
  {
    FilterTransform(w, s.oc, 9L * s.ic, s.ic, 9, true, filters, q.FilterStride());
    CAFFE_ENGINE_FOR_CHANNELS(BothGradients, p.ic, p.oc)(work, data, rooms);
    FilterGradients(work, dw);
  }
  if (db) BiasGradients(work, db);
  for (int c = 0; sums && c < s.ic; ++c) {
    sums->of_gradient[c] = Total(input_sums, p.blocks, s.ic, 0, c);
    sums->of_product[c] = Total(input_sums, p.blocks, s.ic, 1, c);
  }
}

#else

template <int lanes>
bool Winograd<lanes>::Supports(const ConvShape&, bool) { return false; }
template <int lanes>
void Winograd<lanes>::Forward(const float*, const float*, const float*, float*, const InputRecipe*, const OutputMoments*) {
  abort();
}
template <int lanes>
void Winograd<lanes>::BackwardData(const float*, const float*, float*) { abort(); }
template <int lanes>
void Winograd<lanes>::BackwardWeights(const float*, const float*, float*, float*, const InputRecipe*) { abort(); }
template <int lanes>
void Winograd<lanes>::Backward(const float*, const float*, const float*, float*, float*, float*, const InputRecipe*,
    const InputGradientSums*, const GradientRecipe*) {
  abort();
}

#endif

template class Winograd<CAFFE_ENGINE_LANES>;

}  // namespace engine
}  // namespace caffe
