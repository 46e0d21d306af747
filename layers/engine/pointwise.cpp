#include "caffe/engine/pointwise.hpp"

#include <algorithm>
#include <cstring>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/convolution_vector.hpp"
#include "caffe/engine/fused_pixels.hpp"
#include "caffe/engine/matrix_product.hpp"

namespace caffe {
namespace engine {

namespace {

// Pixels whose inputs and outputs fit the second-level cache, but not so few that the filters, which are laid out anew for
// each product, are as much work.
long ChunkOf(long pixels, int ic, int oc) {
  const long chunk = std::min(1024L, std::max(256L, (1L << 18) / (ic + oc)));
  return pixels >= 8 * chunk ? chunk : pixels;
}

}  // namespace

bool Pointwise::Supports(const ConvShape& s) {
  return HasVectors() && s.kh == 1 && s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 &&
      s.pad_h == 0 && s.pad_w == 0 && s.groups == 1;
}

Pointwise::Pointwise(const ConvShape& s)
    : pixels_(long(s.n) * s.oh * s.ow), ic_(s.ic), oc_(s.oc), chunk_(ChunkOf(pixels_, s.ic, s.oc)) {}

void Pointwise::Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
    const OutputMoments* moments) {
  if (!Fuses()) MatrixProduct(pixels_, oc_, ic_, Factor{x, ic_, false}, Factor{w, ic_, true}, false, y, oc_);
  const RecipeReader reader(recipe, ic_);
  OutputFinisher finisher(bias, moments, oc_, chunks());
  bool laid_out = true;
  const size_t size = size_t(ic_) * oc_;
  float* filters = Fuses() ? filters_.Take(w, size, size, &laid_out) : NULL;
  const ThreadRooms rooms(recipe ? chunk_ * ic_ : 0);
#pragma omp parallel
  {
    if (!laid_out) {
#pragma omp for schedule(static)
      for (int i = 0; i < ic_; ++i) {
        for (int o = 0; o < oc_; ++o) filters[long(i) * oc_ + o] = w[long(o) * ic_ + i];
      }
    }
#pragma omp for schedule(dynamic)
    for (int c = 0; c < chunks(); ++c) {
      const long first = c * chunk_, count = std::min(chunk_, pixels_ - first);
      float* out = y + first * oc_;
      if (Fuses()) {
        const float* in = x + first * ic_;
        if (recipe) {
          reader.Read(in, count * ic_, rooms.Mine());
          in = rooms.Mine();
        }
        MatrixProduct(count, oc_, ic_, Factor{in, ic_, false}, Factor{filters, oc_, false}, false, out, oc_);
      }
      finisher.Finish(c, out, count * oc_);
    }
  }
  finisher.WriteMoments(pixels_);
}

void Pointwise::Backward(const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
    const InputRecipe* recipe, const InputGradientSums* sums) {
  if (!Fuses()) {
    if (dw) MatrixProduct(oc_, ic_, pixels_, Factor{dy, oc_, true}, Factor{x, ic_, false}, true, dw, ic_);
    if (dx) MatrixProduct(pixels_, ic_, oc_, Factor{dy, oc_, false}, Factor{w, ic_, false}, false, dx, ic_);
  }
  const RecipeReader reader(recipe, ic_);
  BiasSummer biases(db, oc_, chunks());
  InputSummer inputs(recipe, sums, ic_, chunks());
  const int shares = ThreadCount();
  const size_t size = size_t(ic_) * oc_;
  float* totals = SharedScratch().Get(dw && Fuses() ? shares * size : 0);
  const ThreadRooms rooms(recipe ? chunk_ * ic_ : 0);
#pragma omp parallel num_threads(shares)
  {
#pragma omp for schedule(static)
    for (int share = 0; share < shares; ++share) {
      float* total = totals + share * size;
      const int begin = long(chunks()) * share / shares, end = long(chunks()) * (share + 1) / shares;
      if (dw && Fuses() && begin == end) memset(total, 0, size * sizeof(float));
      for (int c = begin; c < end; ++c) {
        const long first = c * chunk_, count = std::min(chunk_, pixels_ - first);
        const float* out = dy + first * oc_;
        if (dw && Fuses()) {
          const float* in = x + first * ic_;
          if (recipe) {
            reader.Read(in, count * ic_, rooms.Mine());
            in = rooms.Mine();
          }
          MatrixProduct(oc_, ic_, count, Factor{out, oc_, true}, Factor{in, ic_, false}, c > begin, total, ic_);
        }
        biases.Add(c, out, count * oc_);
        if (dx && Fuses()) {
          MatrixProduct(count, ic_, oc_, Factor{out, oc_, false}, Factor{w, ic_, false}, false, dx + first * ic_, ic_);
          inputs.Add(c, x + first * ic_, dx + first * ic_, count * ic_);
        }
      }
    }
    if (dw && Fuses()) {
#pragma omp for schedule(static)
      for (long i = 0; i < long(size); ++i) {
        for (int share = 0; share < shares; ++share) dw[i] += totals[share * size + i];
      }
    }
  }
  biases.Write();
  inputs.Write();
}

}  // namespace engine
}  // namespace caffe
