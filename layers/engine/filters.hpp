#ifndef CAFFE_ENGINE_FILTERS_HPP_
#define CAFFE_ENGINE_FILTERS_HPP_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace caffe {
namespace engine {

// The filters of a convolution in the order in which its kernel reads them. By default, each pass lays them out in memory that
// all convolutions share. After Keep() they stay there until the weights change: a pass then only compares the weights, and
// not even that if its caller has told that they are the same.
class Filters {
 public:
  Filters() : keep_(false), told_(false), changed_(false), count_(0) {}

  // From now on, in memory of their own, from pass to pass.
  void Keep() { keep_ = true; }
  bool kept() const { return keep_; }

  // Before a pass: whether its weights are known to be those of the pass before.
  void Tell(bool same) {
    told_ = true;
    changed_ = changed_ || !same;
  }

  // `count` floats for those of `weights` weights at w. *laid_out: whether they already are there, for the same `count` and
  // values. If not, the caller lays them out.
  float* Take(const float* w, size_t weights, size_t count, bool* laid_out);

 private:
  struct Free {
    void operator()(float* p) const { free(p); }
  };

  bool keep_;
  bool told_, changed_;  // since the filters were taken
  std::unique_ptr<float, Free> memory_;
  size_t count_;
  std::vector<uint32_t> signature_;  // of the weights
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_FILTERS_HPP_
