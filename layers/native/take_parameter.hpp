#ifndef CAFFE_TAKE_PARAMETER_HPP_
#define CAFFE_TAKE_PARAMETER_HPP_

#include <cmath>
#include <sstream>
#include <string>

namespace caffe {

/**
 * @brief Takes a parameter of a weighting, where it is in its range; else
 *        returns what is wrong, in the words of layers/weighting.py.
 *
 * @param ends whether least and most are in the range
 * @param whole whether only whole numbers are
 */
template <typename Dtype>
std::string TakeParameter(const char* name, const double value,
    const double least, const double most, const bool ends, const bool whole,
    const char* range, Dtype* parameter) {
  *parameter = value;
  if (std::isfinite(value) && value >= least && value <= most
      && (ends || (value != least && value != most))
      && (!whole || value == std::floor(value))) {
    return "";
  }
  std::ostringstream wrong;
  wrong << name << " is " << value << "; it must be " << range;
  return wrong.str();
}

}  // namespace caffe

#endif  // CAFFE_TAKE_PARAMETER_HPP_
