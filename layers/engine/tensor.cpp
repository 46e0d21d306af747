#include "caffe/engine/tensor.hpp"

#include <algorithm>
#include <limits>

#include "caffe/engine/layout.hpp"
#include "caffe/engine/passes.hpp"
#include "caffe/engine/transient_diffs.hpp"

namespace caffe {
namespace engine {

namespace {

// What is left of a gradient that a solver's step has used.
class Released : public PrivateCopy {
 public:
  explicit Released(size_t count) : count_(count) {}
  virtual void CopyTo(void* cpu) {
    std::fill_n(static_cast<float*>(cpu), count_, std::numeric_limits<float>::quiet_NaN());
  }

 private:
  size_t count_;
};

TensorPtr TensorOf(const SyncedMemory& memory) { return boost::dynamic_pointer_cast<Tensor>(memory.private_copy()); }

TensorPtr Get(SyncedMemory* memory, const Blob<float>& blob) {
  const Dims dims = DimsOf(blob);
  const TensorPtr tensor = TensorOf(*memory);
  if (tensor && tensor->dims == dims) return tensor;
  if (tensor && tensor->dims.SameOrder(dims)) return TensorPtr(new Tensor(dims, tensor->Dense()));
  const Buffer values = TakeBuffer(dims.count());
  ToChannelsLast(dims.n, dims.c, dims.h * dims.w, static_cast<const float*>(memory->cpu_data()), values.get());
  return TensorPtr(new Tensor(dims, values));
}

}  // namespace

void Term::Scale(const Channels& factor) {
  if (plain()) {
    mean.assign(factor.size(), 0);
    scale = factor;
    shift.assign(factor.size(), 0);
    return;
  }
  for (size_t c = 0; c < factor.size(); ++c) {
    scale[c] *= factor[c];
    shift[c] *= factor[c];
  }
}

Tensor::Tensor(const Dims& dims, const Buffer& values) : dims(dims), terms(1), post(NONE), slope(0), keep_origin(false) {
  terms[0].values = values;
}

const Buffer& Tensor::Dense() {
  if (!is_dense()) {
    if (keep_origin && is_readable() && !terms[0].plain()) origin = terms[0];
    // The first term may become the result: each of its values is read before it is written.
    for (size_t k = 1; k < terms.size() && !terms[0].values.unique(); ++k) {
      if (terms[k].values.unique()) std::swap(terms[0], terms[k]);
    }
    const Buffer values = terms[0].values.unique() ? terms[0].values : TakeBuffer(dims.count());
    Evaluate(*this, values);
    terms.assign(1, Term());
    terms[0].values = values;
    post = NONE;
    mask = Term();
  }
  return terms[0].values;
}

bool Tensor::is_readable() const {
  return terms.size() == 1 && (post == NONE ? !terms[0].plain() : post == RELU && slope == 0);
}

bool Tensor::is_one_linear_term() const {
  if (terms.size() != 1 || post == RELU) return false;
  for (int c = 0; !terms[0].plain() && c < dims.c; ++c) {
    if (terms[0].mean[c] != 0 || terms[0].shift[c] != 0) return false;
  }
  return true;
}

void Tensor::Add(Tensor* other, float factor) {
  if (other->post != NONE || terms.size() + other->terms.size() > kMostTerms) other->Dense();
  if (terms.size() == kMostTerms) Dense();
  for (size_t k = 0; k < other->terms.size(); ++k) {
    terms.push_back(other->terms[k]);
    if (factor != 1) terms.back().Scale(Channels(dims.c, factor));
  }
}

void Tensor::ScaleChannels(const Channels& factor) {
  CHECK_EQ(terms.size(), 1);
  terms[0].Scale(factor);
}

void Tensor::AddToChannels(const Channels& summand) {
  CHECK_EQ(terms.size(), 1);
  if (terms[0].plain()) terms[0].Scale(Channels(dims.c, 1));
  for (int c = 0; c < dims.c; ++c) terms[0].shift[c] += summand[c];
}

void Tensor::CopyTo(void* cpu) {
  FromChannelsLast(dims.n, dims.c, dims.h * dims.w, Dense().get(), static_cast<float*>(cpu));
}

Dims DimsOf(const Blob<float>& blob) {
  const Dims dims = {blob.shape(0), blob.shape(1), blob.shape(2), blob.shape(3)};
  return dims;
}

bool IsPrivate(const SyncedMemory& memory, const Blob<float>& blob) {
  if (blob.num_axes() != 4) return false;
  const TensorPtr tensor = TensorOf(memory);
  return tensor && tensor->dims.SameOrder(DimsOf(blob));
}

TensorPtr Data(const Blob<float>& blob) { return Get(blob.data().get(), blob); }
TensorPtr Diff(const Blob<float>& blob) { return Get(blob.diff().get(), blob); }

void SetData(Blob<float>* blob, const TensorPtr& tensor) { blob->data()->set_private_copy(tensor); }
void SetDiff(Blob<float>* blob, const TensorPtr& tensor) { blob->diff()->set_private_copy(tensor); }

void ReleaseDiff(Blob<float>* blob) {
  SyncedMemory* diff = blob->diff().get();
  if (!TransientDiffs::Wanted() || diff->looked_at() || !diff->private_copy()) return;
  diff->set_private_copy(shared_ptr<PrivateCopy>(new Released(blob->count())));
}

}  // namespace engine
}  // namespace caffe
