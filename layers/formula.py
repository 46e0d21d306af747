"""The language of formulas: what C, NumPy and Vega's expressions have in common, parsed and never evaluated as code.

    + - * / ( ) numbers, p, parameters, pow(a, b) min(a, b) max(a, b) exp log log1p sqrt abs of one argument,
    and a choice:  p > 0.5 ? a : b  with < <= > >= == !=

A formula becomes a program: a list of steps, each of which puts a number or p on a stack, or takes an operation's operands
from it and puts the result there. The twin of layers/native/formula_parser.hpp, with the same names and error messages.
"""

import functools
import operator
import re

import numpy as np

from base.did_you_mean import did_you_mean

MOST_CHARACTERS = 200
MOST_NESTING = 32  # of parentheses, arguments, signs and choices
MOST_STACK = 32  # of a program, while it runs

FUNCTIONS = {"pow": 2, "min": 2, "max": 2, "exp": 1, "log": 1, "log1p": 1, "sqrt": 1, "abs": 1}  # and their arguments
COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")
# What people write who know other languages.
MEANT = {"**": "pow(a, b)", "^": "pow(a, b)", "--": "- -", "=": "==", "ln": "log", "fabs": "abs", "power": "pow"}

TOKEN = re.compile(r" *(?:"
                   r"(?P<number>(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
                   r"|(?P<sign>\*\*|--|&&|\|\||<=|>=|==|!=|[-+*/(),?:<>^=])|(?P<end>$))", re.ASCII)
FLOAT_MAX = float(np.finfo(np.float32).max)

# Where a user's formula is asked: single precision's numbers between 0 and 1. Exactly 0 and 1 it need not know.
LEAST, MOST = float(np.finfo(np.float32).tiny), 1 - 2.0**-24
CHECKED = np.array([*(np.arange(1, 1000) / 1000), *(2.0 ** -np.arange(1, 127)), *(1 - 2.0 ** -np.arange(1, 25))])


class FormulaError(ValueError):
    """A mistake in a formula: one line, then the formula, and a caret under the place."""

    def __init__(self, text: str, position: int, message: str) -> None:
        shown = text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "..."
        shown = "".join(character if character.isprintable() else " " for character in shown)
        super().__init__(f"formula, character {position + 1}: {message}\n    {shown}\n    {' ' * position}^")


def _pow(base, exponent):
    return base**exponent  # NumPy has faster ways for some exponents behind this sign than behind np.power


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
        The names that it may use beside p.

    Attributes
    ----------
    program : list of (str, float or str)
        Its steps: ("number", value), ("name", which) or (operation, number of operands).

    Raises
    ------
    FormulaError
        If the text is none, or is longer or nested deeper than the limits above.
    """

    def __init__(self, text: str, parameters: tuple[str, ...] = ()) -> None:
        self.text, self.names = text, ("p", *parameters)
        self.program = _Parser(text, self.names).program

    def __call__(self, **values: np.ndarray | float) -> np.ndarray | float:
        """The value where p and the parameters have these: of the type and shape of the arrays among them.

        Infinite or NaN where the operations are, without a warning.
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
    """An operation on numbers that are no arrays, as arrays of p's type compute: 1 / 0 is infinite, and so is what single
    precision cannot hold. The result is a number again, which does not widen the arrays that it meets.
    """
    kind = next((value.dtype.type for value in values.values() if hasattr(value, "dtype")), np.float64)
    result = NUMPY[what](*(kind(value) if type(value) is float else value for value in operands))
    return float(result) if np.ndim(result) == 0 and what not in COMPARISONS else result


@functools.lru_cache(maxsize=1024)
def parse(text: str, parameters: tuple[str, ...] = ()) -> Formula:
    """The formula of a text; the same object for the same text."""
    return Formula(text, parameters)


class _Parser:
    """Recursive descent. Each method parses one kind of expression from the current token on.

    They return whether what they parsed is a comparison, which only a choice can use.
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
        """Add a step to the program, where the text has it."""
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
        """What `parse_it` parses, which must not be a comparison."""
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
        """Operands with signs between them, which bind from the left."""
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
