// Parses formulas of CUSTOM, one a line of the standard input with \x1e for its line ends, as the layer does.
//   formula_probe P... <formulas
// Prints a line for each: "error " and the message, with \x1f for its line ends; or "value " and the formula's values at each
// P, followed by that at the first P in single precision.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "caffe/layers/read_weighting.hpp"

int main(int argc, char** argv) {
  std::vector<double> p;
  for (int i = 1; i < argc; ++i) { p.push_back(atof(argv[i])); }
  std::string line;
  while (std::getline(std::cin, line)) {
    for (char& c : line) { if (c == '\x1e') { c = '\n'; } }
    caffe::LossParameter given;
    given.set_formula(line);
    caffe::Weighting<double> weighting;
    caffe::Weighting<float> narrow;
    std::string wrong = ReadWeighting(given, caffe::LossParameter_Weighting_CUSTOM, &weighting);
    if (!wrong.empty()) {
      for (char& c : wrong) { if (c == '\n') { c = '\x1f'; } }
      printf("error %s\n", wrong.c_str());
      continue;
    }
    ReadWeighting(given, caffe::LossParameter_Weighting_CUSTOM, &narrow);
    printf("value");
    for (const double at : p) { printf(" %.17g", weighting.multiplier(at)); }
    printf(" %.9g\n", narrow.multiplier(p[0]));
  }
}
