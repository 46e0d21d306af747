// A replacement for the part of cuDNN that cudnn_algorithms.hpp uses. Its answers come from standard input.
#include <cstddef>
#include <iostream>
#include <map>
#include <vector>

#define CUDNN_MAJOR 9

enum cudnnStatus_t { CUDNN_STATUS_SUCCESS, CUDNN_STATUS_NOT_SUPPORTED };
enum cudnnDeterminism_t { CUDNN_NON_DETERMINISTIC, CUDNN_DETERMINISTIC };
enum cudnnMathType_t { CUDNN_DEFAULT_MATH, CUDNN_TENSOR_OP_MATH, CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION, CUDNN_FMA_MATH };
enum { CUDNN_CONVOLUTION_FWD_ALGO_COUNT = 8, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT = 8,
       CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT = 8 };
typedef int cudnnHandle_t, cudnnTensorDescriptor_t, cudnnFilterDescriptor_t;

struct Result {
  int algo;
  cudnnStatus_t status;
  size_t memory;
  cudnnDeterminism_t determinism;
  cudnnMathType_t mathType;
};

// A convolution, as cuDNN's answers about it: a ranking, and the workspaces of the algorithms for its math type.
struct Convolution {
  std::vector<Result> ranking;
  std::map<int, size_t> workspace;
};
typedef const Convolution* cudnnConvolutionDescriptor_t;

inline cudnnStatus_t cudnnGetConvolutionMathType(cudnnConvolutionDescriptor_t, cudnnMathType_t* type) {
  *type = CUDNN_FMA_MATH;
  return CUDNN_STATUS_SUCCESS;
}

inline cudnnStatus_t Rank(cudnnConvolutionDescriptor_t conv, int asked, int* count, Result* results) {
  for (*count = 0; *count < asked && *count < int(conv->ranking.size()); ++*count) results[*count] = conv->ranking[*count];
  return CUDNN_STATUS_SUCCESS;
}

inline cudnnStatus_t Workspace(cudnnConvolutionDescriptor_t conv, int algo, size_t* bytes) {
  const auto found = conv->workspace.find(algo);
  if (found == conv->workspace.end()) return CUDNN_STATUS_NOT_SUPPORTED;
  *bytes = found->second;
  return CUDNN_STATUS_SUCCESS;
}

// The queries of one pass over descriptors of types A, B and C.
#define QUERIES(kind, name, A, B, C) \
  typedef int cudnnConvolution##kind##Algo_t; \
  typedef Result cudnnConvolution##kind##AlgoPerf_t; \
  inline cudnnStatus_t cudnnGetConvolution##name##Algorithm_v7(cudnnHandle_t, A, B, cudnnConvolutionDescriptor_t conv, C, \
                                                               int asked, int* count, Result* results) { \
    return Rank(conv, asked, count, results); \
  } \
  inline cudnnStatus_t cudnnGetConvolution##name##WorkspaceSize(cudnnHandle_t, A, B, cudnnConvolutionDescriptor_t conv, C, \
                                                                int algo, size_t* bytes) { \
    return Workspace(conv, algo, bytes); \
  }
QUERIES(Fwd, Forward, cudnnTensorDescriptor_t, cudnnFilterDescriptor_t, cudnnTensorDescriptor_t)
QUERIES(BwdFilter, BackwardFilter, cudnnTensorDescriptor_t, cudnnTensorDescriptor_t, cudnnFilterDescriptor_t)
QUERIES(BwdData, BackwardData, cudnnFilterDescriptor_t, cudnnTensorDescriptor_t, cudnnTensorDescriptor_t)
