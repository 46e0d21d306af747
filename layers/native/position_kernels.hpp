#ifndef CAFFE_POSITION_KERNELS_HPP_
#define CAFFE_POSITION_KERNELS_HPP_

#include <cmath>

#include "caffe/layers/weighting.hpp"

namespace caffe {

/**
 * The computations of our layers for one position of a batch, on GPU and CPU. A
 * group of lanes computes a position. On a GPU, it is the 32 threads of a warp if
 * the classes of a position are adjacent in memory; else it is one thread, and
 * neighbouring threads compute the next positions. On the CPU, it is one lane.
 * tests/layers/native/test_position_kernels.cpp runs groups of 32 lanes on the
 * host, with a thread for each lane.
 *
 * A group has rank() and size(), and max(x) and sum(x) over its lanes, which
 * return the result to every lane. Sums have a fixed order, so that equal runs
 * give equal bits.
 */

/// The shape of scores or probabilities, (outer, classes, inner). Labels: (outer, inner).
struct ScoreShape {
  int outer, classes, inner;

  CAFFE_HOST_DEVICE int positions() const { return outer * inner; }
  /// The index of a position's class 0. That of class c is c * inner larger.
  CAFFE_HOST_DEVICE int first(const int position) const {
    return position / inner * classes * inner + position % inner;
  }
  /// The number of lanes in the group for a position.
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

  /// The label without its fraction. It is cast to int only after it is known to
  /// be a class: the cast of NaN is undefined in C++, and gives 0 on a GPU.
  CAFFE_HOST_DEVICE Dtype integer(const int position) const {
    return trunc(label[position]);
  }
};

/// The group on the CPU: a single lane.
struct OneLane {
  int rank() const { return 0; }
  int size() const { return 1; }
  template <typename T> T max(const T x) const { return x; }
  template <typename T> T sum(const T x) const { return x; }
};

/// Computes a position's softmax, and its terms of S (weight) and V * S (value).
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

/// The gradient of a position's scores; scale is loss_weight / S. It is 0 where the
/// label is ignored, even if scores there are not finite.
template <typename Dtype, typename Group>
CAFFE_HOST_DEVICE void BackwardPosition(const Group& group,
    const ScoreShape& shape, const int position, const Dtype* prob,
    const Labels<Dtype>& labels, const Weighting<Dtype>& weighting,
    const double scale, Dtype* diff) {
  const int first = shape.first(position);
  const int k = labels.at(position);
  const Dtype factor =
      k < 0 ? 0 : scale * weighting.multiplier(prob[first + k * shape.inner]);
  for (int c = group.rank(); c < shape.classes; c += group.size()) {
    const int at = first + c * shape.inner;
    diff[at] = k < 0 ? 0 : factor * (c == k ? prob[at] - 1 : prob[at]);
  }
}

/// The label's probability and, unless `largest` is NULL, the largest probability.
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

/// Sums every `parts`-th block of group.size() terms, from block `part` on, in double precision.
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
