#ifndef CAFFE_ENGINE_OUTPUTS_ONLY_HPP_
#define CAFFE_ENGINE_OUTPUTS_ONLY_HPP_

#include <vector>

#include "caffe/blob.hpp"

namespace caffe {
namespace engine {

// While one of these lives, this thread makes a forward pass of which only the net's outputs are wanted, or more than them:
// of a net in a layer of another net, too. If only the outputs, the values of any other blob are freed after the last layer
// that reads them, and the next layers find their memory in the cache. Blobs that somebody looked at before
// (SyncedMemory::looked_at) are kept; others read NaN afterwards. No backward pass may follow.
class OutputsOnly {
 public:
  explicit OutputsOnly(bool wanted);
  ~OutputsOnly();
  static bool Wanted();

 private:
  const bool before_;
};

// While one of these lives, only the outputs of a net are wanted.
template <typename Net>
class WithOutputsOnly {
 public:
  explicit WithOutputsOnly(Net* net) : net_(net), before_(net->outputs_only()) { net->set_outputs_only(true); }
  ~WithOutputsOnly() { net_->set_outputs_only(before_); }

 private:
  Net* const net_;
  const bool before_;
};

// Frees what `layer` was the last to read, where that lies in the engine's layout. bottoms: of all layers.
template <typename Dtype>
void ReleaseRead(const std::vector<std::vector<Blob<Dtype>*> >& bottoms, const std::vector<Blob<Dtype>*>& outputs,
    size_t layer);

template <>
void ReleaseRead<float>(const std::vector<std::vector<Blob<float>*> >& bottoms, const std::vector<Blob<float>*>& outputs,
    size_t layer);
template <>
void ReleaseRead<double>(const std::vector<std::vector<Blob<double>*> >&, const std::vector<Blob<double>*>&, size_t);  // none

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_OUTPUTS_ONLY_HPP_
