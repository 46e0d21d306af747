#ifndef CAFFE_ENGINE_TENSOR_HPP_
#define CAFFE_ENGINE_TENSOR_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/engine/buffer.hpp"
#include "caffe/engine/private_copy.hpp"
#include "caffe/engine/rows.hpp"

namespace caffe {
namespace engine {

struct Dims {
  int n, c, h, w;
  size_t count() const { return size_t(n) * c * h * w; }
  size_t pixels() const { return size_t(n) * h * w; }
  bool operator==(const Dims& o) const { return n == o.n && c == o.c && h == o.h && w == o.w; }
  // Whether the values of both lie in the same order.
  bool SameOrder(const Dims& o) const { return n == o.n && c == o.c && size_t(h) * w == size_t(o.h) * o.w; }
};

// (values - mean) * scale + shift, channel by channel; plain where `scale` is empty.
struct Term {
  Buffer values;
  Channels mean, scale, shift;
  bool plain() const { return scale.empty(); }
  void Scale(const Channels& factor);
};

class Tensor;

// Sums over all pixels of a gradient g, channel by channel: of g, and of g times the tensor `with`.
struct GradientSums {
  shared_ptr<Tensor> with;
  Channels of_gradient, of_product;
};

// The same for the product with x - mean, which is all that a convolution knows of the layers before it.
struct InputSums {
  Buffer values;  // x
  Channels mean, of_gradient, of_product;
};

// An activation, or an activation's gradient, in the engine's layout (images, rows, columns, channels), or the recipe
// for it: post(sum of terms). A layer that only scales, adds or clips leaves a recipe; the pass over memory happens once
// for a chain of such layers, when somebody needs the values. The values never change while anybody else has them: a layer
// that works in place makes a new tensor, so whoever kept the old one for its backward pass still has it.
class Tensor : public PrivateCopy {
 public:
  enum { kMostTerms = 8 };
  enum Post {
    NONE,
    RELU,  // v < 0 ? slope * v : v
    MASK   // (mask > 0 ? 1 : slope) * v
  };

  Tensor(const Dims& dims, const Buffer& values);
  explicit Tensor(const Dims& dims) : dims(dims), post(NONE), slope(0), keep_origin(false) {}

  // The values; carries out the recipe the first time, in the memory of a term that nobody else has.
  const Buffer& Dense();
  bool is_dense() const { return terms.size() == 1 && terms[0].plain() && post == NONE; }
  bool is_one_term() const { return terms.size() == 1 && post == NONE; }
  // One term, perhaps through a ReLU, and not dense: what convolutions can read as it is.
  bool is_readable() const;
  // post(factor of the channel * values).
  bool is_one_linear_term() const;
  // Adds factor * other. A chain of sums would double its terms with each link: beyond kMostTerms, they become dense.
  void Add(Tensor* other, float factor);
  // Multiplies each channel of the only term.
  void ScaleChannels(const Channels& factor);
  // Adds to each channel of the only term.
  void AddToChannels(const Channels& summand);

  // PrivateCopy: images, channels, rows, columns.
  virtual void CopyTo(void* cpu);

  Dims dims;
  std::vector<Term> terms;
  Post post;
  float slope;
  Term mask;
  // Whether Dense() is to leave a ReLU's only term in `origin`, unless that is plain: it is as good a mask as the result, and
  // BatchNorm's backward pass reads it anyway.
  bool keep_origin;
  Term origin;
  // Side products of the pass that made it, NULL or empty where there are none.
  shared_ptr<GradientSums> sums;
  shared_ptr<InputSums> input_sums;          // of this gradient
  shared_ptr<InputSums> clipped_input_sums;  // of this gradient behind the ReLU that made the convolution's input
  Channels channel_sums;
  Channels channel_mean, channel_variance;
  // Set by a BatchNorm that wants them, whether there are any or not: the convolution looks before its next pass.
  shared_ptr<bool> moments_wanted;
};

typedef shared_ptr<Tensor> TensorPtr;

// Whether the blob's newest values are a tensor of the blob's images and channels. Rows and columns may be cut otherwise, as
// where a Reshape layer shares them: their order is the same.
bool IsPrivate(const SyncedMemory& memory, const Blob<float>& blob);
inline bool IsPrivateData(const Blob<float>& blob) { return IsPrivate(*blob.data(), blob); }
inline bool IsPrivateDiff(const Blob<float>& blob) { return IsPrivate(*blob.diff(), blob); }

Dims DimsOf(const Blob<float>& blob);

// The blob's values as a tensor, converted where they are plain. Plain values stay the authoritative ones: somebody may
// hold a pointer to them.
TensorPtr Data(const Blob<float>& blob);
TensorPtr Diff(const Blob<float>& blob);

void SetData(Blob<float>* blob, const TensorPtr& tensor);
void SetDiff(Blob<float>* blob, const TensorPtr& tensor);

// Says that the gradient was used and nobody in this step needs it again. See TransientDiffs; reads as NaN afterwards.
void ReleaseDiff(Blob<float>* blob);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_TENSOR_HPP_
