#include "caffe/engine/filters.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/for_each_processor.hpp"

namespace caffe {
namespace engine {

namespace {

enum { kLanes = 64, kChunk = 1 << 16 };  // words

// A hash of `count` words in each lane. All steps are reversible, so that one changed word always changes it; many changes
// leave it with a probability of 2^-32 for each lane that they touch.
FOR_EACH_PROCESSOR
void HashChunk(const float* values, size_t count, uint32_t* hash) {
  uint32_t words[kLanes], state[kLanes];
  for (int j = 0; j < kLanes; ++j) state[j] = 2166136261u;
  for (size_t i = 0; i < count; i += kLanes) {
    const size_t n = std::min<size_t>(kLanes, count - i);
    if (n < kLanes) memset(words, 0, sizeof(words));
    memcpy(words, values + i, n * sizeof(uint32_t));
    for (int j = 0; j < kLanes; ++j) {
      const uint32_t mixed = state[j] ^ words[j];
      state[j] = (mixed << 13 | mixed >> 19) * 16777619u;
    }
  }
  std::copy(state, state + kLanes, hash);
}

std::vector<uint32_t> Signature(const float* values, size_t count) {
  const long chunks = (count + kChunk - 1) / kChunk;
  std::vector<uint32_t> signature(chunks * kLanes);
#pragma omp parallel for schedule(static) if (chunks > 8)
  for (long i = 0; i < chunks; ++i) {
    HashChunk(values + i * kChunk, std::min<size_t>(kChunk, count - i * kChunk), &signature[i * kLanes]);
  }
  return signature;
}

}  // namespace

float* Filters::Take(const float* w, size_t weights, size_t count, bool* laid_out) {
  *laid_out = keep_ && count == count_ && told_ && !changed_;
  told_ = changed_ = false;
  if (!keep_) return SharedScratch().Get(count);
  if (*laid_out) return memory_.get();
  std::vector<uint32_t> signature = Signature(w, weights);
  if (count != count_) {
    count_ = 0;
    memory_.reset(static_cast<float*>(aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64)));
    if (!memory_) throw std::bad_alloc();
    count_ = count;
  } else {
    *laid_out = signature == signature_;
  }
  signature_.swap(signature);
  return memory_.get();
}

}  // namespace engine
}  // namespace caffe
