"""Generate code from layers/table.py for the build of Caffe: the fields of loss_param, and C++ and CUDA code of the rows."""

from layers import formula
from layers.table import BY_NAME, CUSTOM, DN, OWN, ROWS, Parameter, Row

# Numbers and defaults in the proto for the fields of released prototxts and older caffemodels. Other fields follow OWN's.
RELEASED_FIELDS = {"lamda_p": (5, 1), "scale": (6, 1), "q": (8, 0.7)}
FIRST_OWN = 9
STEPS_IN_CPP = {name: f"{name}({', '.join(['{}'] * count)})" for name, count in formula.FUNCTIONS.items()} | {
    "min": "Smaller<Dtype>({}, {})", "max": "Larger<Dtype>({}, {})", "abs": "Magnitude({})", "negative": "(-{})",
    "choose": "({} ? {} : {})"}


def fields() -> dict[str, int]:
    """The fields of loss_param for formulas and for the parameters of rows, with their numbers in the proto."""
    numbers = {name: number for name, (number, _) in RELEASED_FIELDS.items()}
    numbers |= {name: FIRST_OWN + index for index, name in enumerate(OWN)}
    for row in ROWS:
        for parameter in row.parameters:
            numbers.setdefault(parameter.field or parameter.name, FIRST_OWN + len(numbers) - len(RELEASED_FIELDS))
    return numbers


def proto() -> str:
    """The lines that caffe.proto gets in its message LossParameter."""
    lines = ["// How much each example's gradient counts, as a function of p, the probability given to its label.",
             "// _DN: derivative normalised, i.e. divided by the batch's sum of weights. Written from layers/table.py.",
             "enum Weighting {",
             *(f"  {name} = {number};" for number, name in enumerate(BY_NAME)),
             "}",
             "// WeightedSoftmaxWithLoss: where absent, the environment variable CAFFE_WEIGHTING names it.",
             "optional Weighting weighting = 7;",
             "// What weightings take: layers/table.py says what it means. Where absent, each has its own default."]
    for name, number in fields().items():  # no meanings here: a change of one would recompile all of Caffe
        takers = [row.name for row in ROWS for parameter in row.parameters if name == (parameter.field or parameter.name)]
        default = f" [default = {RELEASED_FIELDS[name][1]}]" if name in RELEASED_FIELDS else ""
        lines += [f"// Of {', '.join(takers or [CUSTOM])}.",
                  f"optional {'string' if name in OWN else 'double'} {name} = {number}{default};"]
    return "".join(f"  {line}\n" for line in lines)


def cpp(text: str, parameters: tuple[str, ...]) -> str:
    """A formula as a C++ expression, with numbers of the type Dtype and operations in the formula's order."""
    stack = []
    for what, operand in formula.parse(text, parameters).program:
        if what == "number":
            stack.append(f"Dtype({operand!r})")
        elif what == "name":
            stack.append(operand)
        else:
            operands = stack[-operand:]
            del stack[-operand:]
            stack.append(STEPS_IN_CPP.get(what, f"({{}} {what} {{}})").format(*operands))
    return stack[0]


def _cases(names: tuple[str, ...]) -> str:
    return "\n".join(f"      case LossParameter_Weighting_{name}:" for name in names)


def _case(row: Row, text: str, names: tuple[str, ...]) -> str:
    """The case of a switch that returns a formula's value."""
    used = [name for what, name in formula.parse(text, _names(row)).program if what == "name"]
    values = "".join(f"        const Dtype {parameter.name} = parameter[{index}];\n"
                     for index, parameter in enumerate(row.parameters) if parameter.name in used)
    return f"{_cases(names)} {{  // {text}\n{values}        return {cpp(text, _names(row))};\n      }}\n"


def _names(row: Row) -> tuple[str, ...]:
    return tuple(parameter.name for parameter in row.parameters)


def _switch(cases: str, otherwise: str) -> str:
    return f"    switch (name) {{\n{cases}    }}\n    return {otherwise};\n"


def _parameter(row: Row, index: int, parameter: Parameter) -> str:
    """The C++ statements that read a parameter and append an error message if it is wrong."""
    field = parameter.field or parameter.name
    other = "" if field == parameter.name or parameter.name not in fields() else (
        f"        if (given.has_{parameter.name}() && !given.has_{field}()) {{\n"
        f'          wrong += "{row.name} reads its {parameter.name} from the field {field}, not {parameter.name}";\n'
        "        }\n")
    least, most = (f"{end!r}" if end is not None else f"{sign}HUGE_VAL"
                   for end, sign in ((parameter.least, "-"), (parameter.most, "")))
    values = (f'"{parameter.name}"', f"given.has_{field}() ? given.{field}() : {parameter.default!r}", least, most,
              str(parameter.ends).lower(), str(parameter.whole).lower(), f'"{parameter.range}"', f"&parameter[{index}]")
    return other + f"        wrong += TakeParameter({', '.join(values)});\n"


def header() -> str:
    """The text of weighting_rows.hpp, which layers/native/weighting.hpp includes."""
    written = [row for row in ROWS if row.name != CUSTOM]
    by_emphasis = [row for row in ROWS if row.emphasis]
    own = BY_NAME[CUSTOM]
    multipliers = "".join(_case(row, row.multiplier or f"({row.emphasis}) / (2 - 2 * p + 1e-6)", row.names) for row in written)
    multipliers += f"{_cases(own.names)}\n        return is_emphasis ? own(p) / (2 - 2 * p + Dtype(1e-6)) : own(p);\n"
    emphases = "".join(_case(row, row.emphasis, row.names) for row in by_emphasis)
    emphases += f"{_cases(own.names)}\n        return is_emphasis ? own(p) : 2 * own(p) * (1 - p);\n"
    emphases += (_cases(tuple(name for name, row in BY_NAME.items() if row not in by_emphasis and row is not own))
                 + "\n        return 2 * multiplier(p) * (1 - p);\n")
    distances = "".join(_case(row, row.distance, (row.name,)) for row in ROWS if row.distance != "1 - p")
    distances += (_cases(tuple(name for name, row in BY_NAME.items() if name.endswith(DN) or row.distance == "1 - p"))
                  + "\n        return 1 - p;\n")
    normalised = (_cases(tuple(name for name, row in BY_NAME.items() if name.endswith(DN) or row.always_normalised))
                  + "\n        return true;\n"
                  + _cases(tuple(name for name, row in BY_NAME.items() if not (name.endswith(DN) or row.always_normalised)))
                  + "\n        return false;\n")
    released = (_cases(tuple(name for name, row in BY_NAME.items() if row.released)) + "\n        return true;\n"
                + _cases(tuple(name for name, row in BY_NAME.items() if not row.released)) + "\n        return false;\n")
    reading = "".join(_cases(row.names) + "\n" + "".join(_parameter(row, *place) for place in enumerate(row.parameters))
                      + "        break;\n" for row in ROWS)
    return HEADER.format(count=len(BY_NAME), most=max(len(row.parameters) for row in ROWS),
                         multipliers=_switch(multipliers, "NAN"), emphases=_switch(emphases, "NAN"),
                         distances=_switch(distances, "NAN"),
                         normalised=_switch(normalised, "false"), released=_switch(released, "false"), reading=reading)


HEADER = """// Written by layers/generated_code.py from layers/table.py: change that.
#ifndef CAFFE_WEIGHTING_ROWS_HPP_
#define CAFFE_WEIGHTING_ROWS_HPP_

#include <cmath>
#include <string>

#include "caffe/layers/formula.hpp"
#include "caffe/layers/take_parameter.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {{

const int WEIGHTINGS = {count};
static_assert(LossParameter_Weighting_Weighting_ARRAYSIZE == WEIGHTINGS,
    "each weighting of caffe.proto needs a row of layers/table.py, and only those");

/// The rows of layers/table.py. Each switch has a case for every weighting and no default.
template <typename Dtype>
struct WeightingRows {{
  LossParameter_Weighting name;
  Dtype parameter[{most}];  ///< in the order of the row
  Formula<Dtype> own;  ///< the user's formula, for CUSTOM
  bool is_emphasis;    ///< whether `own` is the emphasis; otherwise it is c(p)

  CAFFE_HOST_DEVICE static Dtype Magnitude(const Dtype x) {{ return x < 0 ? -x : x; }}

  CAFFE_HOST_DEVICE Dtype multiplier(const Dtype p) const {{
{multipliers}  }}

  CAFFE_HOST_DEVICE Dtype emphasis(const Dtype p) const {{
{emphases}  }}

  CAFFE_HOST_DEVICE Dtype distance(const Dtype p) const {{
{distances}  }}

  CAFFE_HOST_DEVICE bool derivative_normalised() const {{
{normalised}  }}

  /// Whether it is one of the papers' weightings. Their c(p) needs no check on (0, 1).
  bool released() const {{
{released}  }}

  /// Reads the row's parameters, or takes their defaults; returns error messages.
  std::string ReadParameters(const LossParameter& given) {{
    std::string wrong;
    switch (name) {{
{reading}    }}
    return wrong;
  }}
}};

}}  // namespace caffe

#endif  // CAFFE_WEIGHTING_ROWS_HPP_
"""
