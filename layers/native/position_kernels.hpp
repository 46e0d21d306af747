#ifndef CAFFE_POSITION_KERNELS_HPP_
#define CAFFE_POSITION_KERNELS_HPP_

#include <cmath>

#include "caffe/layers/weighting.hpp"

namespace caffe {

/**
 * What our layers do for one position of a batch, on GPU and CPU. A group of
 * lanes does it: on a GPU 32 threads of a warp where a position's classes lie
 * side by side, else one thread, beside those of the next positions; on the
 * CPU one lane. tests/layers/native/test_position_kernels.cpp runs groups of 32
 * on the host, a thread a lane.
 *
 * A group has rank(), size(), and max(x) and sum(x) over its lanes, which every
 * lane gets. Sums have a fixed order, so that runs repeat.
 */

/// Scores or probabilities (outer, classes, inner), with a label a position (outer, inner).
struct ScoreShape {
  int outer, classes, inner;

  CAFFE_HOST_DEVICE int positions() const { return outer * inner; }
  /// Where a position's class 0 is; class c is c * inner further.
  CAFFE_HOST_DEVICE int first(const int position) const {
    return position / inner * classes * inner + position % inner;
  }
  /// Lanes to a position.
  CAFFE_HOST_DEVICE int lanes() const { return inner == 1 ? 32 : 1; }
};

/// The labels of a batch.
template <typename Dtype>
struct Labels {
  const Dtype* label;
  int classes;
  bool has_ignored;
  int ignored;

  static const int IGNORED = -1;
  static const int OUTSIDE = -2;

  /// The class of a position, IGNORED, or OUTSIDE of 0 .. classes - 1.
  CAFFE_HOST_DEVICE int at(const int position) const {
    return is_ignored(position) ? IGNORED : class_at(position);
  }

  /// The class of a position, or OUTSIDE.
  CAFFE_HOST_DEVICE int class_at(const int position) const {
    const Dtype k = integer(position);
    return k >= 0 && k < classes ? static_cast<int>(k) : OUTSIDE;
  }

  CAFFE_HOST_DEVICE bool is_ignored(const int position) const {
    return has_ignored && integer(position) == ignored;
  }

  /// The label without its fraction. It is cast to int only where it is known
  /// to be a class: the cast of NaN is undefined, and 0 on a GPU.
  CAFFE_HOST_DEVICE Dtype integer(const int position) const {
    return trunc(label[position]);
  }
};

/// The group of the CPU.
struct OneLane {
  int rank() const { return 0; }
  int size() const { return 1; }
  template <typename T> T max(const T x) const { return x; }
  template <typename T> T sum(const T x) const { return x; }
};

/// Softmax, and what the position adds to S and V, in one reading of the scores.
template <typename Dtype, typename Group>
CAFFE_HOST_DEVICE void ForwardPosition(const Group& group,
    const ScoreShape& shape, const int position, const Dtype* score,
    const Labels<Dtype>& labels, const Weighting<Dtype>& weighting,
    Dtype* prob, double* weight, double* value) {
  const int first = shape.first(position);
  Dtype largest = score[first];
  for (int c = group.rank(); c < shape.classes; c += group.size()) {
    largest = Larger(largest, score[first + c * shape.inner]);
  }
  largest = group.max(largest);
  Dtype total = 0;
  for (int c = group.rank(); c < shape.classes; c += group.size()) {
    total += exp(score[first + c * shape.inner] - largest);
  }
  total = group.sum(total);
  for (int c = group.rank(); c < shape.classes; c += group.size()) {
    const int at = first + c * shape.inner;
    prob[at] = exp(score[at] - largest) / total;
  }
  if (group.rank() != 0) { return; }
  const int k = labels.at(position);
  if (k >= 0) {
    const Dtype p = exp(score[first + k * shape.inner] - largest) / total;
    const Dtype w = weighting.weight(p);
    weight[position] = w;
    value[position] = w * weighting.distance(p);
  } else {  // a wrong label makes the loss NaN
    weight[position] = value[position] = k == Labels<Dtype>::IGNORED ? 0 : NAN;
  }
}

/// The gradient of a position's scores; scale is loss_weight / S.
template <typename Dtype, typename Group>
CAFFE_HOST_DEVICE void BackwardPosition(const Group& group,
    const ScoreShape& shape, const int position, const Dtype* prob,
    const Labels<Dtype>& labels, const Weighting<Dtype>& weighting,
    const Dtype scale, Dtype* diff) {
  const int first = shape.first(position);
  const int k = labels.at(position);
  const Dtype factor =
      k < 0 ? 0 : scale * weighting.multiplier(prob[first + k * shape.inner]);
  for (int c = group.rank(); c < shape.classes; c += group.size()) {
    const int at = first + c * shape.inner;
    diff[at] = factor * (c == k ? prob[at] - 1 : prob[at]);
  }
}

/// The label's probability, and the largest where `largest` is not NULL.
template <typename Dtype, typename Group>
CAFFE_HOST_DEVICE void ExtractPosition(const Group& group,
    const ScoreShape& shape, const int position, const Dtype* prob,
    const Labels<Dtype>& labels, Dtype* label_prob, Dtype* largest) {
  const int first = shape.first(position);
  if (largest) {
    Dtype found = prob[first];
    for (int c = group.rank(); c < shape.classes; c += group.size()) {
      found = Larger(found, prob[first + c * shape.inner]);
    }
    found = group.max(found);
    if (group.rank() == 0) { largest[position] = found; }
  }
  if (group.rank() == 0) {
    const int k = labels.class_at(position);
    label_prob[position] = k >= 0 ? prob[first + k * shape.inner]
        : labels.is_ignored(position) ? Dtype(0) : Dtype(NAN);
  }
}

/// The sum of every `parts`-th stretch of 32 terms, from the part-th on, in double precision.
template <typename Group>
CAFFE_HOST_DEVICE double SumOfPart(const Group& group, const int part,
    const int parts, const int count, const double* terms) {
  double sum = 0;
  for (int i = part * group.size() + group.rank(); i < count;
       i += parts * group.size()) {
    sum += terms[i];
  }
  return group.sum(sum);
}

}  // namespace caffe

#endif  // CAFFE_POSITION_KERNELS_HPP_
