#ifndef CAFFE_ENGINE_LAYOUT_HPP_
#define CAFFE_ENGINE_LAYOUT_HPP_

namespace caffe {
namespace engine {

// Between Caffe's order (image, channel, pixel) and the engine's (image, pixel, channel).
void ToChannelsLast(int images, int channels, int pixels, const float* from, float* to);
void FromChannelsLast(int images, int channels, int pixels, const float* from, float* to);

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_LAYOUT_HPP_
