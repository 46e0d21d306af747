#ifndef CAFFE_ENGINE_BUFFER_HPP_
#define CAFFE_ENGINE_BUFFER_HPP_

#include <cstddef>

#include "caffe/common.hpp"

namespace caffe {
namespace engine {

// Floats of one activation; the last owner's end returns them to a pool, because fresh pages from the system cost more
// than what is computed in them. Aligned to 64 bytes. Once shared, not written any more.
typedef shared_ptr<float> Buffer;
Buffer TakeBuffer(size_t count);

// Gives the pool's unused memory back to the system.
void TrimBuffers();

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_BUFFER_HPP_
