#ifndef CAFFE_READ_WEIGHTING_HPP_
#define CAFFE_READ_WEIGHTING_HPP_

#include <cfloat>
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "caffe/layers/formula_parser.hpp"
#include "caffe/layers/weighting.hpp"

namespace caffe {

/// The p at which a formula is checked, equal to those in layers/formula.py.
inline std::vector<double> CheckedProbabilities() {
  std::vector<double> p;
  for (int i = 1; i < 1000; ++i) { p.push_back(i / 1000.0); }
  for (int i = 1; i < 127; ++i) { p.push_back(std::ldexp(1.0, -i)); }
  for (int i = 1; i < 25; ++i) { p.push_back(1 - std::ldexp(1.0, -i)); }
  return p;
}

/// The emphasis of an example, or c(p).
template <typename Dtype>
Dtype EmphasisOrMultiplier(const Weighting<Dtype>& weighting,
    const bool emphasis, const Dtype p) {
  return emphasis ? weighting.emphasis(p) : weighting.multiplier(p);
}

/// An error message if c(p), or the emphasis, is negative or not finite somewhere on (0, 1), or 0 everywhere; else "".
inline std::string CheckFunction(const bool emphasis,
    const Weighting<double>& in_double, const Weighting<float>& in_float) {
  const std::vector<double> p = CheckedProbabilities();
  const std::string what = emphasis ? "the emphasis" : "c(p)";
  std::vector<float> narrow;
  float largest = 0;
  for (const double at : p) {
    narrow.push_back(EmphasisOrMultiplier<float>(in_float, emphasis, at));
    if (std::isfinite(narrow.back()) && narrow.back() > largest) {
      largest = narrow.back();
    }
  }
  std::ostringstream wrong;
  for (size_t i = 0; i < p.size(); ++i) {
    const double value = EmphasisOrMultiplier(in_double, emphasis, p[i]);
    if (value >= -1e-9 * largest && std::isfinite(narrow[i])) { continue; }
    wrong << what << " is ";
    if (value != value) {
      wrong << "not a number";
    } else if (value < 0 && std::isfinite(value)) {
      wrong << "negative, " << value << ',';
    } else {
      wrong << "too large for single precision";
    }
    wrong << " at p = " << p[i]
        << "; it must be finite and at least 0 on (0, 1)";
    return wrong.str();
  }
  return largest > 0 ? ""
      : what + " is 0 on all of (0, 1), so that no example counts";
}

/// An error message if CheckFunction has one for c(p) or the emphasis; else "".
inline std::string CheckWeighting(const Weighting<double>& in_double,
    const Weighting<float>& in_float) {
  const bool given = in_double.is_emphasis
      || in_double.name == LossParameter_Weighting_DM;  // the given one first
  const std::string wrong = CheckFunction(given, in_double, in_float);
  return wrong.empty() ? CheckFunction(!given, in_double, in_float) : wrong;
}

/// Reads the user's formula for CUSTOM; returns an error message, or "".
template <typename Dtype>
std::string ReadOwn(const LossParameter& given, Weighting<Dtype>* weighting) {
  const bool is_custom = weighting->name == LossParameter_Weighting_CUSTOM
      || weighting->name == LossParameter_Weighting_CUSTOM_DN;
  weighting->own.steps = 0;
  weighting->is_emphasis = given.has_emphasis();
  if (!is_custom) {
    return given.has_formula() || given.has_emphasis()
        ? "a formula or an emphasis is for the weighting CUSTOM" : "";
  }
  if (given.has_formula() == given.has_emphasis()) {
    return "it needs a formula of p or an emphasis, and not both: formula: "
        "\"pow(p, 0.3)\" is c(p), emphasis: \"1\" weighs all examples alike";
  }
  return FormulaParser<Dtype>(
      given.has_formula() ? given.formula() : given.emphasis(),
      &weighting->own).error();
}

/// Reads the weighting `name` with a layer's parameters; returns an error message, or "".
template <typename Dtype>
std::string ReadWeighting(const LossParameter& given,
    const LossParameter_Weighting name, Weighting<Dtype>* weighting) {
  Weighting<double> in_double;
  Weighting<float> in_float;
  weighting->name = in_double.name = in_float.name = name;
  std::string wrong = ReadOwn(given, weighting);
  if (wrong.empty()) { wrong = weighting->ReadParameters(given); }
  // Of those released, only DM can exceed single precision.
  const bool is_sure = weighting->released() && name != LossParameter_Weighting_DM;
  if (!wrong.empty() || is_sure) { return wrong; }
  ReadOwn(given, &in_double);
  ReadOwn(given, &in_float);
  in_double.ReadParameters(given);
  in_float.ReadParameters(given);
  return CheckWeighting(in_double, in_float);
}

}  // namespace caffe

#endif  // CAFFE_READ_WEIGHTING_HPP_
