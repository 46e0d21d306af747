#ifndef CAFFE_TAKE_PARAMETER_HPP_
#define CAFFE_TAKE_PARAMETER_HPP_

#include <cmath>
#include <sstream>
#include <string>

namespace caffe {

/**
 * @brief Stores a parameter of a weighting. If it is outside its range, returns
 *        the same error message as layers/weighting.py; else "".
 *
 * @param ends whether least and most themselves are in the range
 * @param whole whether it must be a whole number
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
