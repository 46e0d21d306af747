"""The language of formulas: the common part of C, NumPy and Vega's expressions. Formulas are parsed, never run as code.

    + - * / ( ) numbers, p, parameters, pow(a, b) min(a, b) max(a, b) exp log log1p sqrt abs of one argument,
    and a choice:  p > 0.5 ? a : b  with < <= > >= == !=

A formula becomes a program: a list of steps. A step pushes a number, a parameter or p on a stack, or it pops the operands of
an operation and pushes the result. layers/native/formula_parser.hpp does the same in C++, with the same names and messages.
"""

import functools
import operator
import re

import numpy as np

from base.did_you_mean import did_you_mean

MOST_CHARACTERS = 200
MOST_NESTING = 32  # of parentheses, arguments, signs and choices
MOST_STACK = 32  # values on a program's stack

FUNCTIONS = {"pow": 2, "min": 2, "max": 2, "exp": 1, "log": 1, "log1p": 1, "sqrt": 1, "abs": 1}  # name: number of arguments
COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")
# Notations of other languages, and what to write instead.
MEANT = {"**": "pow(a, b)", "^": "pow(a, b)", "--": "- -", "=": "==", "ln": "log", "fabs": "abs", "power": "pow"}

TOKEN = re.compile(r" *(?:"
                   r"(?P<number>(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
                   r"|(?P<sign>\*\*|--|&&|\|\||<=|>=|==|!=|[-+*/(),?:<>^=])|(?P<end>\Z))", re.ASCII)
FLOAT_MAX = float(np.finfo(np.float32).max)

# The range of p for a user's formula: the normal float32 numbers between 0 and 1. It is never evaluated at exactly 0 or 1.
LEAST, MOST = float(np.finfo(np.float32).tiny), 1 - 2.0**-24
CHECKED = np.array([*(np.arange(1, 1000) / 1000), *(2.0 ** -np.arange(1, 127)), *(1 - 2.0 ** -np.arange(1, 25))])


class FormulaError(ValueError):
    """A mistake in a formula. The message is one line, then the formula, and a caret below the mistake."""

    def __init__(self, text: str, position: int, message: str) -> None:
        shown = text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "..."
        shown = "".join(character if character.isprintable() else " " for character in shown)
        super().__init__(f"formula, character {position + 1}: {message}\n    {shown}\n    {' ' * position}^")


def _pow(base, exponent):
    return base**exponent  # for some exponents, NumPy's ** is faster than np.power


NUMPY = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "negative": operator.neg, "pow": _pow,
         "min": np.minimum, "max": np.maximum, "exp": np.exp, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt, "abs": np.abs,
         "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
         "choose": np.where}
OPERANDS = FUNCTIONS | dict.fromkeys(("+", "-", "*", "/", *COMPARISONS), 2) | {"negative": 1, "choose": 3}


class Formula:
    """A formula of p and of parameters.

    Parameters
    ----------
    text : str
    parameters : tuple of str
        The names that it may use in addition to p.

    Attributes
    ----------
    program : list of (str, float or str)
        Its steps: ("number", value), ("name", name) or (operation, number of operands).

    Raises
    ------
    FormulaError
        If the text is not a formula, or is longer or more deeply nested than the limits above.
    """

    def __init__(self, text: str, parameters: tuple[str, ...] = ()) -> None:
        self.text, self.names = text, ("p", *parameters)
        self.program = _Parser(text, self.names).program

    def __call__(self, **values: np.ndarray | float) -> np.ndarray | float:
        """The value of the formula for given values of p and the parameters, in the shape and dtype of the arrays among them.

        Where an operation gives infinity or NaN, so does the formula, without a warning.
        """
        stack = []
        with np.errstate(all="ignore"):
            for what, operand in self.program:
                if what == "number":
                    stack.append(operand)
                elif what == "name":
                    stack.append(values[operand])
                elif operand == 2:
                    second = stack.pop()
                    first = stack[-1]
                    stack[-1] = (NUMPY[what](first, second) if type(first) is not float or type(second) is not float
                                 else _of_numbers(what, values, first, second))
                elif operand == 1:
                    first = stack[-1]
                    stack[-1] = NUMPY[what](first) if type(first) is not float else _of_numbers(what, values, first)
                else:
                    stack[-3:] = [_of_numbers(what, values, *stack[-3:])]
        return stack[0]


def _of_numbers(what: str, values: dict, *operands: np.ndarray | float) -> np.ndarray | float:
    """An operation on Python numbers, computed in p's dtype as for arrays: 1 / 0 is infinite, and so is a number too large for
    p's dtype. The result is a Python number, which does not change the dtype of arrays that it is combined with.
    """
    kind = next((value.dtype.type for value in values.values() if hasattr(value, "dtype")), np.float64)
    result = NUMPY[what](*(kind(value) if type(value) is float else value for value in operands))
    return float(result) if np.ndim(result) == 0 and what not in COMPARISONS else result


@functools.lru_cache(maxsize=1024)
def parse(text: str, parameters: tuple[str, ...] = ()) -> Formula:
    """The formula of a text. Equal texts give the same object."""
    return Formula(text, parameters)


class _Parser:
    """A recursive descent parser. Each method parses one kind of expression, starting at the current token.

    A method returns whether the expression is a comparison: only a choice may contain one.
    """

    def __init__(self, text: str, names: tuple[str, ...]) -> None:
        self.text, self.names = text, names
        self.program: list[tuple[str, float | str]] = []
        self.stack = self.nesting = 0
        if len(text) > MOST_CHARACTERS:
            raise FormulaError(text, MOST_CHARACTERS, f"longer than {MOST_CHARACTERS} characters")
        self.next_position = 0
        self.advance()
        self.number(self.choice)
        if self.kind != "end":
            self.unexpected("expected an operator" if self.kind in ("number", "name") or self.token == "(" else "")

    def fail(self, message: str, position: int | None = None) -> None:
        raise FormulaError(self.text, self.position if position is None else position, message)

    def unexpected(self, wanted: str) -> None:
        found = "the end" if self.kind == "end" else f'"{self.token}"'
        meant = f"; write {MEANT[self.token]}" if self.token in MEANT else ""
        self.fail(f"{wanted}, found {found}{meant}" if wanted else f"{found} does not fit here{meant}")

    def advance(self) -> None:
        found = TOKEN.match(self.text, self.next_position)
        if not found:
            start = self.next_position
            while self.text[start] == " ":
                start += 1
            self.fail("a character that no formula has", start)
        self.kind = found.lastgroup
        self.token, self.position, self.next_position = found[self.kind], found.start(self.kind), found.end()

    def accept(self, sign: str) -> bool:
        if self.kind == "sign" and self.token == sign:
            self.advance()
            return True
        return False

    def emit(self, what: str, operand: float | str, position: int) -> None:
        """Add a step to the program; `position` is its place in the text, for an error."""
        self.stack += 1 if what in ("number", "name") else 1 - operand
        if self.stack > MOST_STACK:
            self.fail("nested too deeply", position)
        self.program.append((what, operand))

    def operation(self, what: str, position: int) -> None:
        self.emit(what, OPERANDS[what], position)

    def deeper(self, parse_it, position: int) -> bool:
        self.nesting += 1
        if self.nesting > MOST_NESTING:
            self.fail("nested too deeply", position)
        result = parse_it()
        self.nesting -= 1
        return result

    def number(self, parse_it) -> bool:
        """Parse an expression with `parse_it`; fail if it is a comparison."""
        start = self.position
        if parse_it():
            self.fail("a comparison needs a choice: write it as in p > 0.5 ? 1 : 0", start)
        return False

    def choice(self) -> bool:
        start = self.position
        is_comparison = self.comparison()
        at = self.position
        if not self.accept("?"):
            return is_comparison
        if not is_comparison:
            self.fail("a choice needs a comparison before its ?, as in p > 0.5 ? 1 : 0", start)
        self.deeper(lambda: self.number(self.choice), at)
        if not self.accept(":"):
            self.unexpected('expected ":"')
        self.deeper(lambda: self.number(self.choice), at)
        self.operation("choose", at)
        return False

    def comparison(self) -> bool:
        start = self.position
        left = self.sum()
        if self.kind != "sign" or self.token not in COMPARISONS:
            return left
        if left:
            self.fail("a comparison needs a choice: write it as in p > 0.5 ? 1 : 0", start)
        what, at = self.token, self.position
        self.advance()
        self.number(self.sum)
        self.operation(what, at)
        return True

    def sum(self) -> bool:
        return self.chain(("+", "-"), self.product)

    def product(self) -> bool:
        return self.chain(("*", "/"), self.signed)

    def chain(self, signs: tuple[str, ...], parse_it) -> bool:
        """Parse operands with signs between them, which are left-associative."""
        start = self.position
        left = parse_it()
        while self.kind == "sign" and self.token in signs:
            if left:
                self.fail("a comparison needs a choice: write it as in p > 0.5 ? 1 : 0", start)
            what, at = self.token, self.position
            self.advance()
            self.number(parse_it)
            self.operation(what, at)
        return left

    def signed(self) -> bool:
        at = self.position
        if not self.accept("-"):
            return self.primary()
        self.deeper(lambda: self.number(self.signed), at)
        self.operation("negative", at)
        return False

    def primary(self) -> bool:
        what, token, at = self.kind, self.token, self.position
        if what == "number":
            value = float(token)
            if value > FLOAT_MAX:
                self.fail("too large a number", at)
            self.advance()
            self.emit("number", value, at)
            return False
        if what == "name":
            return self.named(token, at)
        if self.accept("("):
            is_comparison = self.deeper(self.choice, at)
            if not self.accept(")"):
                self.unexpected('expected ")"')
            return is_comparison
        self.unexpected("expected a number, a name or (")

    def named(self, name: str, at: int) -> bool:
        self.advance()
        if name in FUNCTIONS:
            if not self.accept("("):
                self.unexpected(f'expected "(" after {name}')
            for index in range(FUNCTIONS[name]):
                if index and not self.accept(","):
                    self.unexpected(f'expected ",": {name} takes 2 arguments')
                self.deeper(lambda: self.number(self.choice), at)
            if not self.accept(")"):
                self.unexpected('expected ")"')
            self.operation(name, at)
        elif name in self.names:
            self.emit("name", name, at)
        else:
            known = (*self.names, *FUNCTIONS)
            hint = f"; write {MEANT[name]}" if name in MEANT else did_you_mean(name, known)
            self.fail(f'unknown name "{name}" (there are {", ".join(known)}){hint}', at)
        return False
