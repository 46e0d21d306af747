#ifndef CAFFE_FORMULA_PARSER_HPP_
#define CAFFE_FORMULA_PARSER_HPP_

#include <cfloat>
#include <clocale>
#include <cstring>
#include <locale>
#include <sstream>
#include <string>
#include <vector>

#include "caffe/layers/formula.hpp"

namespace caffe {

/**
 * @brief Parses a formula of p into a program. The language, its limits and the
 *        error messages are the same as in layers/formula.py.
 *
 * A recursive descent parser. Each function parses one kind of expression,
 * starting at the current token. It returns whether the expression is a
 * comparison: only a choice may contain one. After the first mistake, error() is
 * set and all functions return.
 */
template <typename Dtype>
class FormulaParser {
 public:
  typedef Formula<Dtype> Program;

  /// Parses `text` into `program`. error() is "" if the text is right.
  FormulaParser(const std::string& text, Program* program)
      : text_(text), program_(program), numbers_(0), stack_(0), nesting_(0),
        kind_(END), position_(0), next_position_(0) {
    program_->steps = 0;
    if (text.size() > size_t(Program::MOST_CHARACTERS)) {
      std::ostringstream message;
      message << "longer than " << Program::MOST_CHARACTERS << " characters";
      Fail(message.str(), Program::MOST_CHARACTERS);
      return;
    }
    Advance();
    Number(&FormulaParser::Choice);
    if (kind_ != END) {
      Unexpected(kind_ == NUMBER || kind_ == NAME || token_ == "("
          ? "expected an operator" : "");
    }
  }

  /// One line, then the formula, and a caret below the mistake.
  const std::string& error() const { return error_; }

 private:
  enum Kind { NUMBER, NAME, SIGN, END };
  typedef bool (FormulaParser::*Rule)();
  struct Function { const char* name; int operands; typename Program::Step step; };
  struct Sign { const char* sign; typename Program::Step step; };

  static const int MOST_NESTING = 32;

  static const std::vector<Function>& Functions() {
    static const std::vector<Function> functions = {{"pow", 2, Program::POW},
        {"min", 2, Program::MIN}, {"max", 2, Program::MAX},
        {"exp", 1, Program::EXP}, {"log", 1, Program::LOG},
        {"log1p", 1, Program::LOG1P}, {"sqrt", 1, Program::SQRT},
        {"abs", 1, Program::ABS}};
    return functions;
  }

  static const std::vector<Sign>& Comparisons() {
    static const std::vector<Sign> comparisons = {{"<=", Program::AT_MOST},
        {">=", Program::AT_LEAST}, {"==", Program::EQUAL},
        {"!=", Program::UNEQUAL}, {"<", Program::LESS},
        {">", Program::GREATER}};
    return comparisons;
  }

  /// Notations of other languages, and what to write instead.
  static std::string Meant(const std::string& token) {
    static const char* const meant[][2] = {{"**", "pow(a, b)"},
        {"^", "pow(a, b)"}, {"--", "- -"}, {"=", "=="}, {"ln", "log"},
        {"fabs", "abs"}, {"power", "pow"}};
    for (const auto& pair : meant) {
      if (token == pair[0]) { return std::string("; write ") + pair[1]; }
    }
    return "";
  }

  bool Fail(const std::string& message, const size_t position) {
    if (!error_.empty()) { return false; }
    std::string shown = text_.size() <= size_t(Program::MOST_CHARACTERS) ? text_
        : text_.substr(0, Program::MOST_CHARACTERS) + "...";
    for (char& c : shown) {
      if (static_cast<unsigned char>(c) < 32 || c == 127) { c = ' '; }
    }
    std::ostringstream line;
    line << "formula, character " << position + 1 << ": " << message
        << "\n    " << shown << "\n    " << std::string(position, ' ') << '^';
    error_ = line.str();
    kind_ = END;
    token_.clear();
    return false;
  }

  bool Unexpected(const std::string& wanted) {
    const std::string found =
        kind_ == END ? "the end" : '"' + token_ + '"';
    return Fail((wanted.empty() ? found + " does not fit here"
        : wanted + ", found " + found) + Meant(token_), position_);
  }

  static bool IsDigit(const char c) { return c >= '0' && c <= '9'; }
  static bool IsLetter(const char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  }
  char At(const size_t i) const { return i < text_.size() ? text_[i] : 0; }

  /// The end of the number that starts at `start`; `start` if there is none.
  size_t EndOfNumber(const size_t start) const {
    size_t i = start;
    if (At(i) == '.') {
      if (!IsDigit(At(i + 1))) { return start; }
      ++i;
      while (IsDigit(At(i))) { ++i; }
    } else if (IsDigit(At(i))) {
      if (At(i) == '0') {
        ++i;
      } else {
        while (IsDigit(At(i))) { ++i; }
      }
      if (At(i) == '.') {
        ++i;
        while (IsDigit(At(i))) { ++i; }
      }
    } else {
      return start;
    }
    if (At(i) == 'e' || At(i) == 'E') {
      size_t exponent = i + 1;
      if (At(exponent) == '+' || At(exponent) == '-') { ++exponent; }
      if (IsDigit(At(exponent))) {
        while (IsDigit(At(exponent))) { ++exponent; }
        i = exponent;
      }
    }
    return i;
  }

  void Advance() {
    if (!error_.empty()) { return; }
    position_ = next_position_;
    while (At(position_) == ' ') { ++position_; }
    size_t end = EndOfNumber(position_);
    if (position_ == text_.size()) {
      kind_ = END;
    } else if (end > position_) {
      kind_ = NUMBER;
    } else if (IsLetter(At(position_))) {
      kind_ = NAME;
      while (IsLetter(At(end)) || IsDigit(At(end))) { ++end; }
    } else {
      kind_ = SIGN;
      static const char* const signs[] = {"**", "--", "&&", "||", "<=", ">=",
          "==", "!=", "-", "+", "*", "/", "(", ")", ",", "?", ":", "<", ">",
          "^", "="};
      for (const char* sign : signs) {
        if (text_.compare(position_, strlen(sign), sign) == 0) {
          end += strlen(sign);
          break;
        }
      }
      if (end == position_) {
        Fail("a character that no formula has", position_);
        return;
      }
    }
    token_ = text_.substr(position_, end - position_);
    next_position_ = end;
  }

  bool Is(const char* sign) const { return kind_ == SIGN && token_ == sign; }

  bool Accept(const char* sign) {
    if (!Is(sign)) { return false; }
    Advance();
    return true;
  }

  /// Adds a step with a number of operands: 0 for p and for numbers.
  void Emit(const typename Program::Step step, const int operands,
      const size_t position) {
    if (!error_.empty()) { return; }
    stack_ += 1 - operands;
    if (stack_ > Program::MOST_STACK) {
      Fail("nested too deeply", position);
    } else {
      program_->step[program_->steps++] = step;
    }
  }

  bool Deeper(const Rule rule, const size_t position) {
    if (++nesting_ > MOST_NESTING) {
      return Fail("nested too deeply", position);
    }
    const bool result = (this->*rule)();
    --nesting_;
    return result;
  }

  bool FailComparison(const size_t position) {
    return Fail("a comparison needs a choice: write it as in p > 0.5 ? 1 : 0",
        position);
  }

  /// Parses an expression with `rule`; fails if it is a comparison.
  bool Number(const Rule rule) {
    const size_t start = position_;
    if ((this->*rule)()) { FailComparison(start); }
    return false;
  }
  bool NumberOfChoice() { return Number(&FormulaParser::Choice); }
  bool NumberOfSigned() { return Number(&FormulaParser::Signed); }

  bool Choice() {
    const size_t start = position_;
    const bool is_comparison = Comparison();
    const size_t at = position_;
    if (!Accept("?")) { return is_comparison; }
    if (!is_comparison) {
      return Fail("a choice needs a comparison before its ?, as in p > 0.5 ? 1 "
          ": 0", start);
    }
    Deeper(&FormulaParser::NumberOfChoice, at);
    if (!Accept(":")) { Unexpected("expected \":\""); }
    Deeper(&FormulaParser::NumberOfChoice, at);
    Emit(Program::CHOOSE, 3, at);
    return false;
  }

  bool Comparison() {
    const size_t start = position_;
    const bool left = Sum();
    for (const Sign& comparison : Comparisons()) {
      if (!Is(comparison.sign)) { continue; }
      if (left) { return FailComparison(start); }
      const size_t at = position_;
      Advance();
      Number(&FormulaParser::Sum);
      Emit(comparison.step, 2, at);
      return error_.empty();
    }
    return left;
  }

  bool Sum() {
    static const Sign signs[] = {{"+", Program::ADD}, {"-", Program::SUBTRACT}};
    return Chain(signs, &FormulaParser::Product);
  }

  bool Product() {
    static const Sign signs[] = {{"*", Program::MULTIPLY},
        {"/", Program::DIVIDE}};
    return Chain(signs, &FormulaParser::Signed);
  }

  /// Parses operands with signs between them, which are left-associative.
  bool Chain(const Sign (&signs)[2], const Rule rule) {
    const size_t start = position_;
    const bool left = (this->*rule)();
    while (Is(signs[0].sign) || Is(signs[1].sign)) {
      if (left) { return FailComparison(start); }
      const Sign& sign = signs[Is(signs[0].sign) ? 0 : 1];
      const size_t at = position_;
      Advance();
      Number(rule);
      Emit(sign.step, 2, at);
    }
    return left;
  }

  bool Signed() {
    const size_t at = position_;
    if (!Accept("-")) { return Primary(); }
    Deeper(&FormulaParser::NumberOfSigned, at);
    Emit(Program::NEGATIVE, 1, at);
    return false;
  }

  bool Primary() {
    const size_t at = position_;
    if (kind_ == NUMBER) {
      std::istringstream digits(token_);
      digits.imbue(std::locale::classic());
      double value = 0;
      // If the number is too large, the stream fails and gives the largest double.
      if (!(digits >> value) && value > 1) { value = HUGE_VAL; }
      if (value > FLT_MAX) { return Fail("too large a number", at); }
      Advance();
      Emit(Program::NUMBER, 0, at);
      if (error_.empty()) { program_->numbers[numbers_++] = value; }
      return false;
    }
    if (kind_ == NAME) { return Named(); }
    if (Accept("(")) {
      const bool is_comparison = Deeper(&FormulaParser::Choice, at);
      if (!Accept(")")) { Unexpected("expected \")\""); }
      return is_comparison;
    }
    return Unexpected("expected a number, a name or (");
  }

  bool Named() {
    const std::string name = token_;
    const size_t at = position_;
    Advance();
    if (name == "p") {
      Emit(Program::P, 0, at);
      return false;
    }
    std::string known = "p";
    for (const Function& function : Functions()) {
      if (name == function.name) { return Call(function, at); }
      known += std::string(", ") + function.name;
    }
    return Fail("unknown name \"" + name + "\" (there are " + known + ")"
        + Meant(name), at);
  }

  bool Call(const Function& function, const size_t at) {
    const std::string name = function.name;
    if (!Accept("(")) { Unexpected("expected \"(\" after " + name); }
    for (int i = 0; i < function.operands; ++i) {
      if (i && !Accept(",")) {
        Unexpected("expected \",\": " + name + " takes 2 arguments");
      }
      Deeper(&FormulaParser::NumberOfChoice, at);
    }
    if (!Accept(")")) { Unexpected("expected \")\""); }
    Emit(function.step, function.operands, at);
    return false;
  }

  const std::string text_;
  Program* program_;
  int numbers_, stack_, nesting_;
  Kind kind_;
  std::string token_, error_;
  size_t position_, next_position_;
};

}  // namespace caffe

#endif  // CAFFE_FORMULA_PARSER_HPP_
