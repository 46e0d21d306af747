// The GPU kernels of our layers, run on the host with a thread for each lane and compared with the layers' CPU passes. Each
// lane reads and writes as on a GPU. The shapes are odd, since no kernel may rely on multiples of 32.
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/extract_prob_layer.hpp"
#include "caffe/layers/position_kernels.hpp"
#include "caffe/layers/read_weighting.hpp"
#include "caffe/layers/weighted_softmax_loss_layer.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

// The state that the lanes of a group share. They wait for each other at each max and sum, as a warp's threads at a shuffle.
class Warp {
 public:
  explicit Warp(const int size) : values_(size), waiting_(0), round_(0) {}
  int size() const { return values_.size(); }

  template <typename T, typename Combine>
  T Reduce(const int rank, T x, const Combine& combine) {
    values_[rank] = x;
    Meet();
    T found = values_[0];
    for (int i = 1; i < size(); ++i) { found = combine(found, T(values_[i])); }
    Meet();
    return found;
  }

 private:
  void Meet() {
    std::unique_lock<std::mutex> lock(mutex_);
    const int round = round_;
    if (++waiting_ == size()) {
      waiting_ = 0;
      ++round_;
      all_here_.notify_all();
    } else {
      all_here_.wait(lock, [&] { return round_ != round; });
    }
  }

  std::vector<double> values_;
  int waiting_, round_;
  std::mutex mutex_;
  std::condition_variable all_here_;
};

class HostLanes {
 public:
  HostLanes(Warp* warp, const int rank) : warp_(warp), rank_(rank) {}
  int rank() const { return rank_; }
  int size() const { return warp_->size(); }
  template <typename T>
  T max(T x) const {
    return warp_->Reduce(rank_, x, [](T a, T b) { return Larger(a, b); });
  }
  template <typename T>
  T sum(T x) const {
    return warp_->Reduce(rank_, x, [](T a, T b) { return a + b; });
  }

 private:
  Warp* warp_;
  int rank_;
};

// Runs `kernel` as a warp of `size` threads would, once: it loops over positions itself.
void RunWarp(const int size, const std::function<void(const HostLanes&)>& kernel) {
  Warp warp(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] { kernel(HostLanes(&warp, rank)); });
  }
  for (std::thread& thread : threads) { thread.join(); }
}

// Every weighting of caffe.proto.
std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (int i = 0; i < LossParameter_Weighting_Weighting_ARRAYSIZE; ++i) {
    names.push_back(LossParameter_Weighting_Name(LossParameter_Weighting(i)));
  }
  return names;
}

Weighting<float> Read(const LossParameter& parameter) {
  Weighting<float> weighting;
  const std::string wrong = ReadWeighting(parameter, parameter.weighting(), &weighting);
  CHECK(wrong.empty()) << wrong;
  return weighting;
}

struct Case {
  std::vector<int> shape;
  int axis;
};

class PositionKernelsTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Case& given = GetParam();
    scores_.Reshape(given.shape);
    std::vector<int> one_class = given.shape;
    one_class[given.axis] = 1;
    labels_.Reshape(one_class);
    label_prob_.Reshape(one_class);
    FillerParameter filler;
    filler.set_std(3);
    GaussianFiller<float>(filler).Fill(&scores_);
    shape_ = ScoreShape{scores_.count(0, given.axis), given.shape[given.axis], scores_.count(given.axis + 1)};
    for (int i = 0; i < labels_.count(); ++i) {
      labels_.mutable_cpu_data()[i] = (i * 7 + 3) % shape_.classes;
    }
    bottom_ = {&scores_, &labels_, &label_prob_};
    top_ = {&loss_, &probs_};
  }

  LayerParameter Parameter(const std::string& weighting, const bool ignore) const {
    LayerParameter parameter;
    parameter.add_loss_weight(1);
    parameter.add_loss_weight(0);
    parameter.mutable_softmax_param()->set_axis(GetParam().axis);
    LossParameter* loss = parameter.mutable_loss_param();
    LossParameter_Weighting name;
    CHECK(LossParameter_Weighting_Parse(weighting, &name));
    loss->set_weighting(name);
    loss->set_lamda_p(0.5);
    loss->set_scale(6);
    if (name == LossParameter_Weighting_CUSTOM) { loss->set_formula("pow(p, 0.3) * exp(-2 * p)"); }
    if (name == LossParameter_Weighting_CUSTOM_DN) { loss->set_emphasis("p < 0.2 ? p : max(0.1, 1 - log1p(p))"); }
    if (ignore) { loss->set_ignore_label(3 % shape_.classes); }
    return parameter;
  }

  Blob<float> scores_, labels_, label_prob_, loss_, probs_;
  ScoreShape shape_;
  std::vector<Blob<float>*> bottom_, top_;
};

TEST_P(PositionKernelsTest, TestWeightedSoftmaxEqualsTheCpuPasses) {
  for (const std::string& name : Names()) {
    for (const bool ignore : {false, true}) {
      const LayerParameter parameter = Parameter(name, ignore);
      WeightedSoftmaxWithLossLayer<float> layer(parameter);
      layer.SetUp(bottom_, top_);
      const float expected_loss = (layer.Forward(bottom_, top_), loss_.cpu_data()[0]);
      loss_.mutable_cpu_diff()[0] = 2;  // the loss weight
      layer.Backward(top_, {true, false, false}, bottom_);

      const LossParameter& loss_param = parameter.loss_param();
      const Weighting<float> weighting = Read(loss_param);
      const Labels<float> labels = {labels_.cpu_data(), shape_.classes, ignore, loss_param.ignore_label()};
      const int positions = shape_.positions();
      std::vector<float> prob(scores_.count(), -1), diff(scores_.count(), -1);
      std::vector<double> weight(positions, -1), value(positions, -1);
      double weight_sum = -1, value_sum = -1;
      const float* score = scores_.cpu_data();
      RunWarp(shape_.lanes(), [&](const HostLanes& lanes) {
        for (int position = 0; position < positions; ++position) {
          ForwardPosition(lanes, shape_, position, score, labels, weighting, prob.data(), weight.data(), value.data());
        }
      });
      RunWarp(32, [&](const HostLanes& lanes) {  // like SumParts and SumAll if there are more positions than parts
        const int parts = 5;
        std::vector<double> weights(parts), values(parts);
        for (int part = 0; part < parts; ++part) {
          weights[part] = SumOfPart(lanes, part, parts, positions, weight.data());
          values[part] = SumOfPart(lanes, part, parts, positions, value.data());
        }
        const double w = SumOfPart(lanes, 0, 1, parts, weights.data());
        const double v = SumOfPart(lanes, 0, 1, parts, values.data());
        if (lanes.rank() == 0) { weight_sum = w, value_sum = v; }
      });
      const double normaliser = weighting.normaliser(weight_sum);
      RunWarp(shape_.lanes(), [&](const HostLanes& lanes) {
        for (int position = 0; position < positions; ++position) {
          BackwardPosition(lanes, shape_, position, prob.data(), labels, weighting, 2 / normaliser, diff.data());
        }
      });
      EXPECT_NEAR(value_sum / normaliser, expected_loss, 1e-5 * (1 + fabs(expected_loss))) << name;
      for (int i = 0; i < scores_.count(); ++i) {
        ASSERT_NEAR(prob[i], probs_.cpu_data()[i], 1e-6) << name << " " << i;
        ASSERT_NEAR(diff[i], scores_.cpu_diff()[i], 1e-6 + 1e-4 * fabs(scores_.cpu_diff()[i])) << name << " " << i;
      }
    }
  }
}

TEST_P(PositionKernelsTest, TestExtractProbEqualsTheCpuPass) {
  Blob<float> expected, expected_largest;
  for (const bool ignore : {false, true}) {
    LayerParameter parameter = Parameter("DM", ignore);
    if (ignore) {  // only a label that is not a class has no probability
      parameter.mutable_loss_param()->set_ignore_label(255);
      labels_.mutable_cpu_data()[0] = 255;
    }
    parameter.clear_loss_weight();
    ExtractProbLayer<float> layer(parameter);
    const std::vector<Blob<float>*> bottom = {&scores_, &labels_}, top = {&expected, &expected_largest};
    layer.SetUp(bottom, top);
    layer.Forward(bottom, top);
    const Labels<float> labels = {labels_.cpu_data(), shape_.classes, ignore, parameter.loss_param().ignore_label()};
    std::vector<float> found(shape_.positions(), -1), largest(shape_.positions(), -1);
    const float* prob = scores_.cpu_data();
    RunWarp(shape_.lanes(), [&](const HostLanes& lanes) {
      for (int position = 0; position < shape_.positions(); ++position) {
        ExtractPosition(lanes, shape_, position, prob, labels, found.data(), largest.data());
      }
    });
    for (int i = 0; i < shape_.positions(); ++i) {
      ASSERT_EQ(found[i], expected.cpu_data()[i]);
      ASSERT_EQ(largest[i], expected_largest.cpu_data()[i]);
    }
  }
}

// NaN, infinities and numbers too large for int are wrong labels, too, even if the ignored label is the int that NaN becomes on x86.
TEST_P(PositionKernelsTest, TestAWrongLabelMakesTheLossAndItsProbabilityNaN) {
  const float infinity = std::numeric_limits<float>::infinity();
  const Weighting<float> weighting = Read(Parameter("CCE", false).loss_param());
  const float* score = scores_.cpu_data();
  const int last = shape_.positions() - 1;
  for (const float label : {float(shape_.classes), -1.f, NAN, -NAN, infinity, -infinity, 3e9f, -3e9f, 1e30f}) {
    for (const bool ignore : {false, true}) {
      std::vector<float> wrong(shape_.positions(), 0);
      wrong.back() = label;
      const Labels<float> labels = {wrong.data(), shape_.classes, ignore, std::numeric_limits<int>::min()};
      std::vector<float> prob(scores_.count()), diff(scores_.count(), -1), label_prob(wrong.size());
      std::vector<double> weight(wrong.size()), value(wrong.size());
      RunWarp(shape_.lanes(), [&](const HostLanes& lanes) {
        ForwardPosition(lanes, shape_, last, score, labels, weighting, prob.data(), weight.data(), value.data());
        BackwardPosition(lanes, shape_, last, prob.data(), labels, weighting, 1.0f, diff.data());
        ExtractPosition<float>(lanes, shape_, last, score, labels, label_prob.data(), NULL);
      });
      EXPECT_EQ(labels.at(last), Labels<float>::OUTSIDE + 0) << label;
      EXPECT_TRUE(std::isnan(weight[last])) << label;
      EXPECT_TRUE(std::isnan(value[last])) << label;
      EXPECT_TRUE(std::isnan(label_prob[last])) << label;
      EXPECT_EQ(diff[shape_.first(last)], 0) << label;
    }
  }
}

TEST_P(PositionKernelsTest, TestOneScoreThatIsNaNMakesTheLossNaN) {
  const int last = shape_.positions() - 1;
  for (const int wrong : {0, shape_.classes - 1}) {
    Blob<float> scores;
    scores.CopyFrom(scores_, false, true);
    scores.mutable_cpu_data()[shape_.first(last) + wrong * shape_.inner] = NAN;
    bottom_[0] = &scores;
    for (const std::string& name : Names()) {
      const LayerParameter parameter = Parameter(name, false);
      WeightedSoftmaxWithLossLayer<float> layer(parameter);
      layer.SetUp(bottom_, top_);
      layer.Forward(bottom_, top_);
      EXPECT_TRUE(std::isnan(loss_.cpu_data()[0])) << name << ", CPU";

      const LossParameter& loss_param = parameter.loss_param();
      const Weighting<float> weighting = Read(loss_param);
      const Labels<float> labels = {labels_.cpu_data(), shape_.classes, false, 0};
      std::vector<float> prob(scores.count()), found(last + 1), largest(last + 1);
      std::vector<double> weight(last + 1), value(last + 1);
      const float* score = scores.cpu_data();
      RunWarp(shape_.lanes(), [&](const HostLanes& lanes) {
        ForwardPosition(lanes, shape_, last, score, labels, weighting, prob.data(), weight.data(), value.data());
        ExtractPosition(lanes, shape_, last, score, labels, found.data(), largest.data());
      });
      EXPECT_TRUE(std::isnan(value[last])) << name << ", GPU";
      EXPECT_TRUE(std::isnan(largest[last]));
    }
  }
}

INSTANTIATE_TEST_CASE_P(OddShapes, PositionKernelsTest, ::testing::Values(
    Case{{3, 100}, 1}, Case{{1, 1}, 1}, Case{{7, 33}, 1}, Case{{5, 31, 1, 1}, 1}, Case{{2, 5, 3, 7}, 1},
    Case{{1, 2, 1, 9}, 1}, Case{{2, 3, 5}, 2}, Case{{65, 2}, 1}, Case{{2, 64, 3}, 1}));

// Each term belongs to exactly one part, for all counts.
TEST(SumOfPartTest, TestPartsMakeUpTheWhole) {
  for (const int count : {0, 1, 31, 32, 33, 1000}) {
    for (const int parts : {1, 3, 40}) {
      std::vector<double> terms(count);
      double expected = 0;
      for (int i = 0; i < count; ++i) { expected += terms[i] = 1 << (i % 20); }
      double sum = 0;
      RunWarp(32, [&](const HostLanes& lanes) {
        double mine = 0;
        for (int part = 0; part < parts; ++part) { mine += SumOfPart(lanes, part, parts, count, terms.data()); }
        if (lanes.rank() == 0) { sum = mine; }
      });
      EXPECT_EQ(sum, expected) << count << " in " << parts;
    }
  }
}

}  // namespace caffe
