#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/layers/extract_prob_layer.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

template <typename TypeParam>
class ExtractProbLayerTest : public MultiDeviceTest<TypeParam> {
  typedef typename TypeParam::Dtype Dtype;

 protected:
  ExtractProbLayerTest() : prob_(4, 3, 2, 1), labels_(4, 1, 2, 1) {
    for (int i = 0; i < prob_.count(); ++i) {
      prob_.mutable_cpu_data()[i] = (i * 7 % 24) / Dtype(24);
    }
    for (int i = 0; i < labels_.count(); ++i) {
      labels_.mutable_cpu_data()[i] = i % 3;
    }
  }
  Blob<Dtype> prob_, labels_, of_label_, largest_;
};

TYPED_TEST_CASE(ExtractProbLayerTest, TestDtypesAndDevices);

TYPED_TEST(ExtractProbLayerTest, TestForward) {
  typedef typename TypeParam::Dtype Dtype;
  const vector<Blob<Dtype>*> bottom = {&this->prob_, &this->labels_};
  const vector<Blob<Dtype>*> top = {&this->of_label_, &this->largest_};
  ExtractProbLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(bottom, top);
  layer.Forward(bottom, top);
  EXPECT_EQ(this->of_label_.shape(), vector<int>({4, 1, 2, 1}));
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 2; ++j) {
      const int label = this->labels_.data_at(i, 0, j, 0);
      EXPECT_EQ(this->of_label_.data_at(i, 0, j, 0),
                this->prob_.data_at(i, label, j, 0));
      EXPECT_EQ(this->largest_.data_at(i, 0, j, 0),
                std::max({this->prob_.data_at(i, 0, j, 0),
                          this->prob_.data_at(i, 1, j, 0),
                          this->prob_.data_at(i, 2, j, 0)}));
    }
  }
}

}  // namespace caffe
