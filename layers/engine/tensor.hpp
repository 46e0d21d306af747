#ifndef CAFFE_ENGINE_TENSOR_HPP_
#define CAFFE_ENGINE_TENSOR_HPP_

#include <vector>

#include "boost/weak_ptr.hpp"
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

// How values are made: post(sum of terms), or of a gradient behind a BatchNorm, post(sum of terms) * factor + plus, channel by
// channel.
struct Recipe {
  enum { kMostTerms = 8 };
  enum Post {
    NONE,
    RELU,  // v < 0 ? slope * v : v
    MASK   // (mask > 0 ? 1 : slope) * v
  };

  Recipe() : post(NONE), slope(0) {}

  bool is_combined() const { return plus.values.get() != NULL; }
  bool is_dense() const { return is_one_term() && terms[0].plain(); }
  bool is_sum() const { return post == NONE && !is_combined(); }
  bool is_one_term() const { return terms.size() == 1 && is_sum(); }
  // One term, perhaps through a ReLU, and not dense: what convolutions can read as it is.
  bool is_readable() const {
    return terms.size() == 1 && !is_combined() && (post == NONE ? !terms[0].plain() : post == RELU && slope == 0);
  }
  // post(factor of the channel * values): a mask and a factor may change places.
  bool is_one_linear_term() const;
  // A residual block's sum, of one plain term and another, behind a ReLU: what some convolutions can carry out while they read.
  bool is_residual() const {
    return terms.size() == 2 && post == RELU && slope == 0 && terms[0].plain() != terms[1].plain();
  }

  std::vector<Term> terms;
  Post post;
  float slope;
  Term mask;
  Channels factor;
  Term plus;
};

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

// What the pass that made some values has found out about them beside; NULL or empty where it has not.
struct Known {
  Channels mean, variance;
  // Of a gradient:
  Channels channel_sums;
  shared_ptr<GradientSums> sums;
  shared_ptr<InputSums> input_sums;
  shared_ptr<InputSums> clipped_input_sums;  // of the gradient behind the ReLU that made the convolution's input
  Buffer mask;                               // it is 0 already where these are not positive
};

// An activation, or an activation's gradient, in the engine's layout (images, rows, columns, channels), or the recipe for it.
// A layer that only scales, adds or clips leaves a recipe; the pass over memory happens once for a chain of such layers, when
// somebody needs the values.
//
// The values never change while anybody else has them: a layer that works in place makes a new tensor, so whoever kept the old
// one for its backward pass still has it. Memory is written again only where one recipe alone owns it (Buffer::unique): who
// gives up a tensor says so, see TakeRecipe. `known` is always true of the values: whatever changes them forgets it, and
// carrying out a recipe, which does not, keeps it.
class Tensor : public PrivateCopy {
 public:
  explicit Tensor(const Dims& dims) : dims(dims), keep_origin_(false), copied_(false) {}  // an empty sum
  Tensor(const Dims& dims, const Buffer& values);
  Tensor(const Dims& dims, const Recipe& recipe) : dims(dims), recipe_(recipe), keep_origin_(false), copied_(false) {}

  const Recipe& recipe() const { return recipe_; }
  const Term& only_term() const;

  // The values; carries out the recipe the first time, in the memory of a term that nobody else has.
  const Buffer& Dense();
  // The same after a pass that has written the values to TakeRoom().
  Buffer TakeRoom();
  void SetDense(const Buffer& values);
  // Where the maker of a new dense tensor writes its values, before anybody else has it.
  float* Fill() { return recipe_.terms[0].values.get(); }

  // Adds factor * other. A chain of sums would double its terms with each link: beyond kMostTerms, they become dense.
  void Add(Tensor* other, float factor);
  // Multiplies each channel of the only term, or adds to it.
  void ScaleChannels(const Channels& factor);
  void AddToChannels(const Channels& summand);
  // Puts a ReLU behind the sum. keep_origin: where it is carried out, the only term stays in origin(), unless that is plain:
  // its sign is the mask as well as the result's, and BatchNorm's backward pass reads it anyway.
  void Clip(float slope, bool keep_origin);
  // Multiplies by 1 where the mask is positive, and else by the slope.
  void Mask(const Term& mask, float slope);
  const Term& origin() const { return origin_; }

  // PrivateCopy: images, channels, rows, columns.
  virtual void CopyTo(void* cpu);

  const Dims dims;
  Known known;
  // Set by a BatchNorm that wants `known.mean`, whether there is one or not: the convolution looks before its next pass.
  shared_ptr<bool> moments_wanted;
  // Of data behind a sum and a ReLU in place, see TakeGradientOfAReader: the first term of the sum that is not plain, and the
  // gradient that one of its readers has left last.
  Term branch;
  boost::weak_ptr<Tensor> gradient_of_a_reader;

 private:
  friend Recipe TakeRecipe(shared_ptr<Tensor>* tensor);
  friend Buffer TakeGradientOfAReader(Tensor* data);
  Tensor(const Tensor&);
  void operator=(const Tensor&);

  Recipe recipe_;
  bool keep_origin_;
  Term origin_;
  bool copied_;  // somebody may know the values
};

typedef shared_ptr<Tensor> TensorPtr;

// A dense tensor whose values are still to be written, see Tensor::Fill.
inline TensorPtr NewTensor(const Dims& dims) { return TensorPtr(new Tensor(dims, TakeBuffer(dims.count()))); }

// The recipe of a tensor that the caller gives up. Where nobody else has the tensor, the recipe alone owns its terms.
Recipe TakeRecipe(TensorPtr* tensor);

// The values of data->gradient_of_a_reader, for another reader that adds its own gradient to them and clips the result. The first
// one's blob then holds an empty sum, so the sum over the readers stays what it is. NULL if there are no dense values that nobody
// else has, or somebody could see the difference: in the solver's own steps nobody can, see TransientDiffs.
Buffer TakeGradientOfAReader(Tensor* data);

// Whether the blob's newest values are a tensor of the blob's images and channels. Rows and columns may be cut otherwise,
// as where a Reshape layer shares them: their order is the same.
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
// The same of values in the engine's layout that no later layer reads, unless somebody looked at them before.
void ReleaseData(Blob<float>* blob);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_TENSOR_HPP_
