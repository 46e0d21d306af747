// Reads cuDNN's answers about a convolution; prints the algorithm chosen for each of its three passes within a limit.
#include "cudnn_algorithms.hpp"

int main() {
  Convolution conv;
  size_t limit, bytes;
  int count, algo, status, determinism, type;
  std::cin >> limit >> count;
  while (count-- && std::cin >> algo >> status >> bytes >> determinism >> type) {
    conv.ranking.push_back({algo, cudnnStatus_t(status), bytes, cudnnDeterminism_t(determinism), cudnnMathType_t(type)});
  }
  while (std::cin >> algo >> bytes) conv.workspace[algo] = bytes;
  const auto print = [&](cudnnStatus_t found) { std::cout << (found == CUDNN_STATUS_SUCCESS ? algo : -1) << "\n"; };
  print(cudnnGetConvolutionForwardAlgorithm(0, 0, 0, &conv, 0, 0, limit, &algo));
  print(cudnnGetConvolutionBackwardFilterAlgorithm(0, 0, 0, &conv, 0, 0, limit, &algo));
  print(cudnnGetConvolutionBackwardDataAlgorithm(0, 0, 0, &conv, 0, 0, limit, &algo));
}
