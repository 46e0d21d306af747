// Runs one loss layer in double precision, which pycaffe does not support.
//   layer_probe 'type: "UnifiedWeightLoss" loss_param { ... }' N C INNER LOSS_WEIGHT <scores+labels >value+gradient
// Everything on the streams is raw float64: N*C*INNER scores and N*INNER labels in, one value and N*C*INNER derivatives out.
#include <google/protobuf/text_format.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "caffe/layer_factory.hpp"

using caffe::Blob;

int main(int argc, char** argv) {
  caffe::LayerParameter param;
  CHECK_EQ(argc, 6);
  CHECK(google::protobuf::TextFormat::ParseFromString(argv[1], &param));
  const int n = atoi(argv[2]), c = atoi(argv[3]), inner = atoi(argv[4]);
  Blob<double> scores(n, c, inner, 1), labels(n, 1, inner, 1), unread, loss;
  for (Blob<double>* blob : {&scores, &labels}) {
    CHECK_EQ(fread(blob->mutable_cpu_data(), sizeof(double), blob->count(), stdin), blob->count());
  }
  const std::vector<Blob<double>*> bottom = {&scores, &labels, &unread}, top = {&loss};
  auto layer = caffe::LayerRegistry<double>::CreateLayer(param);
  layer->SetUp(bottom, top);
  layer->Forward(bottom, top);
  loss.mutable_cpu_diff()[0] = atof(argv[5]);
  layer->Backward(top, {true, false, false}, bottom);
  fwrite(loss.cpu_data(), sizeof(double), 1, stdout);
  fwrite(scores.cpu_diff(), sizeof(double), scores.count(), stdout);
}
