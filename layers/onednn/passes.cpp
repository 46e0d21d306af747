#include "caffe/engine/passes.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "caffe/engine/vector_loops.hpp"

namespace caffe {
namespace engine {

namespace {

// How an activation of c channels is cut: into rows of whole pixels and of whole vectors, rows into blocks that fit the
// first cache together with their results, blocks among the threads.
struct Cut {
  explicit Cut(const Dims& dims) : channels(dims.c), count(dims.count()) {
    int pixels = 1;
    while (channels * pixels < 64 || channels * pixels % 16) ++pixels;
    row = size_t(channels) * pixels;
    block = std::max(size_t(1), 1024 / row) * row;
    blocks = (count + block - 1) / block;
    threads = 1;
#ifdef _OPENMP
    // A thread is worth its start from some 30 KB on.
    threads = std::max<size_t>(1, std::min<size_t>(omp_get_max_threads(), count / 8192));
#endif
  }

  // `values` repeated to a row; `missing` where there are none.
  Channels Row(const Channels& values, float missing = 0) const {
    Channels out(row, missing);
    if (!values.empty()) {
      for (size_t j = 0; j < row; ++j) out[j] = values[j % channels];
    }
    return out;
  }

  // Calls work(thread, first float, number of floats) for all blocks, each thread taking one run of them.
  template <typename Work>
  void Run(const Work& work) const {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int t = 0; t < threads; ++t) {
      for (size_t b = blocks * t / threads; b < blocks * (t + 1) / threads; ++b) {
        work(t, b * block, std::min(block, count - b * block));
      }
    }
  }

  int channels;
  size_t count, row, block, blocks;
  int threads;
};

// Sums by channel: floats over a few dozen pixels of each lane, doubles beyond.
class Sums {
 public:
  explicit Sums(const Cut& cut) : cut_(cut), parts_(cut.threads, Part(cut)) {}

  float* block(int thread) { return parts_[thread].floats.data(); }

  // After a block, or a few, of `thread`.
  void Flush(int thread, bool now = false) {
    Part& part = parts_[thread];
    if (!now && ++part.pending < 8) return;
    part.pending = 0;
    for (size_t j = 0; j < cut_.row; ++j) {
      part.doubles[j] += part.floats[j];
      part.floats[j] = 0;
    }
  }

  std::vector<double> Total() {
    std::vector<double> total(cut_.channels, 0);
    for (int t = 0; t < cut_.threads; ++t) {
      Flush(t, true);
      for (size_t j = 0; j < cut_.row; ++j) total[j % cut_.channels] += parts_[t].doubles[j];
    }
    return total;
  }

 private:
  struct Part {
    explicit Part(const Cut& cut) : floats(cut.row + 16), doubles(cut.row + 8), pending(0) {}
    std::vector<float> floats;
    std::vector<double> doubles;
    int pending;
  };
  const Cut& cut_;
  std::vector<Part> parts_;
};

// A recipe made ready for blocks.
class Recipe {
 public:
  Recipe(const Tensor& t, const Cut& cut) : t_(t), row_(cut.row) {
    for (size_t k = 0; k < t.terms.size(); ++k) {
      const Term& term = t.terms[k];
      mean_.push_back(cut.Row(term.mean));
      scale_.push_back(cut.Row(term.scale, 1));
      shift_.push_back(cut.Row(term.shift));
    }
  }

  // The values of one block: in `out`, or where they already are.
  const float* Block(size_t first, size_t count, float* out) const {
    const float* values = out;
    if (t_.terms.size() == 1 && t_.terms[0].plain()) {
      values = t_.terms[0].values.get() + first;
    } else {
      for (size_t k = 0; k < t_.terms.size(); ++k) {
        const Term& term = t_.terms[k];
        if (k && term.plain()) {
          AddBlock(term.values.get() + first, count, out);
        } else {
          AffineBlock(term.values.get() + first, mean_[k].data(), scale_[k].data(), shift_[k].data(), row_, count, k > 0, out);
        }
      }
    }
    if (t_.post == Tensor::RELU) {
      ReluBlock(values, t_.slope, count, out);
      return out;
    }
    if (t_.post == Tensor::MASK) {
      MaskBlock(values, t_.mask.get() + first, t_.slope, count, out);
      return out;
    }
    return values;
  }

 private:
  const Tensor& t_;
  const size_t row_;
  std::vector<Channels> mean_, scale_, shift_;
};

Channels ToFloat(const std::vector<double>& values) { return Channels(values.begin(), values.end()); }

}  // namespace

Buffer Evaluate(const Tensor& t) {
  const Cut cut(t.dims);
  const Buffer out = TakeBuffer(cut.count);
  const Recipe recipe(t, cut);
  cut.Run([&](int, size_t first, size_t count) {
    const float* values = recipe.Block(first, count, out.get() + first);
    if (values != out.get() + first) std::copy(values, values + count, out.get() + first);
  });
  return out;
}

void Moments(const Dims& dims, const Buffer& x, Channels* mean, Channels* variance) {
  const Cut cut(dims);
  // Sums of differences from a value of the channel's own keep their digits where the mean is large.
  const Channels origin(x.get(), x.get() + dims.c);
  const Channels origin_row = cut.Row(origin);
  Sums sums(cut), squares(cut);
  cut.Run([&](int thread, size_t first, size_t count) {
    MomentsBlock(x.get() + first, origin_row.data(), cut.row, count, sums.block(thread), squares.block(thread));
    sums.Flush(thread);
    squares.Flush(thread);
  });
  const std::vector<double> sum = sums.Total(), square = squares.Total();
  const double pixels = dims.pixels();
  mean->resize(dims.c);
  variance->resize(dims.c);
  for (int c = 0; c < dims.c; ++c) {
    const double difference = sum[c] / pixels;
    (*mean)[c] = origin[c] + difference;
    (*variance)[c] = std::max(0., square[c] / pixels - difference * difference);
  }
}

shared_ptr<GradientSums> SumGradient(Tensor* g, const TensorPtr& with) {
  if (g->sums && g->sums->with == with) return g->sums;
  if (!with->is_one_term()) with->Dense();
  const Term& x = with->terms[0];
  const Cut cut(g->dims);
  const Channels mean = cut.Row(x.mean);
  const Recipe recipe(*g, cut);
  // The other branch of a residual block wants the sum of the terms, too.
  const Buffer dense = g->terms.size() > 1 ? TakeBuffer(cut.count) : Buffer();
  Sums sums(cut), products(cut);
  std::vector<Channels> scratch(cut.threads, Channels(cut.block));
  cut.Run([&](int thread, size_t first, size_t count) {
    float* out = dense ? dense.get() + first : scratch[thread].data();
    const float* values = recipe.Block(first, count, out);
    ProductsBlock(values, x.values.get() + first, mean.data(), cut.row, count, sums.block(thread), products.block(thread));
    sums.Flush(thread);
    products.Flush(thread);
  });
  if (dense) *g = Tensor(g->dims, dense);
  const std::vector<double> sum = sums.Total(), product = products.Total();
  shared_ptr<GradientSums> out(new GradientSums);
  out->with = with;
  out->of_gradient = ToFloat(sum);
  out->of_product.resize(g->dims.c);
  for (int c = 0; c < g->dims.c; ++c) {
    out->of_product[c] = x.plain() ? product[c] : product[c] * x.scale[c] + sum[c] * x.shift[c];
  }
  return out;
}

Channels SumChannels(const TensorPtr& t) {
  const Buffer& values = t->Dense();
  Channels mean, variance;
  Moments(t->dims, values, &mean, &variance);
  for (int c = 0; c < t->dims.c; ++c) mean[c] *= t->dims.pixels();
  return mean;
}

TensorPtr CombineGradient(const Tensor& g, const Channels& a, const Buffer& x, const Channels& mean, const Channels& b,
    const Channels& c) {
  const Cut cut(g.dims);
  const Channels a_row = cut.Row(a), mean_row = cut.Row(mean), b_row = cut.Row(b), c_row = cut.Row(c);
  const Recipe recipe(g, cut);
  const Buffer out = TakeBuffer(cut.count);
  Sums sums(cut);
  cut.Run([&](int thread, size_t first, size_t count) {
    float scratch[4096];
    std::vector<float> large;
    float* block = scratch;
    if (count > 4096) {
      large.resize(count);
      block = large.data();
    }
    const float* values = recipe.Block(first, count, block);
    CombineBlock(values, a_row.data(), x.get() + first, mean_row.data(), b_row.data(), c_row.data(), cut.row, count,
        out.get() + first, sums.block(thread));
    sums.Flush(thread);
  });
  TensorPtr tensor(new Tensor(g.dims, out));
  tensor->channel_sums = ToFloat(sums.Total());
  return tensor;
}

}  // namespace engine
}  // namespace caffe
