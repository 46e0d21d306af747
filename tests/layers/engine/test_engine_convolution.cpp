// engine::Convolution against the direct sum in double precision. Needs nothing of Caffe's but gtest:
//   g++ -std=c++17 -O2 -fopenmp -DUSE_ONEDNN -I<folder with caffe/engine and gtest> test_engine_convolution.cpp
//       <the files of layers/engine that benchmarks/convolution.sh lists> <gtest> -ldnnl -lopenblas
#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <ostream>
#include <new>
#include <random>
#include <set>
#include <thread>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "gtest/gtest.h"

#include "caffe/engine/convolution.hpp"
#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/depthwise.hpp"
#include "caffe/engine/direct.hpp"
#include "caffe/engine/pointwise.hpp"
#include "caffe/engine/winograd.hpp"

namespace caffe {
namespace engine {

static std::ostream& operator<<(std::ostream& out, const ConvShape& s) {
  return out << "n " << s.n << ", " << s.ic << " x " << s.ih << " x " << s.iw << " to " << s.oc << " x " << s.oh
      << " x " << s.ow << ", kernel " << s.kh << " x " << s.kw << ", stride " << s.stride_h << ", " << s.stride_w
      << ", pad " << s.pad_h << ", " << s.pad_w << ", dilation " << s.dilation_h << ", "
      << s.dilation_w << ", groups " << s.groups;
}

namespace {

int Outputs(int in, int kernel, int stride, int pad, int dilation) {
  return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
}

ConvShape Shape(int n, int ic, int oc, int h, int w, int kernel, int stride, int pad, int dilation = 1,
    int groups = 1) {
  const int oh = Outputs(h, kernel, stride, pad, dilation), ow = Outputs(w, kernel, stride, pad, dilation);
  return ConvShape{n, ic, h, w, oc, oh, ow, kernel, kernel, stride, stride, pad, pad, dilation, dilation, groups};
}

// What ResNets for CIFAR have, and the corners of both families of kernels.
std::vector<ConvShape> Shapes() {
  std::vector<ConvShape> shapes = {
      Shape(3, 3, 16, 32, 32, 3, 1, 1),    // stem
      Shape(3, 16, 16, 32, 32, 3, 1, 1),   // the three stages
      Shape(3, 32, 32, 16, 16, 3, 1, 1), Shape(5, 64, 64, 8, 8, 3, 1, 1),
      Shape(2, 16, 32, 32, 32, 3, 2, 1), Shape(2, 32, 64, 16, 16, 3, 2, 1),  // between them
      Shape(2, 16, 32, 32, 32, 1, 2, 0), Shape(2, 32, 64, 16, 16, 1, 2, 0),
      Shape(1, 8, 8, 1, 1, 3, 1, 1),       // one pixel
      Shape(1, 8, 24, 5, 7, 3, 1, 0),      // tiles that stick out; half a panel of outputs
      Shape(2, 40, 8, 6, 9, 3, 1, 2),      // full padding
      Shape(1, 16, 16, 3, 70, 3, 1, 1),    // several strips a row
      Shape(2, 24, 48, 13, 34, 3, 1, 1),
      Shape(7, 64, 64, 8, 8, 3, 1, 1),     // a last block that is not full
      Shape(1, 128, 16, 8, 8, 3, 1, 1),
      Shape(2, 5, 7, 9, 11, 3, 1, 1),      // odd channels
      Shape(2, 8, 8, 9, 9, 3, 1, 2, 2),    // dilation
      Shape(2, 16, 16, 9, 9, 3, 1, 1, 1, 2), Shape(2, 6, 6, 9, 9, 3, 1, 1, 1, 6),  // groups
      Shape(2, 32, 48, 13, 12, 5, 1, 2, 1, 2), Shape(2, 32, 16, 13, 12, 3, 2, 1, 2, 2),
      Shape(3, 24, 40, 60, 61, 1, 1, 0), Shape(2, 24, 40, 6, 7, 1, 1, 0), Shape(5, 7, 5, 50, 50, 1, 1, 0),  // one pixel each
      Shape(3, 24, 40, 61, 60, 1, 2, 0), Shape(1, 40, 200, 7, 7, 1, 1, 0), Shape(2, 16, 8, 2, 2, 1, 1, 0),
      Shape(2, 16, 16, 9, 11, 3, 1, 1, 1, 16), Shape(3, 24, 24, 20, 30, 3, 2, 1, 1, 24),  // each channel alone
      Shape(1, 8, 8, 9, 9, 5, 1, 2, 1, 8), Shape(2, 8, 8, 9, 8, 3, 1, 0, 1, 8), Shape(2, 8, 8, 9, 8, 2, 3, 1, 1, 8),
      Shape(2, 136, 128, 16, 17, 3, 1, 1), Shape(1, 136, 128, 12, 11, 3, 1, 1),  // large filters; of few tiles
      Shape(2, 4, 6, 12, 10, 5, 3, 2), Shape(1, 3, 8, 20, 20, 7, 2, 3), Shape(2, 9, 10, 4, 4, 4, 1, 0),
      Shape(2, 5, 8, 6, 7, 3, 1, 1, 0),    // dilation 0: all taps see one pixel
      Shape(2, 8, 8, 6, 7, 3, 1, 1, 0), Shape(2, 4, 6, 6, 7, 3, 2, 1, 0, 2),
      Shape(2, 8, 8, 5, 5, 3, 1000000, 1000000), Shape(1, 3, 16, 5, 5, 3, 30000, 30000),  // the image is lost in its padding
  };
  ConvShape s = Shape(2, 8, 16, 12, 10, 3, 1, 1);
  s.pad_h = 0, s.oh = 10;  // differing pads
  shapes.push_back(s);
  s = Shape(2, 6, 4, 12, 10, 3, 2, 1);
  s.kh = 1, s.pad_h = 0, s.oh = 6;  // differing kernels
  shapes.push_back(s);
  std::mt19937 random(6);
  while (shapes.size() < 76) {
    const int kernel = 1 + random() % 4, dilation = 1 + random() % 2, groups = 1 + random() % 2;
    s = Shape(1 + random() % 3, groups * (1 + random() % 9), groups * (1 + random() % 9), 1 + random() % 12,
        1 + random() % 12, kernel, 1 + random() % 3, random() % kernel, dilation, groups);
    if (s.oh > 0 && s.ow > 0) shapes.push_back(s);
  }
  return shapes;
}

std::vector<float> Normal(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (size_t i = 0; i < size; ++i) values[i] = normal(random);
  return values;
}

// Random tensors of a convolution, and the direct sums.
struct Case {
  ConvShape s;
  std::vector<float> x, w, bias, dy;
  std::vector<double> y, dx, dw, db;

  explicit Case(const ConvShape& s) : Case(s, Normal(size_t(s.n) * s.ih * s.iw * s.ic, 1)) {}

  Case(const ConvShape& s, const std::vector<float>& x)
      : s(s), x(x), w(Normal(size_t(s.oc) * s.ic / s.groups * s.kh * s.kw, 2)),
        bias(Normal(s.oc, 3)), dy(Normal(size_t(s.n) * s.oh * s.ow * s.oc, 4)), y(dy.size()), dx(x.size()),
        dw(w.size()), db(s.oc) {
    const int ic = s.ic / s.groups, oc = s.oc / s.groups;
    for (size_t at = 0; at < y.size(); ++at) {
      const int o = at % s.oc, j = at / s.oc % s.ow, i = at / s.oc / s.ow % s.oh, image = at / s.oc / s.ow / s.oh;
      y[at] += bias[o];
      db[o] += dy[at];
      for (int a = 0; a < s.kh; ++a) {
        for (int b = 0; b < s.kw; ++b) {
          const int u = i * s.stride_h - s.pad_h + a * s.dilation_h, v = j * s.stride_w - s.pad_w + b * s.dilation_w;
          if (u < 0 || u >= s.ih || v < 0 || v >= s.iw) continue;
          for (int c = 0; c < ic; ++c) {
            const size_t from = ((size_t(image) * s.ih + u) * s.iw + v) * s.ic + o / oc * ic + c;
            const size_t tap = ((size_t(o) * ic + c) * s.kh + a) * s.kw + b;
            y[at] += double(x[from]) * w[tap];
            dx[from] += double(dy[at]) * w[tap];
            dw[tap] += double(dy[at]) * x[from];
          }
        }
      }
    }
  }
};

// Every element within `tolerance` of the expected one, relative to the root mean square of all of them.
void ExpectNear(const std::vector<double>& expected, const float* found, double tolerance, const char* what) {
  double squares = 0, worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    squares += expected[i] * expected[i];
    const double error = std::fabs(expected[i] - found[i]);
    worst = error <= worst ? worst : error;  // a NaN stays
  }
  const double scale = std::sqrt(squares / expected.size());
  EXPECT_LE(worst, tolerance * scale) << what << ", of root mean square " << scale;
}

void ExpectNear(const std::vector<double>& expected, const std::vector<float>& found, double tolerance,
    const char* what) {
  ExpectNear(expected, found.data(), tolerance, what);
}

// Winograd's bound is that of the whole engine: 1e-4 of the direct sum.
double Tolerance(const ConvShape& s, bool keep_filters = false) {
  return Winograd<kLanesOfAvx2>::Supports(s, keep_filters) ? 1e-4 : 2e-5;
}

const float kUnset = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST(EngineConvolutionTest, TestForward) {
  for (const ConvShape& s : Shapes()) {
    if (!Convolution::Supports(s)) continue;
    SCOPED_TRACE(::testing::Message() << s);
    const Case c(s);
    std::vector<double> unbiased(c.y);
    for (size_t i = 0; i < unbiased.size(); ++i) unbiased[i] -= c.bias[i % s.oc];
    for (const bool keep_filters : {false, true}) {
      Convolution convolution(s, keep_filters);
      std::vector<float> y(c.y.size(), kUnset);
      convolution.Forward(c.x.data(), c.w.data(), c.bias.data(), y.data());
      ExpectNear(c.y, y, Tolerance(s, keep_filters), "y");
      convolution.Forward(c.x.data(), c.w.data(), NULL, y.data());
      ExpectNear(unbiased, y, Tolerance(s, keep_filters), "y without bias");
    }
  }
}

TEST(EngineConvolutionTest, TestBackwardData) {
  for (const ConvShape& s : Shapes()) {
    if (!Convolution::Supports(s)) continue;
    SCOPED_TRACE(::testing::Message() << s);
    const Case c(s);
    std::vector<float> dx(c.x.size(), kUnset);
    Convolution(s).BackwardData(c.dy.data(), c.w.data(), dx.data());
    ExpectNear(c.dx, dx, Tolerance(s), "dx");
  }
}

TEST(EngineConvolutionTest, TestBackward) {
  for (const ConvShape& s : Shapes()) {
    if (!Convolution::Supports(s)) continue;
    SCOPED_TRACE(::testing::Message() << s);
    const Case c(s);
    std::vector<float> dx(c.x.size(), kUnset), dw(c.w.size()), db(s.oc);
    Convolution(s).Backward(c.x.data(), c.dy.data(), c.w.data(), dx.data(), dw.data(), db.data());
    ExpectNear(c.dx, dx, Tolerance(s), "dx");
    ExpectNear(c.dw, dw, Tolerance(s), "dw");
    ExpectNear(c.db, db, Tolerance(s), "db");
  }
}

// The gradients of the weights are added to what was there: twice the same, plus a start.
TEST(EngineConvolutionTest, TestBackwardWeightsAdds) {
  for (const ConvShape& s : Shapes()) {
    if (!Convolution::Supports(s)) continue;
    SCOPED_TRACE(::testing::Message() << s);
    const Case c(s);
    Convolution convolution(s);
    std::vector<float> dw(c.w), db(c.bias);
    convolution.BackwardWeights(c.x.data(), c.dy.data(), dw.data(), db.data());
    convolution.BackwardWeights(c.x.data(), c.dy.data(), dw.data(), NULL);
    std::vector<double> expected_dw(c.dw), expected_db(c.db);
    for (size_t i = 0; i < dw.size(); ++i) expected_dw[i] = 2 * c.dw[i] + c.w[i];
    for (size_t i = 0; i < db.size(); ++i) expected_db[i] += c.bias[i];
    ExpectNear(expected_dw, dw, Tolerance(s), "dw");
    ExpectNear(expected_db, db, Tolerance(s), "db");
  }
}

namespace {

// The input as a recipe gives what the input itself gives, padding included; the moments are those of the output. `kernels`: a
// Convolution or a family of kernels.
template <typename Kernels>
void ExpectRecipeAndMoments(const ConvShape& s, bool relu, Kernels* kernels) {
  Case c(s);
  const std::vector<float> mean = Normal(s.ic, 5), scale = Normal(s.ic, 6), shift = Normal(s.ic, 7), before = c.x;
  const InputRecipe recipe = {mean.data(), scale.data(), shift.data(), relu};
  for (size_t i = 0; i < c.x.size(); ++i) {
    const int channel = i % s.ic;
    const float value = (c.x[i] - mean[channel]) * scale[channel] + shift[channel];
    c.x[i] = relu && value < 0 ? 0 : value;
  }
  c = Case(s, c.x);
  std::vector<float> y(c.y.size(), kUnset), dw(c.w.size()), y_mean(s.oc), y_variance(s.oc);
  const OutputMoments moments = {y_mean.data(), y_variance.data()};
  kernels->Forward(before.data(), c.w.data(), c.bias.data(), y.data(), &recipe, NULL);
  ExpectNear(c.y, y, 1e-4, "y without moments");
  kernels->Forward(before.data(), c.w.data(), c.bias.data(), y.data(), &recipe, &moments);
  kernels->BackwardWeights(before.data(), c.dy.data(), dw.data(), NULL, &recipe);
  ExpectNear(c.y, y, 1e-4, "y");
  ExpectNear(c.dw, dw, 1e-4, "dw");

  std::vector<float> dx(c.x.size(), kUnset), of_gradient(s.ic), of_product(s.ic);
  std::fill(dw.begin(), dw.end(), 0.f);
  const InputGradientSums sums = {of_gradient.data(), of_product.data()};
  kernels->Backward(before.data(), c.dy.data(), c.w.data(), dx.data(), dw.data(), NULL, &recipe, &sums);
  ExpectNear(c.dx, dx, 1e-4, "dx");
  ExpectNear(c.dw, dw, 1e-4, "dw of Backward");
  std::vector<double> expected_gradient(s.ic), expected_product(s.ic);
  for (size_t i = 0; i < c.x.size(); ++i) {
    const double g = relu && c.x[i] == 0 ? 0 : c.dx[i];
    expected_gradient[i % s.ic] += g;
    expected_product[i % s.ic] += g * (before[i] - mean[i % s.ic]);
  }
  ExpectNear(expected_gradient, of_gradient, 1e-4, "sums of the gradient");
  ExpectNear(expected_product, of_product, 1e-4, "sums of the product");

  const double pixels = double(s.n) * s.oh * s.ow;
  std::vector<double> expected_mean(s.oc), expected_variance(s.oc);
  for (size_t i = 0; i < c.y.size(); ++i) expected_mean[i % s.oc] += c.y[i] / pixels;
  for (size_t i = 0; i < c.y.size(); ++i) {
    expected_variance[i % s.oc] += std::pow(c.y[i] - expected_mean[i % s.oc], 2) / pixels;
  }
  if (pixels == 1) {
    EXPECT_LT(*std::max_element(y_variance.begin(), y_variance.end()), 1e-5);
    return;
  }
  ExpectNear(expected_mean, y_mean, 1e-4, "mean");
  ExpectNear(expected_variance, y_variance, 1e-4, "variance");
}

}  // namespace

TEST(EngineConvolutionTest, TestRecipeAndMoments) {
  for (const ConvShape& s : Shapes()) {
    for (const bool keep_filters : {false, true}) {
      if (!Convolution::Supports(s)) continue;
      Convolution convolution(s, keep_filters);
      if (!convolution.Fuses()) continue;
      for (const bool relu : {false, true}) {
        SCOPED_TRACE(::testing::Message() << s << ", relu " << relu << ", keep_filters " << keep_filters);
        ExpectRecipeAndMoments(s, relu, &convolution);
      }
    }
  }
}

// By either kind of product, whatever this processor would choose; the library's few pixels at once, too.
TEST(EngineConvolutionTest, TestPointwise) {
  for (const ConvShape& s : Shapes()) {
    if (!Pointwise::Supports(s)) continue;
    for (const int lanes : {0, int(kLanesOfAvx2), int(kLanesOfAvx512)}) {
      if (lanes && !Pointwise::SupportsLanes(s, lanes)) continue;
      for (const bool keep_filters : {false, true}) {
        SCOPED_TRACE(::testing::Message() << s << ", lanes " << lanes << ", keep_filters " << keep_filters);
        Pointwise pointwise(s, lanes);
        if (keep_filters) pointwise.KeepFilters();
        ExpectRecipeAndMoments(s, true, &pointwise);
      }
    }
  }
}

namespace {

// A random gradient behind a batch normalisation of the output, and perhaps a ReLU behind that.
struct RandomGradient {
  RandomGradient(const ConvShape& s, bool masked)
      : y(Normal(size_t(s.n) * s.oh * s.ow * s.oc, 11)), g(Normal(y.size(), 12)), masked(masked) {
    for (unsigned i = 0; i < 6; ++i) channels.push_back(Normal(s.oc, 13 + i));
  }

  GradientRecipe recipe() const {
    const std::vector<float>* c = channels.data();
    return GradientRecipe{c[0].data(), y.data(), c[1].data(), c[2].data(), c[3].data(), masked ? c[4].data() : NULL,
        masked ? c[5].data() : NULL};
  }

  // What the recipe stands for.
  std::vector<float> Values() const {
    const GradientRecipe r = recipe();
    const size_t oc = channels[0].size();
    std::vector<float> values(g);
    for (size_t i = 0; i < values.size(); ++i) {
      const int c = i % oc;
      const float centred = y[i] - r.mean[c];
      if (masked && !(std::fma(centred, r.mask_scale[c], r.mask_shift[c]) > 0)) values[i] *= 0;
      values[i] = values[i] * r.factor[c] + centred * r.scale[c] + r.shift[c];
    }
    return values;
  }

  std::vector<float> y, g;
  std::vector<std::vector<float> > channels;
  const bool masked;
};

// A random sum of two tensors behind a ReLU, one of which is behind a batch normalisation.
struct RandomSum {
  explicit RandomSum(const ConvShape& s)
      : x(Normal(size_t(s.n) * s.ih * s.iw * s.ic, 21)), base(Normal(x.size(), 22)), sum(x.size(), kUnset),
        mean(Normal(s.ic, 23)), scale(Normal(s.ic, 24)), shift(Normal(s.ic, 25)) {}

  InputRecipe recipe() { return InputRecipe{mean.data(), scale.data(), shift.data(), true, base.data(), sum.data()}; }

  // What the recipe stands for.
  std::vector<float> Values() const {
    std::vector<float> values(base);
    for (size_t i = 0; i < values.size(); ++i) {
      const int c = i % mean.size();
      values[i] = std::max(0.f, values[i] + std::fma(x[i] - mean[c], scale[c], shift[c]));
    }
    return values;
  }

  std::vector<float> x, base, sum, mean, scale, shift;
};

// What the passes of a family of kernels write, one after the other.
template <typename Kernels>
std::vector<float> Results(const ConvShape& s, Kernels* kernels) {
  const Case c(s);
  const std::vector<float> mean = Normal(s.ic, 5), scale = Normal(s.ic, 6), shift = Normal(s.ic, 7);
  const InputRecipe recipe = {mean.data(), scale.data(), shift.data(), true};
  const bool fuses = kernels->Fuses();
  std::vector<float> y(c.y.size()), dx(c.x.size()), dw(c.w.size()), db(s.oc), y_mean(s.oc), y_variance(s.oc),
      of_gradient(s.ic), of_product(s.ic);
  const OutputMoments moments = {y_mean.data(), y_variance.data()};
  const InputGradientSums sums = {of_gradient.data(), of_product.data()};
  kernels->Forward(c.x.data(), c.w.data(), c.bias.data(), y.data(), fuses ? &recipe : NULL, fuses ? &moments : NULL);
  kernels->Backward(c.x.data(), c.dy.data(), c.w.data(), dx.data(), dw.data(), db.data(), fuses ? &recipe : NULL,
      fuses ? &sums : NULL);
  kernels->BackwardWeights(c.x.data(), c.dy.data(), dw.data(), db.data(), NULL);
  std::vector<float> other_dx(kernels->FusesAll() ? dx.size() : 0);
  if (kernels->FusesAll()) {
    const RandomGradient gradient(s, true);
    const GradientRecipe of_gradient = gradient.recipe();
    kernels->Backward(c.x.data(), gradient.g.data(), c.w.data(), other_dx.data(), dw.data(), db.data(), NULL, NULL, &of_gradient);
  }
  std::vector<float> other_y(kernels->FusesAll() ? y.size() : 0), sum, sum_dx, sum_of_gradient(s.ic), sum_of_product(s.ic);
  if (kernels->FusesAll()) {
    RandomSum input(s);
    const InputRecipe of_sum = input.recipe();
    kernels->Forward(input.x.data(), c.w.data(), NULL, other_y.data(), &of_sum, NULL);
    sum = input.sum;
    sum_dx = Normal(dx.size(), 26);
    const ResidualSum residual = {input.x.data(), mean.data()};
    const InputGradientSums of_residual = {sum_of_gradient.data(), sum_of_product.data(), &residual};
    kernels->Backward(sum.data(), c.dy.data(), c.w.data(), sum_dx.data(), dw.data(), db.data(), NULL, &of_residual);
  }
  std::vector<float> all;
  for (const auto& part : {y, dx, other_dx, dw, db, y_mean, y_variance, of_gradient, of_product, other_y, sum, sum_dx,
           sum_of_gradient, sum_of_product}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

// Returns whether both support the shape.
template <template <int> class Family, typename... Wishes>
bool ExpectSameBits(const ConvShape& s, Wishes... wishes) {
  if (!Family<kLanesOfAvx512>::Supports(s, wishes...)) return false;
  SCOPED_TRACE(::testing::Message() << s);
  EXPECT_TRUE(Family<kLanesOfAvx2>::Supports(s, wishes...));
  Family<kLanesOfAvx2> narrow(s);
  Family<kLanesOfAvx512> wide(s);
  EXPECT_TRUE(Results(s, &narrow) == Results(s, &wide));
  return true;
}

}  // namespace

// Wider registers only take more channels at once: a net trained on one processor goes on as well on the other.
TEST(EngineConvolutionTest, TestAvx2AndAvx512GiveTheSameBits) {
  if (!HasVectors(kLanesOfAvx512)) {
    std::cout << "Skipped: this processor has no AVX-512, or ONEDNN_MAX_CPU_ISA excludes it." << std::endl;
    return;
  }
  int winograd = 0, direct = 0, depthwise = 0;
  for (const ConvShape& s : Shapes()) {
    winograd += ExpectSameBits<Winograd>(s, false);
    direct += ExpectSameBits<Direct>(s);
    depthwise += ExpectSameBits<Depthwise>(s);
  }
  EXPECT_GE(winograd, 6);
  EXPECT_GE(direct, 6);
  EXPECT_GE(depthwise, 1);
}

// Filters are kept as long as somebody says that the weights are the same, and compared if nobody says anything.
TEST(EngineConvolutionTest, TestToldWeights) {
  for (const ConvShape& s : {Shape(2, 16, 16, 19, 21, 3, 1, 1), Shape(2, 3, 8, 19, 21, 3, 2, 1), Shape(2, 16, 24, 33, 33, 1, 1, 0),
           Shape(2, 8, 8, 9, 9, 3, 1, 1, 1, 8), Shape(2, 6, 6, 9, 9, 5, 1, 2, 1, 2)}) {
    if (!Convolution::Supports(s)) continue;
    SCOPED_TRACE(::testing::Message() << s);
    const std::vector<float> x = Normal(size_t(s.n) * s.ih * s.iw * s.ic, 1);
    const size_t size = size_t(s.oc) * s.ic / s.groups * s.kh * s.kw;
    const std::vector<float> first = Normal(size, 2), second = Normal(size, 3);
    Convolution kept(s, true);
    const auto pass = [&](const std::vector<float>& w) {
      std::vector<float> y(size_t(s.n) * s.oh * s.ow * s.oc);
      kept.Forward(x.data(), w.data(), NULL, y.data());
      return y;
    };
    kept.TellWeights(true);  // of no earlier pass
    const std::vector<float> of_first = pass(first), of_second = pass(second);
    EXPECT_FALSE(of_first == of_second);
    kept.TellWeights(false);
    EXPECT_TRUE(pass(first) == of_first);
    kept.TellWeights(true);
    EXPECT_TRUE(pass(second) == of_first);  // it does not look
    kept.TellWeights(false);
    kept.TellWeights(true);
    EXPECT_TRUE(pass(second) == of_second);
    EXPECT_TRUE(pass(first) == of_first);
  }
}

// A recipe of nothing but a ReLU.
TEST(EngineConvolutionTest, TestClippedInput) {
  for (const ConvShape& s : Shapes()) {
    if (!Convolution::Supports(s) || !Convolution(s).Fuses()) continue;
    SCOPED_TRACE(::testing::Message() << s);
    Case c(s);
    const std::vector<float> before = c.x;
    for (size_t i = 0; i < c.x.size(); ++i) c.x[i] = std::max(0.f, c.x[i]);
    c = Case(s, c.x);
    const InputRecipe recipe = {NULL, NULL, NULL, true};
    Convolution convolution(s);
    std::vector<float> y(c.y.size(), kUnset), dx(c.x.size(), kUnset), dw(c.w.size()), db(s.oc);
    convolution.Forward(before.data(), c.w.data(), c.bias.data(), y.data(), &recipe);
    convolution.Backward(before.data(), c.dy.data(), c.w.data(), dx.data(), dw.data(), db.data(), &recipe);
    ExpectNear(c.y, y, 1e-4, "y");
    ExpectNear(c.dx, dx, 1e-4, "dx");
    ExpectNear(c.dw, dw, 1e-4, "dw");
    ExpectNear(c.db, db, 1e-4, "db");
  }
}

// The gradient's recipe gives what the gradient itself gives, at the image's edges, too.
TEST(EngineConvolutionTest, TestGradientRecipe) {
  int shapes = 0;
  for (const ConvShape& s : Shapes()) {
    if (!Convolution::Supports(s) || !Convolution(s).FusesAll()) continue;
    ++shapes;
    for (const bool masked : {false, true}) {
      SCOPED_TRACE(::testing::Message() << s << ", masked " << masked);
      const Case c(s);
      const RandomGradient gradient(s, masked);
      const GradientRecipe recipe = gradient.recipe();
      const std::vector<float> dy = gradient.Values();
      std::vector<float> dx[2], dw[2], db[2];
      for (const bool by_recipe : {false, true}) {
        dx[by_recipe].resize(c.x.size(), kUnset), dw[by_recipe].resize(c.w.size()), db[by_recipe].resize(s.oc);
        Convolution(s).Backward(c.x.data(), by_recipe ? gradient.g.data() : dy.data(), c.w.data(), dx[by_recipe].data(),
            dw[by_recipe].data(), db[by_recipe].data(), NULL, NULL, by_recipe ? &recipe : NULL);
      }
      ExpectNear(std::vector<double>(dx[0].begin(), dx[0].end()), dx[1], 1e-4, "dx");
      ExpectNear(std::vector<double>(dw[0].begin(), dw[0].end()), dw[1], 1e-4, "dw");
      ExpectNear(std::vector<double>(db[0].begin(), db[0].end()), db[1], 1e-4, "db");
    }
  }
  EXPECT_TRUE(shapes >= 6 || !HasVectors());
}

// Where all of a gradient is masked, its NaN stays.
TEST(EngineConvolutionTest, TestGradientRecipeKeepsNaN) {
  const ConvShape s = Shape(2, 16, 16, 9, 9, 3, 1, 1);
  if (!Convolution::Supports(s) || !Convolution(s).FusesAll()) return;
  const Case c(s);
  RandomGradient gradient(s, true);
  gradient.g[3] = kUnset;
  std::fill(gradient.channels[4].begin(), gradient.channels[4].end(), 0.f);
  std::fill(gradient.channels[5].begin(), gradient.channels[5].end(), -1.f);
  const GradientRecipe recipe = gradient.recipe();
  std::vector<float> dx(c.x.size()), dw(c.w.size()), db(s.oc);
  Convolution(s).Backward(c.x.data(), gradient.g.data(), c.w.data(), dx.data(), dw.data(), db.data(), NULL, NULL, &recipe);
  EXPECT_TRUE(std::isnan(db[3]) && std::isnan(dw[3 * 16 * 9 + 4]) && std::isnan(dx[0]));
  EXPECT_FALSE(std::isnan(db[4]));
}

// A sum that the convolution carries out while it reads it gives what the sum itself gives, and comes out as it is.
TEST(EngineConvolutionTest, TestSumAsInput) {
  int shapes = 0;
  for (const ConvShape& s : Shapes()) {
    if (!Convolution::Supports(s) || !Convolution(s).FusesAll()) continue;
    SCOPED_TRACE(::testing::Message() << s);
    ++shapes;
    RandomSum input(s);
    const std::vector<float> values = input.Values();
    const Case c(s, values);
    const InputRecipe recipe = input.recipe();
    std::vector<float> y(c.y.size(), kUnset);
    Convolution(s).Forward(input.x.data(), c.w.data(), c.bias.data(), y.data(), &recipe);
    ExpectNear(c.y, y, 1e-4, "y");
    EXPECT_TRUE(input.sum == values);
  }
  EXPECT_TRUE(shapes >= 6 || !HasVectors());
}

// The convolution's gradient is added to the other one, what the ReLU clips is 0, and the sums are of that.
TEST(EngineConvolutionTest, TestGradientOfASum) {
  int shapes = 0;
  for (const ConvShape& s : Shapes()) {
    if (!Convolution::Supports(s) || !Convolution(s).FusesAll()) continue;
    SCOPED_TRACE(::testing::Message() << s);
    ++shapes;
    const RandomSum input(s);
    const Case c(s, input.Values());
    const std::vector<float> other = Normal(c.x.size(), 26);
    const ResidualSum residual = {input.x.data(), input.mean.data()};
    std::vector<float> dx(other), dw(c.w.size()), db(s.oc), of_gradient(s.ic), of_product(s.ic);
    const InputGradientSums sums = {of_gradient.data(), of_product.data(), &residual};
    Convolution(s).Backward(c.x.data(), c.dy.data(), c.w.data(), dx.data(), dw.data(), db.data(), NULL, &sums);
    std::vector<double> expected(c.dx), expected_gradient(s.ic), expected_product(s.ic);
    for (size_t i = 0; i < expected.size(); ++i) {
      expected[i] = c.x[i] > 0 ? expected[i] + other[i] : 0;
      expected_gradient[i % s.ic] += expected[i];
      expected_product[i % s.ic] += expected[i] * (input.x[i] - input.mean[i % s.ic]);
    }
    ExpectNear(expected, dx, 1e-4, "dx");
    ExpectNear(expected_gradient, of_gradient, 1e-4, "sums of the gradient");
    ExpectNear(expected_product, of_product, 1e-4, "sums of the product");
    ExpectNear(c.dw, dw, 1e-4, "dw");
    ExpectNear(c.db, db, 1e-4, "db");
  }
  EXPECT_TRUE(shapes >= 6 || !HasVectors());
}

// Where all of the sum is clipped, a NaN of either gradient stays; so does one of the sum's terms.
TEST(EngineConvolutionTest, TestSumsKeepNaN) {
  const ConvShape s = Shape(2, 16, 16, 9, 9, 3, 1, 1);
  if (!Convolution::Supports(s) || !Convolution(s).FusesAll()) return;
  const Case c(s);
  RandomSum input(s);
  input.base[5] = input.x[6] = kUnset;
  const InputRecipe recipe = input.recipe();
  std::vector<float> y(c.y.size()), dx(c.x.size()), dy(c.dy), dw(c.w.size()), of_gradient(s.ic), of_product(s.ic);
  Convolution(s).Forward(input.x.data(), c.w.data(), NULL, y.data(), &recipe);
  EXPECT_TRUE(std::isnan(input.sum[5]) && std::isnan(input.sum[6]) && std::isnan(y[0]));
  EXPECT_FALSE(std::isnan(input.sum[7]));
  const std::vector<float> clipped(c.x.size());
  dx[dx.size() - 1] = kUnset;
  dy[3] = kUnset;
  const ResidualSum residual = {clipped.data(), input.mean.data()};
  const InputGradientSums sums = {of_gradient.data(), of_product.data(), &residual};
  Convolution(s).Backward(clipped.data(), dy.data(), c.w.data(), dx.data(), dw.data(), NULL, NULL, &sums);
  EXPECT_TRUE(std::isnan(dx[0]) && std::isnan(dx[dx.size() - 1]) && std::isnan(of_gradient[s.ic - 1]));
  EXPECT_EQ(dx[dx.size() - 2], 0);
}

// NaN behind a ReLU stays NaN: that of the input in the output, that of the gradient in the sums, even where all is clipped.
TEST(EngineConvolutionTest, TestRecipeKeepsNaN) {
  const ConvShape s = Shape(2, 16, 16, 9, 9, 3, 1, 1);
  if (!Convolution::Supports(s) || !Convolution(s).Fuses()) return;
  Case c(s);
  const std::vector<float> mean(s.ic), scale(s.ic, 1), shift(s.ic, -100);
  const InputRecipe recipe = {mean.data(), scale.data(), shift.data(), true};
  std::vector<float> y(c.y.size()), dx(c.x.size()), dw(c.w.size()), of_gradient(s.ic), of_product(s.ic);
  const InputGradientSums sums = {of_gradient.data(), of_product.data()};
  std::vector<float> dy(c.dy);
  dy[3] = kUnset;
  Convolution(s).Backward(c.x.data(), dy.data(), c.w.data(), dx.data(), dw.data(), NULL, &recipe, &sums);
  for (int i = 0; i < s.ic; ++i) EXPECT_TRUE(std::isnan(of_gradient[i]) && std::isnan(of_product[i]));
  c.x[5] = kUnset;
  Convolution(s).Forward(c.x.data(), c.w.data(), NULL, y.data(), &recipe);
  Convolution(s).BackwardWeights(c.x.data(), c.dy.data(), dw.data(), NULL, &recipe);
  for (int o = 0; o < s.oc; ++o) EXPECT_TRUE(std::isnan(y[o]) && std::isnan(dw[(o * s.ic + 5) * 9 + 4]));
}

// A filter that is 1 in its middle copies its input.
TEST(EngineConvolutionTest, TestIdentity) {
  const ConvShape s = Shape(2, 16, 16, 10, 10, 3, 1, 1);
  if (!Convolution::Supports(s)) return;
  const std::vector<float> x = Normal(size_t(s.n) * s.ih * s.iw * s.ic, 1);
  std::vector<float> w(16 * 16 * 9), y(x.size()), dx(x.size());
  for (int c = 0; c < 16; ++c) w[(c * 16 + c) * 9 + 4] = 1;
  Convolution(s).Forward(x.data(), w.data(), NULL, y.data());
  Convolution(s).BackwardData(x.data(), w.data(), dx.data());
  const std::vector<double> expected(x.begin(), x.end());
  ExpectNear(expected, y, 1e-5, "y");
  ExpectNear(expected, dx, 1e-5, "dx");
}

TEST(EngineConvolutionTest, TestUnalignedBuffers) {
  for (const ConvShape& s : {Shape(2, 16, 16, 9, 9, 3, 1, 1), Shape(2, 3, 16, 9, 9, 3, 2, 1)}) {
    if (!Convolution::Supports(s)) continue;
    const Case c(s);
    std::vector<float> x(c.x), y(c.y.size() + 1, kUnset);
    x.insert(x.begin(), kUnset);
    Convolution(s).Forward(x.data() + 1, c.w.data(), c.bias.data(), y.data() + 1);
    ExpectNear(c.y, y.data() + 1, Tolerance(s), "y");
  }
}

TEST(EngineConvolutionTest, TestSameBits) {
  for (const ConvShape& s : {Shape(20, 16, 16, 32, 32, 3, 1, 1), Shape(9, 16, 32, 32, 32, 3, 2, 1),
      Shape(9, 16, 24, 32, 32, 1, 1, 0), Shape(3, 16, 16, 32, 32, 3, 1, 1, 1, 16), Shape(4, 32, 32, 13, 13, 5, 1, 2, 1, 2)}) {
    if (!Convolution::Supports(s)) continue;
    SCOPED_TRACE(::testing::Message() << s);
    const std::vector<float> x = Normal(size_t(s.n) * s.ih * s.iw * s.ic, 1);
    const std::vector<float> w = Normal(size_t(s.oc) * s.ic / s.groups * s.kh * s.kw, 2);
    const std::vector<float> dy = Normal(size_t(s.n) * s.oh * s.ow * s.oc, 4);
    std::vector<float> y[2], dx[2], dw[2], db[2];
    for (int i = 0; i < 2; ++i) {
      y[i].resize(dy.size()), dx[i].resize(x.size()), dw[i].resize(w.size()), db[i].resize(s.oc);
      Convolution convolution(s);
      convolution.Forward(x.data(), w.data(), NULL, y[i].data());
      convolution.BackwardData(dy.data(), w.data(), dx[i].data());
      convolution.BackwardWeights(x.data(), dy.data(), dw[i].data(), db[i].data());
    }
    EXPECT_TRUE(y[0] == y[1]);
    EXPECT_TRUE(dx[0] == dx[1]);
    EXPECT_TRUE(dw[0] == dw[1]);
    EXPECT_TRUE(db[0] == db[1]);
  }
}

// Two solvers may step at the same time, each in its thread.
TEST(EngineConvolutionTest, TestTwoAtOnce) {
  for (const ConvShape& s : {Shape(2, 5, 7, 19, 21, 3, 1, 1), Shape(2, 16, 16, 19, 21, 3, 1, 1),
           Shape(2, 3, 8, 19, 21, 3, 2, 1)}) {
    if (!Convolution::Supports(s)) continue;
    SCOPED_TRACE(::testing::Message() << s);
    const Case c(s);
    struct Result {
      std::vector<float> y, dx, dw;
      bool operator==(const Result& o) const { return y == o.y && dx == o.dx && dw == o.dw; }
    };
    const auto run = [&](Result* result) {
      result->y.resize(c.y.size()), result->dx.resize(c.x.size());
      Convolution convolution(s);
      for (int i = 0; i < 20; ++i) {
        result->dw.assign(c.w.size(), 0);
        convolution.Forward(c.x.data(), c.w.data(), c.bias.data(), result->y.data());
        convolution.BackwardData(c.dy.data(), c.w.data(), result->dx.data());
        convolution.BackwardWeights(c.x.data(), c.dy.data(), result->dw.data(), NULL);
      }
    };
    Result alone, first, second;
    run(&alone);
    std::thread other(run, &second);
    run(&first);
    other.join();
    EXPECT_TRUE(first == alone);
    EXPECT_TRUE(second == alone);
  }
}

// Memory is taken before the region, where an exception can be caught. Rooms are apart.
TEST(EngineConvolutionTest, TestThreadRooms) {
  EXPECT_THROW(ThreadRooms rooms(size_t(1) << 50), std::bad_alloc);
  EXPECT_THROW(ThreadRooms rooms(size_t(1) << 62), std::bad_alloc);
  EXPECT_THROW(ThreadRooms rooms(SIZE_MAX), std::bad_alloc);
  const size_t size = 5000;
  const ThreadRooms rooms(size);
  std::set<const float*> starts;
#pragma omp parallel
  {
#pragma omp critical
    starts.insert(rooms.Mine());
    std::fill_n(rooms.Mine(), size, float(size_t(rooms.Mine()) >> 12 & 0xffff));
#pragma omp barrier
    for (size_t i = 0; i < size; ++i) EXPECT_EQ(rooms.Mine()[i], float(size_t(rooms.Mine()) >> 12 & 0xffff));
  }
  const float* before = NULL;
  for (const float* start : starts) {
    if (before) EXPECT_GE(size_t(start - before), size + ThreadRooms::kGap);
    before = start;
  }
}

#ifdef _OPENMP
TEST(EngineConvolutionTest, TestAnyNumberOfThreads) {
  const ConvShape s = Shape(3, 16, 16, 16, 16, 3, 1, 1);
  if (!Convolution::Supports(s)) return;
  const Case c(s);
  const int before = omp_get_max_threads();
  for (int threads = 1; threads <= 5; ++threads) {
    omp_set_num_threads(threads);
    Convolution convolution(s);
    std::vector<float> y(c.y.size(), kUnset), dx(c.x.size(), kUnset), dw(c.w.size()), db(s.oc);
    convolution.Forward(c.x.data(), c.w.data(), c.bias.data(), y.data());
    convolution.BackwardData(c.dy.data(), c.w.data(), dx.data());
    convolution.BackwardWeights(c.x.data(), c.dy.data(), dw.data(), db.data());
    ExpectNear(c.y, y, 1e-4, "y");
    ExpectNear(c.dx, dx, 1e-4, "dx");
    ExpectNear(c.dw, dw, 1e-4, "dw");
    ExpectNear(c.db, db, 1e-4, "db");
  }
  omp_set_num_threads(before);
}
#endif

}  // namespace engine
}  // namespace caffe
