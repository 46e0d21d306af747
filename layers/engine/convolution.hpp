#ifndef CAFFE_ENGINE_CONVOLUTION_HPP_
#define CAFFE_ENGINE_CONVOLUTION_HPP_

#include <memory>

#include "caffe/engine/convolution_shape.hpp"
#include "caffe/engine/filters.hpp"

namespace caffe {
namespace engine {

// What x stands for: (x - mean) * scale + shift, channel by channel, or x where mean is NULL; plus `base`, value by value, if that
// is not NULL; then 0 where that is negative if `relu`. With `base`, mean is not NULL, relu is true, and the values go to `sum`.
struct InputRecipe {
  const float *mean, *scale, *shift;
  bool relu;
  const float* base;
  float* sum;
};

// Where to put the mean and the biased variance of every channel of y. The variance is a difference of two sums, see
// KeepsDigits in passes.hpp.
struct OutputMoments {
  float *mean, *variance;
};

// Says of an x without a recipe that it is a sum behind a ReLU, as residual blocks have it. dx then holds another gradient of x
// before: the convolution's is added to it, and where x is not positive, dx becomes 0. `values` and `mean` are of a term of the sum.
struct ResidualSum {
  const float *values, *mean;
};

// Where to put, for every channel of x, the sums of g and of g (x - mean): g is dx where the recipe did not clip x, and
// else 0. They are what the backward pass of batch normalisation needs. With `residual`, g is dx, and instead of x and its mean stand
// the values and mean there.
struct InputGradientSums {
  float *of_gradient, *of_product;
  const ResidualSum* residual;  // or NULL
};

// What dy stands for behind a batch normalisation of y: g * factor + (y - mean) * scale + shift, channel by channel. g is dy, or
// where there is a mask, 0 but where (y - mean) * mask_scale + mask_shift > 0.
struct GradientRecipe {
  const float *factor, *y, *mean, *scale, *shift, *mask_scale, *mask_shift;
};

// The three passes of a convolution in float32 for channels-last activations, by the fastest kernel that there is
// here for the shape. x is (n, ih, iw, ic), y (n, oh, ow, oc), w (oc, ic / groups, kh, kw), bias (oc).
//
// Buffers that start at a multiple of 64 bytes are the fastest. The same inputs and number of threads give the same
// bits. One object must not be used by two threads at once.
class Convolution {
 public:
  // Whether there is a kernel here; if not, the caller uses upstream's im2col.
  static bool Supports(const ConvShape& shape);

  // keep_filters: forward passes keep their filters laid out until they find other weights, memory for time.
  explicit Convolution(const ConvShape& shape, bool keep_filters = false);
  ~Convolution();

  // Before a forward pass: whether its weights are known to be those of the pass before. Without a word, kept filters are
  // compared with them.
  void TellWeights(bool same) { kernels_->TellWeights(same); }

  // Whether recipes and moments are possible, which save passes over memory.
  bool Fuses() const { return kernels_->Fuses(); }
  // Also recipes with `base`, those of gradients, and ResidualSum.
  bool FusesAll() const { return kernels_->FusesAll(); }

  // bias, recipe and moments may be NULL.
  void Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe = NULL,
      const OutputMoments* moments = NULL);
  void BackwardData(const float* dy, const float* w, float* dx);
  // Adds to dw and db, as Caffe's iter_size needs it. db and recipe may be NULL.
  void BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe* recipe = NULL);

  // Both of them, with one pass over dy instead of two. sums needs a recipe or `residual`. recipe, sums and gradient may
  // be NULL.
  void Backward(const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
      const InputRecipe* recipe = NULL, const InputGradientSums* sums = NULL, const GradientRecipe* gradient = NULL);

  // A family of kernels: the same functions.
  class Kernels {
   public:
    virtual ~Kernels() {}
    virtual bool Fuses() const { return false; }
    virtual bool FusesAll() const { return false; }
    virtual void KeepFilters() { filters_.Keep(); }
    virtual void TellWeights(bool same) { filters_.Tell(same); }
    virtual void Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
        const OutputMoments* moments) = 0;
    virtual void BackwardData(const float* dy, const float* w, float* dx) = 0;
    virtual void BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe* recipe) = 0;
    virtual void Backward(const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
        const InputRecipe* recipe, const InputGradientSums*, const GradientRecipe* = NULL) {
      BackwardWeights(x, dy, dw, db, recipe);
      BackwardData(dy, w, dx);
    }

   protected:
    Filters filters_;  // of the forward pass
  };

 private:
  const std::unique_ptr<Kernels> kernels_;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_CONVOLUTION_HPP_
