#include <cstddef>
#include <vector>

#include "caffe/engine/activation_loops.hpp"
#include "caffe/engine/engine_layers.hpp"
#include "caffe/engine/for_each_block.hpp"
#include "caffe/engine/outputs_only.hpp"

namespace caffe {
namespace engine {

namespace {

typedef std::vector<shared_ptr<Blob<float> > > Parameters;

// What a layer does to a block, and to a block of the gradient: of which kReads says what it needs beside, the input or the
// output. By upstream's class for the layer.
enum Reads { INPUT, OUTPUT };

template <typename Upstream>
struct Function;

template <>
struct Function<caffe::SigmoidLayer<float> > {
  static const Reads kReads = OUTPUT;
  Function(const LayerParameter&, const Parameters&, const Cut&) {}
  void Forward(const float* x, size_t count, float* y) const { SigmoidBlock(x, count, y); }
  void Backward(int, const float* g, const float* y, size_t count, float* dx) { SigmoidGradient(g, y, count, dx); }
  void AddParameterGradients(const Parameters&) {}
};

template <>
struct Function<caffe::TanHLayer<float> > {
  static const Reads kReads = OUTPUT;
  Function(const LayerParameter&, const Parameters&, const Cut&) {}
  void Forward(const float* x, size_t count, float* y) const { TanhBlock(x, count, y); }
  void Backward(int, const float* g, const float* y, size_t count, float* dx) { TanhGradient(g, y, count, dx); }
  void AddParameterGradients(const Parameters&) {}
};

template <>
struct Function<caffe::ELULayer<float> > {
  static const Reads kReads = OUTPUT;
  Function(const LayerParameter& param, const Parameters&, const Cut&) : alpha(param.elu_param().alpha()) {}
  void Forward(const float* x, size_t count, float* y) const { EluBlock(x, alpha, count, y); }
  void Backward(int, const float* g, const float* y, size_t count, float* dx) { EluGradient(g, y, alpha, count, dx); }
  void AddParameterGradients(const Parameters&) {}
  const float alpha;
};

template <>
struct Function<caffe::PReLULayer<float> > {
  static const Reads kReads = INPUT;
  Function(const LayerParameter&, const Parameters& blobs, const Cut& cut)
      : row(cut.row), shared(blobs[0]->count() == 1), sums(cut, cut.parts) {
    const float* values = blobs[0]->cpu_data();
    slopes = cut.Row(shared ? Channels(cut.channels, values[0]) : Channels(values, values + cut.channels));
  }
  void Forward(const float* x, size_t count, float* y) const { PReluBlock(x, slopes.data(), row, count, y); }
  void Backward(int part, const float* g, const float* x, size_t count, float* dx) {
    PReluGradient(g, x, slopes.data(), row, count, dx, sums.block(part));
    sums.Flush(part);
  }
  void AddParameterGradients(const Parameters& blobs) {
    float* gradients = blobs[0]->mutable_cpu_diff();
    const std::vector<double> totals = sums.Total();
    for (size_t c = 0; c < totals.size(); ++c) gradients[shared ? 0 : c] += totals[c];
  }
  const size_t row;
  const bool shared;
  Channels slopes;
  Sums sums;
};

}  // namespace

template <typename Upstream>
void ActivationLayer<Upstream>::Forward_cpu(const Blobs& bottom, const Blobs& top) {
  private_ = IsPrivateData(*bottom[0]);
  in_.reset();
  if (!private_) return Upstream::Forward_cpu(bottom, top);
  const TensorPtr x = Data(*bottom[0]);
  const Cut cut(x->dims);
  const Function<Upstream> function(this->layer_param_, this->blobs_, cut);
  const TensorPtr y = NewTensor(x->dims);
  float* results = y->Fill();
  ForEachBlock(x.get(), cut, [&](int, const float* values, size_t first, size_t count) {
    function.Forward(values, count, results + first);
  });
  if (Function<Upstream>::kReads == INPUT && bottom[0] == top[0] && !OutputsOnly::Wanted()) in_ = x;
  SetData(top[0], y);
}

template <typename Upstream>
void ActivationLayer<Upstream>::Backward_cpu(const Blobs& top, const std::vector<bool>& propagate_down,
    const Blobs& bottom) {
  if (!private_) return Upstream::Backward_cpu(top, propagate_down, bottom);
  const bool to_parameters = !this->blobs_.empty() && this->param_propagate_down_[0];
  if (!propagate_down[0] && !to_parameters) return;
  const TensorPtr g = Diff(*top[0]);
  const TensorPtr other = in_ ? in_ : Data(Function<Upstream>::kReads == INPUT ? *bottom[0] : *top[0]);
  const float* gradients = g->Dense().get();
  const Cut cut(g->dims);
  Function<Upstream> function(this->layer_param_, this->blobs_, cut);
  const TensorPtr dx = NewTensor(g->dims);
  float* results = dx->Fill();
  ForEachBlock(other.get(), cut, [&](int part, const float* values, size_t first, size_t count) {
    function.Backward(part, gradients + first, values, count, results + first);
  });
  if (to_parameters) function.AddParameterGradients(this->blobs_);
  if (propagate_down[0]) SetDiff(bottom[0], dx);
  if (top[0] != bottom[0]) ReleaseDiff(top[0]);
}

template class ActivationLayer<caffe::SigmoidLayer<float> >;
template class ActivationLayer<caffe::TanHLayer<float> >;
template class ActivationLayer<caffe::ELULayer<float> >;
template class ActivationLayer<caffe::PReLULayer<float> >;

}  // namespace engine
}  // namespace caffe
