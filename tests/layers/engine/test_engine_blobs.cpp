// The engine's layout behind blobs: what is kept in it, and how its values are cut into work.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

#include "caffe/engine/convolution_vector.hpp"
#include "caffe/engine/create_layer.hpp"
#include "caffe/engine/cut.hpp"
#include "caffe/engine/passes.hpp"
#include "caffe/engine/tensor.hpp"
#include "caffe/engine/transient_diffs.hpp"
#include "caffe/engine/weights_mark.hpp"
#include "caffe/net.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {
namespace engine {

// Rows are whole pixels and not much longer than a pixel has channels; parts make up the whole.
TEST(EngineBlobsTest, TestCut) {
  for (const int channels : {1, 3, 16, 63, 64, 65, 100, 1023, 4095, 4096, 4097, 99999, (1 << 27) + 1, 2147483647}) {
    SCOPED_TRACE(channels);
    const Cut cut(Dims{1, channels, 1, channels > 99999 ? 1 : 1000});
    EXPECT_EQ(cut.row % channels, 0);
    EXPECT_EQ(cut.block % cut.row, 0);
    EXPECT_GE(cut.row, 64);
    EXPECT_LE(cut.row, std::max<size_t>(channels, 16 * Cut::kManyChannels));
    if (channels < Cut::kManyChannels) EXPECT_EQ(cut.row % 16, 0);
    EXPECT_GE(cut.block * cut.blocks, cut.count);
    EXPECT_LT(cut.block * (cut.blocks - 1), cut.count);
  }
}

// The activations of a DenseNet all have different sizes.
TEST(EngineBlobsTest, TestABufferServesALittleLargerOne) {
  TrimBuffers();
  Buffer buffer = TakeBuffer((1 << 22) + (1 << 18));
  const float* memory = buffer.get();
  buffer.reset();
  EXPECT_EQ(TakeBuffer((1 << 22) + (1 << 19)).get(), memory);
}

// Before a new buffer displaces an unused one, that one serves, though it is too large: else each step would get new pages.
TEST(EngineBlobsTest, TestALargeBufferServesBeforeItIsDisplaced) {
  TrimBuffers();
  Buffer large = TakeBuffer(50 << 20);
  const float* memory = large.get();
  large.reset();
  const Buffer first = TakeBuffer(15 << 20), second = TakeBuffer(15 << 20);
  EXPECT_NE(first.get(), memory);
  EXPECT_NE(second.get(), memory);
  EXPECT_EQ(TakeBuffer(15 << 20).get(), memory);
}

TEST(EngineBlobsTest, TestChainsOfSumsBecomeDense) {
  const Dims dims = {1, 2, 3, 4};
  const Buffer values = TakeBuffer(dims.count());
  std::fill_n(values.get(), dims.count(), 0.75f);
  TensorPtr sum(new Tensor(dims, values));
  for (int i = 0; i < 30; ++i) {
    const TensorPtr last = sum;
    sum.reset(new Tensor(dims));
    sum->Add(last.get(), 1);
    sum->Add(last.get(), 1);
    ASSERT_LE(sum->recipe().terms.size(), 8);
  }
  for (size_t i = 0; i < dims.count(); ++i) EXPECT_EQ(sum->Dense().get()[i], 0.75f * (1 << 30));
}

// The weights are known to be the same until somebody asks for memory to write to, and never while a NumPy array may hold them.
TEST(EngineBlobsTest, TestMarkedWeights) {
  SyncedMemory weights(64), others(64);
  static_cast<float*>(weights.mutable_cpu_data())[3] = 7;
  WeightsMark first, second;
  EXPECT_FALSE(first.AreSame(&weights));
  EXPECT_TRUE(first.AreSame(&weights));
  EXPECT_FALSE(second.AreSame(&weights));  // that of a net which shares them
  EXPECT_TRUE(first.AreSame(&weights) && second.AreSame(&weights));
  EXPECT_EQ(static_cast<const float*>(weights.cpu_data())[3], 7);
  EXPECT_TRUE(first.AreSame(&weights));
  weights.mutable_cpu_data();
  EXPECT_FALSE(first.AreSame(&weights));
  EXPECT_FALSE(second.AreSame(&weights));
  EXPECT_TRUE(first.AreSame(&weights) && second.AreSame(&weights));
  EXPECT_FALSE(first.AreSame(&others));
  EXPECT_FALSE(first.AreSame(&weights));
  others.set_looked_at();
  EXPECT_FALSE(first.AreSame(&others));
  EXPECT_FALSE(first.AreSame(&weights));  // marked as before, but not those of the last call
  std::vector<float> outside(16);
  weights.set_cpu_data(outside.data());
  EXPECT_FALSE(first.AreSame(&weights));
  EXPECT_EQ(weights.cpu_data(), outside.data());
  weights.set_looked_at();
  EXPECT_FALSE(first.AreSame(&weights));
  EXPECT_FALSE(first.AreSame(&weights));
}

// A large mean beside the deviation, an outlier where the sums start, and both.
TEST(EngineBlobsTest, TestMomentsKeepTheirDigits) {
  const Dims dims = {2, 3, 64, 64};
  const Buffer x = TakeBuffer(dims.count());
  for (const float mean : {0.f, 1e3f, 1e5f}) {
    for (const float outlier : {0.f, 100.f, 1e4f}) {
      SCOPED_TRACE(::testing::Message() << mean << ", " << outlier);
      for (size_t i = 0; i < dims.count(); ++i) x.get()[i] = mean + i % 97 / 28.f;
      for (int c = 0; c < dims.c; ++c) x.get()[c] += outlier;
      Channels found_mean, found_variance;
      Moments(dims, x, &found_mean, &found_variance);
      for (int c = 0; c < dims.c; ++c) {
        double expected = 0, variance = 0;
        for (size_t i = c; i < dims.count(); i += dims.c) expected += x.get()[i] / double(dims.pixels());
        for (size_t i = c; i < dims.count(); i += dims.c) {
          variance += (x.get()[i] - expected) * (x.get()[i] - expected) / dims.pixels();
        }
        EXPECT_NEAR(found_mean[c], expected, 3e-7 * (1 + expected));
        EXPECT_NEAR(found_variance[c], variance, 1e-5 * variance);
      }
    }
  }
}

// Only what is handed out to keep is written back: an upstream layer that asks for a writable pointer does not keep it.
TEST(EngineBlobsTest, TestBlobsThatUpstreamWritesToStayPrivate) {
  const std::string text =
      "force_backward: true "
      "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } } "
      "layer { name: 'first' type: 'Convolution' bottom: 'data' top: 'x' convolution_param { num_output: 8 kernel_size: 3 "
      "weight_filler { type: 'xavier' } } } "
      "layer { name: 'bn' type: 'BatchNorm' bottom: 'x' top: 'x' } "
      "layer { name: 'drop' type: 'Dropout' bottom: 'x' top: 'x' } "
      "layer { name: 'relu' type: 'ReLU' bottom: 'x' top: 'x' } "
      "layer { name: 'second' type: 'Convolution' bottom: 'x' top: 'y' convolution_param { num_output: 8 kernel_size: 3 "
      "weight_filler { type: 'xavier' } } }";
  NetParameter param;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &param));
  param.mutable_state()->set_phase(TRAIN);
  Net<float> net(param);
  if (!Enabled()) return;
  Blob<float>& data = *net.input_blobs()[0];
  for (int i = 0; i < data.count(); ++i) data.mutable_cpu_data()[i] = i * i % 7;
  Blob<float>& x = *net.blob_by_name("x");
  const shared_ptr<Blob<float> > y = net.blob_by_name("y");
  for (int pass = 0; pass < 2; ++pass) {
    net.Forward();
    net.Backward();
    EXPECT_TRUE(IsPrivateData(*y) && IsPrivateDiff(x)) << pass;
  }
  const float* held = x.mutable_cpu_diff();
  x.diff()->set_looked_at();
  std::fill_n(y->mutable_cpu_diff(), y->count(), 1.f);
  net.Backward();
  EXPECT_FALSE(IsPrivateDiff(x));
  EXPECT_GT(std::count_if(held, held + x.count(), [](float v) { return v != 0; }), 0);
}

// Both ways, between two convolutions.
TEST(EngineBlobsTest, TestLayersKeepTheLayout) {
  const char* layers[] = {
      "type: 'ELU' bottom: 'x' top: 'y'", "type: 'Sigmoid' bottom: 'x' top: 'y'", "type: 'TanH' bottom: 'x' top: 'y'",
      "type: 'PReLU' bottom: 'x' top: 'y'", "type: 'Softmax' bottom: 'x' top: 'y'", "type: 'Bias' bottom: 'x' top: 'y'",
      "type: 'Slice' bottom: 'x' top: 'y' top: 'z' slice_param { slice_point: 3 }",
      "type: 'Crop' bottom: 'x' bottom: 'small' top: 'y' crop_param { offset: 1 }",
      "type: 'Deconvolution' bottom: 'x' top: 'y' convolution_param { num_output: 8 kernel_size: 2 stride: 2 }",
      "type: 'Eltwise' bottom: 'x' bottom: 'other' top: 'y' eltwise_param { operation: PROD }",
      "type: 'Eltwise' bottom: 'x' bottom: 'other' top: 'y' eltwise_param { operation: MAX }",
      "type: 'Scale' bottom: 'x' bottom: 'other' top: 'y' scale_param { axis: 0 }",
      "type: 'Scale' bottom: 'x' bottom: 'by' top: 'y' scale_param { axis: 0 }",
      "type: 'Bias' bottom: 'x' bottom: 'by' top: 'y' bias_param { axis: 0 }",
      "type: 'Reshape' bottom: 'x' top: 'y' reshape_param { shape { dim: 0 dim: 0 dim: -1 dim: 1 } }"};
  const std::string convolution = "convolution_param { num_output: 8 kernel_size: 3 pad: 1 }";
  for (const std::string layer : layers) {
    SCOPED_TRACE(layer);
    const std::string text =
        "force_backward: true "
        "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } } "
        "layer { name: 'small' type: 'Input' top: 'small' input_param { shape { dim: 2 dim: 3 dim: 5 dim: 5 } } } "
        "layer { name: 'by' type: 'Input' top: 'by' input_param { shape { dim: 2 dim: 8 } } } "
        "layer { name: 'first' type: 'Convolution' bottom: 'data' top: 'x' " + convolution + " } "
        "layer { name: 'other' type: 'Convolution' bottom: 'data' top: 'other' " + convolution + " } "
        "layer { name: 'layer' " + layer + " } "
        "layer { name: 'last' type: 'Convolution' bottom: 'y' top: 'end' " + convolution + " }";
    NetParameter param;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &param));
    param.mutable_state()->set_phase(TRAIN);
    Net<float> net(param);
    if (!Enabled()) return;
    net.Forward();
    net.Backward();
    EXPECT_TRUE(IsPrivateData(*net.blob_by_name("y")));
    EXPECT_TRUE(IsPrivateDiff(*net.blob_by_name("x")));
  }
}

// Makes a backward pass as Net does, but without callbacks, of which gradients are kept. Returns how many terms the gradient of
// a blob has after a layer of that name.
int TermsAfter(const Net<float>& net, const std::string& layer, const std::string& blob) {
  const BackwardPass pass(&net, false);
  int terms = -1;
  for (int i = net.layers().size() - 1; i >= 0; --i) {
    if (net.layer_need_backward()[i]) {
      net.layers()[i]->Backward(net.top_vecs()[i], net.bottom_need_backward()[i], net.bottom_vecs()[i]);
    }
    if (net.layer_names()[i] == layer) terms = Diff(*net.blob_by_name(blob))->recipe().terms.size();
  }
  return terms;
}

// The convolution behind a residual block takes up the gradient that the block's sum has for the next sum, and the parameters'
// gradients are the same as without. Where somebody looks, or outside a solver's step, every gradient stays where it is.
TEST(EngineBlobsTest, TestGradientsOfASumAreAddedByTheConvolution) {
  const auto block = [](const std::string& before, const std::string& n) {
    const auto convolution = [](const std::string& bottom, const std::string& top) {
      return "layer { name: '" + top + "' type: 'Convolution' bottom: '" + bottom + "' top: '" + top + "' convolution_param { "
          "num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: 'msra' } } } "
          "layer { name: '" + top + "_bn' type: 'BatchNorm' bottom: '" + top + "' top: '" + top + "' } "
          "layer { name: '" + top + "_scale' type: 'Scale' bottom: '" + top + "' top: '" + top + "' scale_param { bias_term: true } } ";
    };
    const auto relu = [](const std::string& blob) {
      return "layer { name: '" + blob + "_relu' type: 'ReLU' bottom: '" + blob + "' top: '" + blob + "' } ";
    };
    return convolution(before, "first" + n) + relu("first" + n) + convolution("first" + n, "second" + n) +
        "layer { name: 'sum" + n + "' type: 'Eltwise' bottom: '" + before + "' bottom: 'second" + n + "' top: 'sum" + n + "' } " +
        relu("sum" + n);
  };
  const std::string text =
      "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 3 dim: 8 dim: 9 dim: 10 } } } " +
      block("data", "1") + block("sum1", "2") + block("sum2", "3") +
      "layer { name: 'loss' type: 'Reduction' bottom: 'sum3' top: 'loss' loss_weight: 1 reduction_param { operation: SUMSQ } }";
  NetParameter param;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &param));
  param.mutable_state()->set_phase(TRAIN);
  if (!Enabled() || !HasVectors()) return;
  std::vector<std::vector<float> > gradients;
  // Returns how many terms the gradient for the second sum has behind the convolution.
  const auto step = [&](bool of_solver, const std::string& looked_at) {
    Caffe::set_random_seed(1);
    Net<float> net(param);
    Blob<float>& data = *net.input_blobs()[0];
    for (int i = 0; i < data.count(); ++i) data.mutable_cpu_data()[i] = i * i % 7 - 3;
    if (!looked_at.empty()) net.blob_by_name(looked_at)->diff()->set_looked_at();
    const TransientDiffs transient(of_solver ? &net : NULL);
    net.ClearParamDiffs();
    net.Forward();
    const int terms = TermsAfter(net, "first2", "sum1_sum1_relu_0_split_1");
    gradients.push_back(std::vector<float>());
    for (const Blob<float>* blob : net.learnable_params()) {
      gradients.back().insert(gradients.back().end(), blob->cpu_diff(), blob->cpu_diff() + blob->count());
    }
    return terms;
  };
  EXPECT_EQ(step(false, ""), 1);
  EXPECT_EQ(step(true, ""), 0);
  EXPECT_EQ(step(true, "sum1_sum1_relu_0_split_0"), 1);
  EXPECT_EQ(step(true, "sum1_sum1_relu_0_split_1"), 1);
  double squares = 0;
  for (const float g : gradients[0]) squares += g * g;
  for (size_t k = 1; k < gradients.size(); ++k) {
    double differences = 0;
    for (size_t i = 0; i < gradients[0].size(); ++i) differences += std::pow(gradients[k][i] - gradients[0][i], 2);
    EXPECT_LT(differences, 1e-10 * squares) << k;
  }
}

}  // namespace engine
}  // namespace caffe
