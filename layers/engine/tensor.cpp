#include "caffe/engine/tensor.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "caffe/engine/layout.hpp"
#include "caffe/engine/passes.hpp"
#include "caffe/engine/transient_diffs.hpp"

namespace caffe {
namespace engine {

namespace {

// What is left of values that were used: NaN, so that nobody takes it for the values. But a backward pass that reads a gradient
// which no layer has written since must read 0, as when the net was made.
class Released : public PrivateCopy {
 public:
  Released(size_t count, bool is_gradient) : count_(count), is_gradient_(is_gradient) {}
  virtual void CopyTo(void* cpu) {
    const bool unwritten = is_gradient_ && BackwardPass::IsRunning();
    std::fill_n(static_cast<float*>(cpu), count_, unwritten ? 0.f : std::numeric_limits<float>::quiet_NaN());
  }

 private:
  const size_t count_;
  const bool is_gradient_;
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

bool Recipe::is_one_linear_term() const {
  if (terms.size() != 1 || post == RELU || is_combined()) return false;
  for (size_t c = 0; c < terms[0].scale.size(); ++c) {
    if (terms[0].mean[c] != 0 || terms[0].shift[c] != 0) return false;
  }
  return true;
}

Tensor::Tensor(const Dims& dims, const Buffer& values) : dims(dims), keep_origin_(false), copied_(false) {
  recipe_.terms.resize(1);
  recipe_.terms[0].values = values;
}

const Term& Tensor::only_term() const {
  CHECK_EQ(recipe_.terms.size(), 1);
  return recipe_.terms[0];
}

const Buffer& Tensor::Dense() {
  if (!recipe_.is_dense()) {
    if (keep_origin_ && recipe_.is_readable() && !recipe_.terms[0].plain()) origin_ = recipe_.terms[0];
    const Buffer values = TakeRoom();
    Evaluate(dims, recipe_, values, &known.channel_sums);
    SetDense(values);
  }
  return recipe_.terms[0].values;
}

// The first term may become the result: each of its values is read before it is written.
Buffer Tensor::TakeRoom() {
  std::vector<Term>& terms = recipe_.terms;
  for (size_t k = 1; k < terms.size() && !terms[0].values.unique(); ++k) {
    if (terms[k].values.unique()) std::swap(terms[0], terms[k]);
  }
  return !terms.empty() && terms[0].values.unique() ? terms[0].values : TakeBuffer(dims.count());
}

void Tensor::SetDense(const Buffer& values) {
  recipe_ = Recipe();
  recipe_.terms.resize(1);
  recipe_.terms[0].values = values;
}

void Tensor::Add(Tensor* other, float factor) {
  if (!other->recipe_.is_sum() || recipe_.terms.size() + other->recipe_.terms.size() > Recipe::kMostTerms) {
    other->Dense();
  }
  if (recipe_.terms.size() == Recipe::kMostTerms) Dense();
  if (other->recipe_.terms.empty()) return;
  const bool is_copy = recipe_.terms.empty() && factor == 1;
  for (size_t k = 0; k < other->recipe_.terms.size(); ++k) {
    recipe_.terms.push_back(other->recipe_.terms[k]);
    if (factor != 1) recipe_.terms.back().Scale(Channels(dims.c, factor));
  }
  known = is_copy ? other->known : Known();
}

void Tensor::ScaleChannels(const Channels& factor) {
  CHECK(recipe_.is_one_linear_term() || recipe_.is_one_term());
  recipe_.terms[0].Scale(factor);
  known = Known();
}

void Tensor::AddToChannels(const Channels& summand) {
  CHECK(recipe_.is_one_term());
  Term& term = recipe_.terms[0];
  if (term.plain()) term.Scale(Channels(dims.c, 1));
  for (int c = 0; c < dims.c; ++c) term.shift[c] += summand[c];
  known = Known();
}

void Tensor::Clip(float slope, bool keep_origin) {
  CHECK(recipe_.is_sum());
  recipe_.post = Recipe::RELU;
  recipe_.slope = slope;
  keep_origin_ = keep_origin;
  known = Known();
}

void Tensor::Mask(const Term& mask, float slope) {
  CHECK(recipe_.is_sum());
  recipe_.post = Recipe::MASK;
  recipe_.slope = slope;
  recipe_.mask = mask;
  known = Known();
}

Recipe TakeRecipe(TensorPtr* tensor) {
  Recipe recipe;
  if (tensor->unique()) {
    std::swap(recipe, (*tensor)->recipe_);
  } else {
    recipe = (*tensor)->recipe_;
  }
  tensor->reset();
  return recipe;
}

Buffer TakeGradientOfAReader(Tensor* data) {
  const TensorPtr gradient = data->gradient_of_a_reader.lock();
  const long kBlobAndHere = 2;
  if (!TransientDiffs::Wanted() || !gradient || gradient.use_count() > kBlobAndHere || gradient->copied_ ||
      !gradient->recipe_.is_dense() || !gradient->recipe_.terms[0].values.unique()) {
    return Buffer();
  }
  const Buffer values = gradient->recipe_.terms[0].values;
  gradient->recipe_ = Recipe();
  gradient->known = Known();
  return values;
}

void Tensor::CopyTo(void* cpu) {
  copied_ = true;
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

static void Release(SyncedMemory* memory, size_t count, bool is_gradient) {
  if (memory->looked_at() || !TensorOf(*memory)) return;
  memory->set_private_copy(shared_ptr<PrivateCopy>(new Released(count, is_gradient)));
}

void ReleaseDiff(Blob<float>* blob) {
  if (TransientDiffs::Wanted()) Release(blob->diff().get(), blob->count(), true);
}

void ReleaseData(Blob<float>* blob) { Release(blob->data().get(), blob->count(), false); }

}  // namespace engine
}  // namespace caffe
