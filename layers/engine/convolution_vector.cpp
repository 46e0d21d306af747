#include "caffe/engine/convolution_vector.hpp"

#ifdef USE_ONEDNN
#include <dnnl.hpp>
#endif

namespace caffe {
namespace engine {

#ifdef CAFFE_ENGINE_VECTOR

namespace {

// Whether the user allows oneDNN these registers, by ONEDNN_MAX_CPU_ISA in the environment: so the engine's kernels keep to AVX2,
// too.
bool AllowsAvx512() {
#ifdef USE_ONEDNN
  const int wanted = static_cast<int>(dnnl::cpu_isa::avx512_core);  // a bit for each set of instructions
  return (static_cast<int>(dnnl::get_effective_cpu_isa()) & wanted) == wanted;
#else
  return true;
#endif
}

}  // namespace

bool HasVectors(int lanes) {
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  static const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && AllowsAvx512();
  return lanes <= kLanesOfAvx2 ? avx2 : avx512;
}

#else

bool HasVectors(int) { return false; }

#endif

}  // namespace engine
}  // namespace caffe
