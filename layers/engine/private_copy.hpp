#ifndef CAFFE_ENGINE_PRIVATE_COPY_HPP_
#define CAFFE_ENGINE_PRIVATE_COPY_HPP_

namespace caffe {
namespace engine {

// What SyncedMemory knows of values kept in another layout: how to get them back.
class PrivateCopy {
 public:
  virtual ~PrivateCopy() {}
  // Writes the values as upstream Caffe would hold them.
  virtual void CopyTo(void* cpu) = 0;
};

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_PRIVATE_COPY_HPP_
