// A net in double precision, which all of upstream's layers can compute with, for Python: double_net.py loads this.
#include <memory>

#include "caffe/net.hpp"

typedef caffe::Net<double> Net;

extern "C" {

Net* net_new(const char* file, int phase) {
  caffe::Caffe::set_mode(caffe::Caffe::CPU);
  return new Net(file, static_cast<caffe::Phase>(phase));
}

void net_delete(Net* net) { delete net; }

// The values of a blob, or of parameter `index` of a layer where that is not negative, and how many there are.
double* net_values(Net* net, const char* name, int index, bool diff, int* count) {
  caffe::Blob<double>* blob = index < 0 ? net->blob_by_name(name).get() : net->layer_by_name(name)->blobs()[index].get();
  *count = blob->count();
  return diff ? blob->mutable_cpu_diff() : blob->mutable_cpu_data();
}

void net_forward(Net* net) { net->Forward(); }

void net_backward(Net* net) {
  net->ClearParamDiffs();
  net->Backward();
}

}
