#include "caffe/engine/outputs_only.hpp"

#include "caffe/engine/tensor.hpp"

namespace caffe {
namespace engine {

static thread_local bool outputs_only = false;

OutputsOnly::OutputsOnly(bool wanted) : before_(outputs_only) { outputs_only = wanted; }
OutputsOnly::~OutputsOnly() { outputs_only = before_; }
bool OutputsOnly::Wanted() { return outputs_only; }

namespace {

// Blobs share memory where a layer only passes values on, as Split does.
bool AnyHas(const std::vector<Blob<float>*>& blobs, const SyncedMemory* memory) {
  for (size_t i = 0; i < blobs.size(); ++i) {
    if (blobs[i]->data().get() == memory) return true;
  }
  return false;
}

}  // namespace

template <>
void ReleaseRead<float>(const std::vector<std::vector<Blob<float>*> >& bottoms, const std::vector<Blob<float>*>& outputs,
    size_t layer) {
  for (size_t i = 0; i < bottoms[layer].size(); ++i) {
    Blob<float>* blob = bottoms[layer][i];
    const SyncedMemory* memory = blob->data().get();
    bool wanted = AnyHas(outputs, memory);
    for (size_t j = layer + 1; j < bottoms.size() && !wanted; ++j) wanted = AnyHas(bottoms[j], memory);
    if (!wanted) ReleaseData(blob);
  }
}

template <>
void ReleaseRead<double>(const std::vector<std::vector<Blob<double>*> >&, const std::vector<Blob<double>*>&, size_t) {}

}  // namespace engine
}  // namespace caffe
