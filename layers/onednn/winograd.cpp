#include "caffe/engine/winograd.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "caffe/engine/winograd_tiles.hpp"

namespace caffe {
namespace engine {

#ifdef CAFFE_ENGINE_VECTOR

namespace {

using namespace winograd;

CAFFE_ENGINE_VECTOR_BEGIN

// y = x * w + bias for filters that FilterTransform laid out. sums: NULL, or (blocks, 2, oc) for the sums and the
// sums of squares of each block's outputs, without bias.
template <int IC, int OC>
static void Convolve(const Plan& p, const float* x, const InputRecipe* recipe, const float* filters, const float* bias,
    float* y, float* sums) {
  const int ic = IC ? IC : p.ic, oc = OC ? OC : p.oc;
  const long in_stride = PointStride(ic), out_stride = PointStride(oc);
  float* in = ThreadScratch().Get(kPoints * (in_stride + out_stride) + p.RowsSize());
  float* out = in + kPoints * in_stride;
  float* rows = out + kPoints * out_stride;
#pragma omp for schedule(static) nowait
  for (int block = 0; block < p.blocks; ++block) {
    const int first = block * p.block_strips, last = std::min(p.strips, first + p.block_strips);
    int tiles = 0;
    for (int i = first; i < last; ++i) {
      const Strip s(p, i);
      InputTransform<IC>(p, s, x, recipe, rows, in + long(tiles) * ic);
      tiles += s.tiles;
    }
    const Slice next_in = p.Inputs(block + 1), now_out = p.Outputs(block);
    for (int point = 0; point < kPoints; ++point) {
      Prefetch(x, next_in, point);
      Prefetch(y, now_out, point);
      Product(tiles, oc, ic, in + point * in_stride, ic, filters + point * p.FilterStride(), out + point * out_stride,
          oc);
    }
    float* block_sums = sums ? sums + 2L * block * oc : NULL;
    if (sums) memset(block_sums, 0, 2 * oc * sizeof(float));
    tiles = 0;
    for (int i = first; i < last; ++i) {
      const Strip s(p, i);
      OutputTransform<OC>(p, s, out + long(tiles) * oc, bias, y, block_sums);
      tiles += s.tiles;
    }
  }
}

// Sums (B^T d B)^T (A dy A^T) over this thread's blocks: sums is laid out as FilterTransform does it, the biases
// behind.
template <int IC, int OC>
static void SumFilterGradients(const Plan& p, const float* x, const InputRecipe* recipe, const float* dy, int thread,
    int threads, float* sums) {
  const int ic = IC ? IC : p.ic, oc = OC ? OC : p.oc;
  const long in_stride = PointStride(ic), out_stride = PointStride(oc);
  float* in = ThreadScratch().Get(kPoints * (in_stride + out_stride) + p.RowsSize());
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
      InputTransform<IC>(p, s, x, recipe, rows, in + long(tiles) * ic);
      GradientTransform<OC>(p, s, dy, rows, out + long(tiles) * oc);
      tiles += s.tiles;
    }
    const Slice next_in = p.Inputs(block + 1), next_out = p.Outputs(block + 1);
    for (int point = 0; point < kPoints; ++point) {
      Prefetch(x, next_in, point);
      Prefetch(dy, next_out, point);
      AddTransposedProduct(ic, oc, in + point * in_stride, out + point * out_stride, Pixels{1, tiles, 0, ic, 0, oc},
          sums + point * p.FilterStride(), 0, ic);
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
    const float* from = sums + PanelOffset(i, o, p.ic, p.oc);
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

// FUNCTION<ic, oc> with constants for the channels that ResNets for CIFAR have, which is faster than with variables.
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

// The variance is mean(y^2) - mean(y)^2 for y without its bias, which changes no variance: what comes from filters
// alone has a mean that is not large beside its deviation. Sums over blocks are in double.
void MomentsFromSums(const float* sums, int blocks, int oc, double pixels, const float* bias,
    const OutputMoments& moments) {
  for (int o = 0; o < oc; ++o) {
    double sum = 0, squares = 0;
    for (int block = 0; block < blocks; ++block) {
      sum += sums[2L * block * oc + o];
      squares += sums[(2L * block + 1) * oc + o];
    }
    const double mean = sum / pixels;
    moments.mean[o] = mean + (bias ? bias[o] : 0);
    moments.variance[o] = std::max(0., squares / pixels - mean * mean);
  }
}

}  // namespace

bool Winograd::Supports(const ConvShape& s) {
  return HasVectors() && s.kh == 3 && s.kw == 3 && s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 &&
      s.dilation_w == 1 && s.groups == 1 && s.ic % kLanes == 0 && s.oc % kLanes == 0 && s.pad_h <= 2 && s.pad_w <= 2;
}

void Winograd::Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
    const OutputMoments* moments) {
  const ConvShape& s = shape_;
  const Plan plan(s.n, s.ic, s.ih, s.iw, s.oc, s.oh, s.ow, s.pad_h, s.pad_w);
  const size_t filters_size = kPoints * plan.FilterStride();
  float* filters = SharedScratch().Get(filters_size + (moments ? size_t(plan.blocks) * 2 * s.oc : 0));
  float* sums = moments ? filters + filters_size : NULL;
#pragma omp parallel
  {
    FilterTransform(w, s.ic, 9, s.oc, 9L * s.ic, false, filters, plan.FilterStride());
    CAFFE_ENGINE_FOR_CHANNELS(Convolve, plan.ic, plan.oc)(plan, x, recipe, filters, bias, y, sums);
  }
  if (moments) MomentsFromSums(sums, plan.blocks, s.oc, double(s.n) * s.oh * s.ow, bias, *moments);
}

// dx is the convolution of dy with the filters turned by half a turn, and padded so that it has the size of x.
void Winograd::BackwardData(const float* dy, const float* w, float* dx) {
  const ConvShape& s = shape_;
  const Plan plan(s.n, s.oc, s.oh, s.ow, s.ic, s.ih, s.iw, 2 - s.pad_h, 2 - s.pad_w);
  float* filters = SharedScratch().Get(kPoints * plan.FilterStride());
#pragma omp parallel
  {
    FilterTransform(w, s.oc, 9L * s.ic, s.ic, 9, true, filters, plan.FilterStride());
    CAFFE_ENGINE_FOR_CHANNELS(Convolve, plan.ic, plan.oc)(plan, dy, NULL, filters, NULL, dx, NULL);
  }
}

void Winograd::BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe* recipe) {
  const ConvShape& s = shape_;
  const Plan plan(s.n, s.ic, s.ih, s.iw, s.oc, s.oh, s.ow, s.pad_h, s.pad_w);
  const int threads = ThreadCount();
  const size_t size = plan.SumsSize();
  float* sums = SharedScratch().Get(threads * size);
#pragma omp parallel num_threads(threads)
  {
    // A team may turn out smaller than it was asked for: each share is still summed alone, in the same order.
#pragma omp for schedule(static)
    for (int t = 0; t < threads; ++t) {
      CAFFE_ENGINE_FOR_CHANNELS(SumFilterGradients, plan.ic, plan.oc)(plan, x, recipe, dy, t, threads, sums + t * size);
    }
    FilterGradients(plan, sums, size, threads, dw);
#pragma omp single
    if (db) BiasGradients(plan, sums, size, threads, db);
  }
}

#else

bool Winograd::Supports(const ConvShape&) { return false; }
void Winograd::Forward(const float*, const float*, const float*, float*, const InputRecipe*, const OutputMoments*) {
  abort();
}
void Winograd::BackwardData(const float*, const float*, float*) { abort(); }
void Winograd::BackwardWeights(const float*, const float*, float*, float*, const InputRecipe*) { abort(); }

#endif

}  // namespace engine
}  // namespace caffe
