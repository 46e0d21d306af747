#include "caffe/engine/sgd_update.hpp"

#include <cstring>
#include <string>

#include "caffe/engine/create_layer.hpp"

namespace caffe {
namespace engine {

template <>
bool SgdUpdate<float>(const char* type, const SolverParameter& param, float rate, Net<float>* net,
    const std::vector<shared_ptr<Blob<float> > >& history) {
  if (!Enabled() || std::strcmp(type, "SGD") != 0) return false;  // the other solvers derive from SGDSolver
  if (param.weight_decay() && param.regularization_type() != "L2") return false;
  const std::vector<Blob<float>*>& parameters = net->learnable_params();
  const float average = 1.f / param.iter_size();
  const float momentum = param.momentum();
  const float weight_decay = param.weight_decay();
#pragma omp parallel for schedule(dynamic)
  for (int p = 0; p < static_cast<int>(parameters.size()); ++p) {
    const int count = parameters[p]->count();
    const float decay = weight_decay * net->params_weight_decay()[p];
    const float local_rate = rate * net->params_lr()[p];
    float* w = parameters[p]->mutable_cpu_data();
    float* g = parameters[p]->mutable_cpu_diff();
    float* h = history[p]->mutable_cpu_data();
    for (int i = 0; i < count; ++i) {
      h[i] = local_rate * (average * g[i] + decay * w[i]) + momentum * h[i];
      g[i] = h[i];
      w[i] -= h[i];
    }
  }
  return true;
}

}  // namespace engine
}  // namespace caffe
