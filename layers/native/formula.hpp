#ifndef CAFFE_FORMULA_HPP_
#define CAFFE_FORMULA_HPP_

#include <cmath>

#ifdef __CUDACC__
#define CAFFE_HOST_DEVICE __host__ __device__
#else
#define CAFFE_HOST_DEVICE
#endif

namespace caffe {

/// The smaller of two numbers; NaN where one of them is NaN.
template <typename Dtype>
CAFFE_HOST_DEVICE Dtype Smaller(const Dtype a, const Dtype b) {
  return b < a || b != b ? b : a;
}

/// The larger of two numbers; NaN where one of them is NaN.
template <typename Dtype>
CAFFE_HOST_DEVICE Dtype Larger(const Dtype a, const Dtype b) {
  return a < b || b != b ? b : a;
}

/**
 * @brief A formula of p as a program, which formula_parser.hpp makes from a text
 *        when the net is built. Host and device evaluate it. It allocates no
 *        memory, so that a kernel takes it by value.
 *
 * A step pushes p or a number on a stack, or replaces the operands of an
 * operation on the stack by its result.
 */
template <typename Dtype>
struct Formula {
  static const int MOST_CHARACTERS = 200;
  static const int MOST_NUMBERS = (MOST_CHARACTERS + 1) / 2;
  static const int MOST_STACK = 32;

  enum Step { P, NUMBER, ADD, SUBTRACT, MULTIPLY, DIVIDE, NEGATIVE, POW, MIN,
      MAX, EXP, LOG, LOG1P, SQRT, ABS, LESS, AT_MOST, GREATER, AT_LEAST, EQUAL,
      UNEQUAL, CHOOSE };

  /// The value at p. p is clamped to the float32 numbers from the smallest normal
  /// one to the largest below 1: a formula is never evaluated at 0 or 1.
  CAFFE_HOST_DEVICE Dtype operator()(const Dtype given) const {
    const Dtype least = Dtype(1.17549435082228750797e-38);
    const Dtype most = 1 - Dtype(5.9604644775390625e-08);
    const Dtype p = given < least ? least : given > most ? most : given;
    Dtype stack[MOST_STACK];
    Dtype* top = stack - 1;
    const Dtype* next = numbers;
    for (int i = 0; i < steps; ++i) {
      switch (step[i]) {
        case P: *++top = p; break;
        case NUMBER: *++top = *next++; break;
        case ADD: --top; top[0] += top[1]; break;
        case SUBTRACT: --top; top[0] -= top[1]; break;
        case MULTIPLY: --top; top[0] *= top[1]; break;
        case DIVIDE: --top; top[0] /= top[1]; break;
        case NEGATIVE: top[0] = -top[0]; break;
        case POW: --top; top[0] = pow(top[0], top[1]); break;
        case MIN: --top; top[0] = Smaller(top[0], top[1]); break;
        case MAX: --top; top[0] = Larger(top[0], top[1]); break;
        case EXP: top[0] = exp(top[0]); break;
        case LOG: top[0] = log(top[0]); break;
        case LOG1P: top[0] = log1p(top[0]); break;
        case SQRT: top[0] = sqrt(top[0]); break;
        case ABS: top[0] = top[0] < 0 ? -top[0] : top[0]; break;
        case LESS: --top; top[0] = top[0] < top[1]; break;
        case AT_MOST: --top; top[0] = top[0] <= top[1]; break;
        case GREATER: --top; top[0] = top[0] > top[1]; break;
        case AT_LEAST: --top; top[0] = top[0] >= top[1]; break;
        case EQUAL: --top; top[0] = top[0] == top[1]; break;
        case UNEQUAL: --top; top[0] = top[0] != top[1]; break;
        case CHOOSE: top -= 2; top[0] = top[0] ? top[1] : top[2]; break;
      }
    }
    return steps ? stack[0] : Dtype(NAN);
  }

  int steps;
  unsigned char step[MOST_CHARACTERS];
  Dtype numbers[MOST_NUMBERS];
};

}  // namespace caffe

#endif  // CAFFE_FORMULA_HPP_
