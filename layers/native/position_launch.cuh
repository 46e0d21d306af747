#ifndef CAFFE_POSITION_LAUNCH_CUH_
#define CAFFE_POSITION_LAUNCH_CUH_

#include <cstdio>

#include "caffe/layers/position_kernels.hpp"
#include "caffe/util/device_alternate.hpp"

namespace caffe {

/// A group of `Size` neighbouring threads of a warp; see position_kernels.hpp.
template <int Size>
struct Lanes {
  __device__ int rank() const { return threadIdx.x % Size; }
  __device__ int size() const { return Size; }

  template <typename T>
  __device__ T max(T x) const {
#pragma unroll
    for (int step = Size / 2; step > 0; step /= 2) {
      x = Larger(x, __shfl_xor_sync(0xffffffff, x, step));
    }
    return x;
  }

  template <typename T>
  __device__ T sum(T x) const {
#pragma unroll
    for (int step = Size / 2; step > 0; step /= 2) {
      x += __shfl_xor_sync(0xffffffff, x, step);
    }
    return x;
  }
};

/// The first position of this thread's group, and the number of groups in the grid.
template <int Size>
__device__ int FirstPosition() {
  return (blockIdx.x * blockDim.x + threadIdx.x) / Size;
}
template <int Size>
__device__ int PositionStep() { return gridDim.x * blockDim.x / Size; }

/// Prints that a label is not a class, and returns NaN to use as the result.
template <typename Dtype>
__device__ Dtype WrongLabel(const Labels<Dtype>& labels, const int position) {
  printf("caffe: label %g of position %d is outside 0..%d, the classes; what it "
      "gives is NaN\n", static_cast<double>(labels.label[position]), position,
      labels.classes - 1);
  return NAN;
}

const int THREADS_A_BLOCK = 256;
const int MOST_BLOCKS = 4096;

/// The number of blocks in which each position has its lanes, at most MOST_BLOCKS.
inline int BlocksFor(const ScoreShape& shape) {
  const int positions_a_block = THREADS_A_BLOCK / shape.lanes();
  const int blocks =
      (shape.positions() + positions_a_block - 1) / positions_a_block;
  return blocks < 1 ? 1 : blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS;
}

}  // namespace caffe

#endif  // CAFFE_POSITION_LAUNCH_CUH_
