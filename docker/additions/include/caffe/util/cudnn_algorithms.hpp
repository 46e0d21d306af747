#ifndef CAFFE_UTIL_CUDNN_ALGORITHMS_HPP_
#define CAFFE_UTIL_CUDNN_ALGORITHMS_HPP_

#include <cudnn.h>

// cuDNN 8 has removed the queries with which upstream's layers choose convolution algorithms. These functions replace them
// under their old names, using the _v7 queries. They choose the fastest algorithm within the workspace limit whose results
// repeat, or the fastest within the limit if no results repeat.
#if CUDNN_MAJOR >= 8

enum { CUDNN_CONVOLUTION_FWD_SPECIFY_WORKSPACE_LIMIT, CUDNN_CONVOLUTION_BWD_FILTER_SPECIFY_WORKSPACE_LIMIT,
       CUDNN_CONVOLUTION_BWD_DATA_SPECIFY_WORKSPACE_LIMIT };

namespace caffe {
namespace cudnn {

// The choice among `count` results, fastest first, that need at most `limit` bytes.
//
// A result may assume another type of arithmetic than the descriptor's. The type of the result is ignored: the three passes
// of a layer share the descriptor, so that its type must stay. `workspace` asks cuDNN whether the algorithm has a kernel for
// the descriptor's type, and how many bytes it needs.
template <typename Result, typename Workspace, typename Algorithm>
cudnnStatus_t ChooseAlgorithm(const Result* results, int count, size_t limit, const Workspace& workspace,
                              Algorithm* algorithm) {
  const Result* chosen = NULL;
  for (const Result* result = results; result != results + count; ++result) {
    size_t bytes = 0;
    const bool usable = result->status == CUDNN_STATUS_SUCCESS &&
        workspace(result->algo, &bytes) == CUDNN_STATUS_SUCCESS && bytes <= limit;
    if (usable && result->determinism == CUDNN_DETERMINISTIC) {
      chosen = result;
      break;
    }
    if (usable && !chosen) { chosen = result; }
  }
  if (!chosen) { return CUDNN_STATUS_NOT_SUPPORTED; }
  *algorithm = chosen->algo;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace cudnn
}  // namespace caffe

inline cudnnStatus_t cudnnGetConvolutionForwardAlgorithm(
    cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv,
    cudnnTensorDescriptor_t y, int, size_t limit, cudnnConvolutionFwdAlgo_t* algorithm) {
  cudnnConvolutionFwdAlgoPerf_t results[2 * CUDNN_CONVOLUTION_FWD_ALGO_COUNT];
  int count = 0;
  const cudnnStatus_t status = cudnnGetConvolutionForwardAlgorithm_v7(
      handle, x, w, conv, y, 2 * CUDNN_CONVOLUTION_FWD_ALGO_COUNT, &count, results);
  const auto workspace = [=](cudnnConvolutionFwdAlgo_t algo, size_t* bytes) {
    return cudnnGetConvolutionForwardWorkspaceSize(handle, x, w, conv, y, algo, bytes);
  };
  return status != CUDNN_STATUS_SUCCESS ? status
      : caffe::cudnn::ChooseAlgorithm(results, count, limit, workspace, algorithm);
}

inline cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm(
    cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t conv,
    cudnnFilterDescriptor_t dw, int, size_t limit, cudnnConvolutionBwdFilterAlgo_t* algorithm) {
  cudnnConvolutionBwdFilterAlgoPerf_t results[2 * CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT];
  int count = 0;
  const cudnnStatus_t status = cudnnGetConvolutionBackwardFilterAlgorithm_v7(
      handle, x, dy, conv, dw, 2 * CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT, &count, results);
  const auto workspace = [=](cudnnConvolutionBwdFilterAlgo_t algo, size_t* bytes) {
    return cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, x, dy, conv, dw, algo, bytes);
  };
  return status != CUDNN_STATUS_SUCCESS ? status
      : caffe::cudnn::ChooseAlgorithm(results, count, limit, workspace, algorithm);
}

inline cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm(
    cudnnHandle_t handle, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t conv,
    cudnnTensorDescriptor_t dx, int, size_t limit, cudnnConvolutionBwdDataAlgo_t* algorithm) {
  cudnnConvolutionBwdDataAlgoPerf_t results[2 * CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT];
  int count = 0;
  const cudnnStatus_t status = cudnnGetConvolutionBackwardDataAlgorithm_v7(
      handle, w, dy, conv, dx, 2 * CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT, &count, results);
  const auto workspace = [=](cudnnConvolutionBwdDataAlgo_t algo, size_t* bytes) {
    return cudnnGetConvolutionBackwardDataWorkspaceSize(handle, w, dy, conv, dx, algo, bytes);
  };
  return status != CUDNN_STATUS_SUCCESS ? status
      : caffe::cudnn::ChooseAlgorithm(results, count, limit, workspace, algorithm);
}

#endif  // CUDNN_MAJOR >= 8

#endif  // CAFFE_UTIL_CUDNN_ALGORITHMS_HPP_
