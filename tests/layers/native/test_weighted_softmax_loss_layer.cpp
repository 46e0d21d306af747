#include <algorithm>
#include <cfloat>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "boost/scoped_ptr.hpp"
#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/unified_weight_loss_layer.hpp"
#include "caffe/layers/weighted_softmax_loss_layer.hpp"

#include "caffe/test/test_caffe_main.hpp"
#include "caffe/test/test_gradient_check_util.hpp"

using boost::scoped_ptr;

namespace caffe {

// The table of "Derivative Manipulation for General Example Weighting" and the
// literature's losses with their default parameters, in long double and without
// the layer's header: c(p), the weight in S, the distance.
struct Reference {
  long double multiplier, weight, distance;
};

typedef long double Real;
const Real A = -std::log(1e-4L);

// c(p), and the distance that a row itself reports.
static std::pair<Real, Real> Of(const LossParameter& param, const Real p) {
  const Real minus_log = -std::log(std::max<Real>(p, FLT_MIN));
  const Real q = param.has_q() ? param.q() : 0.7;
  const Real root = std::sqrt(1 - p);
  const std::string name = LossParameter_Weighting_Name(param.weighting());
  const std::string row = name.substr(0, name.rfind("_DN"));
  if (row == "CCE") { return {1, minus_log}; }
  if (row == "MAE") { return {p, 1 - p}; }
  if (row == "MSE") { return {2 * p * (1 - p), 1 - p}; }
  if (row == "GCE") { return {std::pow(p, q), 1 - p}; }
  if (row == "DM") {
    return {std::exp(param.scale() * std::pow(p, (Real)param.lamda_p()) * (1 - p)) / (2 - 2 * p + 1e-6L), minus_log};
  }
  if (row == "CUSTOM") { return {std::pow(p, Real(0.3)) * std::exp(-2 * p), 1 - p}; }
  if (row == "RCE") { return {A * p, A * (1 - p)}; }
  if (row == "SCE") { return {6 + A * p * Real(0.1), 6 * minus_log + A * (1 - p) * Real(0.1)}; }
  if (row == "FOCAL") { return {root + p / root * minus_log / 2, root * minus_log}; }
  if (row == "FOCAL_DETACHED") { return {root, root * minus_log}; }
  if (row == "TAYLOR") { return {1 - (1 - p) * (1 - p), 1 - p}; }
  if (row == "AGCE") {
    const Real a = 0.6;
    return {p * std::pow(a + p, a - 1), (std::pow(a + 1, a) - std::pow(a + p, a)) / a};
  }
  if (row == "AUL") {
    return {p * std::pow(5.5L - p, 2.0L), (std::pow(5.5L - p, 3.0L) - std::pow(4.5L, 3.0L)) / 3};
  }
  if (row == "AEL") { return {p / 2.5L * std::exp(-p / 2.5L), std::exp(-p / 2.5L)}; }
  if (row == "PHUBER_CE") {
    return {std::min<Real>(1, 10 * p), p > 0.1L ? minus_log : 1 + std::log(10.0L) - 10 * p};
  }
  if (row == "PHUBER_GCE") {
    const Real edge = std::pow(10.0L, 1 / (q - 1));
    return {std::min<Real>(std::pow(p, q), 10 * p),
        p > edge ? (1 - std::pow(p, q)) / q : (1 - std::pow(edge, q)) / q + 10 * (edge - p)};
  }
  if (row == "JS") {
    const Real w = 0.3, m = w + (1 - w) * p, log_rest = std::log(1 - w);
    return {p * std::log(1 + w / ((1 - w) * p)) / -log_rest,
        (-w * std::log(m) + (1 - w) * (p * std::log(p / m) - (1 - p) * log_rest)) / (-(1 - w) * log_rest)};
  }
  if (row == "FORWARD") {
    const Real rate = 0.4, a = rate / 99, b = 1 - rate - a;
    return {b * p / (a + b * p), -std::log(a + b * p)};
  }
  if (row == "GCE_TRUNCATED") {
    return {p > 0.5L ? std::pow(p, q) : 0, (1 - std::pow(std::max(p, 0.5L), q)) / q};
  }
  ADD_FAILURE() << name << " is not in the test's table";
  return {NAN, NAN};
}

static Reference reference(const LossParameter& param, const Real p) {
  const std::pair<Real, Real> of = Of(param, p);
  const std::string name = LossParameter_Weighting_Name(param.weighting());
  const bool twin = name.size() > 3 && name.substr(name.size() - 3) == "_DN";
  const Real weight = name == "DM" ? of.first * (2 - 2 * p + 1e-6L)
      : twin ? 2 * of.first * (1 - p) : 1;
  return {of.first, weight, twin ? 1 - p : of.second};
}

template <typename TypeParam>
class WeightedSoftmaxWithLossLayerTest : public MultiDeviceTest<TypeParam> {
  typedef typename TypeParam::Dtype Dtype;

 protected:
  WeightedSoftmaxWithLossLayerTest()
      : scores_(10, 5, 2, 3), labels_(10, 1, 2, 3), unread_(10, 1, 2, 3) {
    // With one in eight other seeds, the p of a label is so near to 1 that float keeps few digits of 1 - p.
    Caffe::set_random_seed(1701);
    FillerParameter filler_param;
    filler_param.set_std(3);
    GaussianFiller<Dtype> filler(filler_param);
    filler.Fill(&scores_);
    for (int i = 0; i < labels_.count(); ++i) {
      labels_.mutable_cpu_data()[i] = caffe_rng_rand() % 5;
    }
    bottom_ = {&scores_, &labels_, &unread_};
    top_ = {&loss_};
  }

  // Gradient and value of `layer` against the closed form in long double.
  void CheckAgainstClosedForm(WeightedSoftmaxWithLossLayer<Dtype>* layer,
      const LossParameter& param) {
    const Dtype loss_weight = 2.5;
    layer->SetUp(bottom_, top_);
    layer->Forward(bottom_, top_);
    loss_.mutable_cpu_diff()[0] = loss_weight;
    layer->Backward(top_, {true, false, false}, bottom_);
    const int rows = 10, classes = 5, inner = 6;
    long double weight_sum = 0, value = 0;
    vector<long double> expected(scores_.count(), 0);
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < inner; ++j) {
        const int label = labels_.cpu_data()[i * inner + j];
        if (param.has_ignore_label() && label == param.ignore_label()) {
          continue;
        }
        long double prob[classes], sum = 0, largest = -INFINITY;
        for (int c = 0; c < classes; ++c) {
          prob[c] = scores_.cpu_data()[(i * classes + c) * inner + j];
          largest = std::max(largest, prob[c]);
        }
        for (int c = 0; c < classes; ++c) {
          sum += prob[c] = std::exp(prob[c] - largest);
        }
        const Reference r = reference(param, prob[label] / sum);
        weight_sum += r.weight;
        value += r.weight * r.distance;
        for (int c = 0; c < classes; ++c) {
          expected[(i * classes + c) * inner + j] =
              r.multiplier * (prob[c] / sum - (c == label));
        }
      }
    }
    // S counts examples or sums weights; its 1e-8 is part of the definition.
    const long double S = param.weighting() == LossParameter_Weighting_CCE
        ? weight_sum : weight_sum + 1e-8L;
    const long double tolerance = sizeof(Dtype) == 8 ? 1e-12L : 2e-5L;
    EXPECT_NEAR(loss_.cpu_data()[0], double(value / S), tolerance * value / S);
    for (int i = 0; i < scores_.count(); ++i) {
      const long double gradient = loss_weight / S * expected[i];
      EXPECT_NEAR(scores_.cpu_diff()[i], double(gradient),
          tolerance * std::max(std::abs(gradient), 1e-3L)) << i;
    }
  }

  Blob<Dtype> scores_, labels_, unread_, loss_;
  vector<Blob<Dtype>*> bottom_, top_;
};

TYPED_TEST_CASE(WeightedSoftmaxWithLossLayerTest, TestDtypesAndDevices);

TYPED_TEST(WeightedSoftmaxWithLossLayerTest, TestClosedForm) {
  typedef typename TypeParam::Dtype Dtype;
  for (int name = 0; name < LossParameter_Weighting_Weighting_ARRAYSIZE; ++name) {
    for (int ignore = 0; ignore < 2; ++ignore) {
      LayerParameter layer_param;
      LossParameter* param = layer_param.mutable_loss_param();
      param->set_weighting(LossParameter_Weighting(name));
      if (LossParameter_Weighting_Name(param->weighting()).find("CUSTOM") == 0) {
        param->set_formula("pow(p, 0.3) * exp(-2 * p)");
      }
      param->set_lamda_p(0.5);
      param->set_scale(6);
      if (ignore) { param->set_ignore_label(1); }
      SCOPED_TRACE(param->ShortDebugString());
      WeightedSoftmaxWithLossLayer<Dtype> layer(layer_param);
      this->CheckAgainstClosedForm(&layer, *param);
    }
  }
}

TYPED_TEST(WeightedSoftmaxWithLossLayerTest, TestUnifiedWeightIsDM) {
  typedef typename TypeParam::Dtype Dtype;
  LayerParameter layer_param;
  layer_param.mutable_loss_param()->set_lamda_p(0.3);
  layer_param.mutable_loss_param()->set_scale(-2);
  UnifiedWeightLossLayer<Dtype> layer(layer_param);
  LossParameter param = layer_param.loss_param();
  param.set_weighting(LossParameter_Weighting_DM);
  this->CheckAgainstClosedForm(&layer, param);
}

TYPED_TEST(WeightedSoftmaxWithLossLayerTest, TestGradientOfCCE) {
  typedef typename TypeParam::Dtype Dtype;
  LayerParameter layer_param;
  layer_param.add_loss_weight(3);
  layer_param.mutable_loss_param()->set_ignore_label(0);
  layer_param.mutable_loss_param()->set_weighting(LossParameter_Weighting_CCE);
  WeightedSoftmaxWithLossLayer<Dtype> layer(layer_param);
  GradientChecker<Dtype> checker(1e-2, 1e-2, 1701);
  checker.CheckGradientExhaustive(&layer, this->bottom_, this->top_, 0);
}

// The papers' own losses, whose derivatives the multipliers are:
// MAE 1 - p, MSE (1 - p)^2, GCE (1 - p^q) / q, averaged over the examples.
TYPED_TEST(WeightedSoftmaxWithLossLayerTest, TestFiniteDifferences) {
  typedef typename TypeParam::Dtype Dtype;
  const LossParameter_Weighting kinds[] = {LossParameter_Weighting_MAE,
      LossParameter_Weighting_MSE, LossParameter_Weighting_GCE};
  const double step = 1e-5, q = 0.7;
  for (const LossParameter_Weighting kind : kinds) {
    LayerParameter layer_param;
    layer_param.mutable_loss_param()->set_weighting(kind);
    WeightedSoftmaxWithLossLayer<Dtype> layer(layer_param);
    layer.SetUp(this->bottom_, this->top_);
    layer.Forward(this->bottom_, this->top_);
    this->loss_.mutable_cpu_diff()[0] = 1;
    layer.Backward(this->top_, {true, false, false}, this->bottom_);
    for (int i = 0; i < 10; ++i) {
      for (int j = 0; j < 6; ++j) {
        const int label = this->labels_.cpu_data()[i * 6 + j];
        for (int c = 0; c < 5; ++c) {
          double loss[2];
          for (int side = 0; side < 2; ++side) {
            double sum = 0, at_label = 0;
            for (int k = 0; k < 5; ++k) {
              const double score = this->scores_.cpu_data()[(i * 5 + k) * 6 + j]
                  + (k == c ? (side ? step : -step) : 0);
              sum += std::exp(score);
              if (k == label) { at_label = std::exp(score); }
            }
            const double p = at_label / sum;
            loss[side] = kind == LossParameter_Weighting_MAE ? 1 - p
                : kind == LossParameter_Weighting_MSE ? (1 - p) * (1 - p)
                : (1 - std::pow(p, q)) / q;
          }
          EXPECT_NEAR(this->scores_.cpu_diff()[(i * 5 + c) * 6 + j],
              (loss[1] - loss[0]) / (2 * step) / 60, 1e-8)
              << LossParameter_Weighting_Name(kind);
        }
      }
    }
  }
}

TYPED_TEST(WeightedSoftmaxWithLossLayerTest, TestAllIgnoredIsZero) {
  typedef typename TypeParam::Dtype Dtype;
  caffe_set(this->labels_.count(), Dtype(255), this->labels_.mutable_cpu_data());
  for (int kind = 0; kind < LossParameter_Weighting_Weighting_ARRAYSIZE; ++kind) {
    LayerParameter layer_param;
    layer_param.mutable_loss_param()->set_ignore_label(255);
    layer_param.mutable_loss_param()->set_weighting(LossParameter_Weighting(kind));
    if (LossParameter_Weighting_Name(LossParameter_Weighting(kind)).find("CUSTOM") == 0) {
      layer_param.mutable_loss_param()->set_emphasis("1");
    }
    WeightedSoftmaxWithLossLayer<Dtype> layer(layer_param);
    layer.SetUp(this->bottom_, this->top_);
    layer.Forward(this->bottom_, this->top_);
    this->loss_.mutable_cpu_diff()[0] = 1;
    layer.Backward(this->top_, {true, false, false}, this->bottom_);
    EXPECT_EQ(this->loss_.cpu_data()[0], 0);
    EXPECT_EQ(this->scores_.asum_diff(), 0);
  }
}

}  // namespace caffe
