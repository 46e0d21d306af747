"""The language of formulas: its values, its error messages, and that the C++ parser agrees with Python's."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import formula
from layers.table import CUSTOM
from layers.weighting import Weighting

PROBE = Path(__file__).parent / "native/formula_probe.cpp"
P = (0.3, 1e-12, 0.001, 0.1, 0.5, 0.77, 0.999, 1 - 1e-7)


@pytest.mark.parametrize(("text", "value"), [
    ("1", 1), ("p", 0.25), ("1 - 2 * p", 0.5), ("1 - 2 - p", -1.25), ("8 / 4 / 2", 1), ("-p * 2", -0.5), ("- -p", 0.25),
    ("2 * (1 - p)", 1.5), ("pow(p, 2)", 0.0625), ("pow(2, -p - 0.75)", 0.5), ("min(p, 0.1)", 0.1), ("max(p, 0.1)", 0.25),
    ("exp(log(p))", 0.25), ("log1p(p - p)", 0), ("sqrt(p)", 0.5), ("abs(p - 1)", 0.75), ("p < 0.5 ? 1 : 2", 1),
    ("p > .5 ? 1 : p >= 0.25 ? 3 : 4", 3), ("(p == 0.25) ? 1 : 0", 1), ("p != 0.25 ? 1 : 0", 0),
    ("p <= 1e-1 ? 1. : 2.5E1", 25),
    ("1 + (p > 0.1 ? 1 : 2) * 2", 3), (" 1+1 ", 2), ("1 / 0", np.inf), ("0 / 0", np.nan), ("pow(0 - 1, 0.5)", np.nan),
    ("1 - p > 0.5 ? 1 : 2", 1)])
def test_value(text, value):
    parsed = formula.parse(text)
    for p in np.float64(0.25), np.array([0.25]), np.array([[0.25]], "f"):
        found = parsed(p=p)
        np.testing.assert_allclose(np.broadcast_to(found, np.shape(p)), np.full(np.shape(p), value), rtol=1e-6)
        assert isinstance(found, float) or found.dtype == p.dtype


@pytest.mark.parametrize(("text", "position", "message"), [
    ("", 0, "expected a number, a name or (, found the end"),
    ("pow(p, 0.3 * exp(-2 * p)", 24, 'expected ")", found the end'),
    ("2p", 1, 'expected an operator, found "p"'),
    ("p p", 2, 'expected an operator, found "p"'),
    ("p (1)", 2, 'expected an operator, found "("'),
    ("p ** 2", 2, '"**" does not fit here; write pow(a, b)'),
    ("p^2", 1, '"^" does not fit here; write pow(a, b)'),
    ("p--p", 1, '"--" does not fit here; write - -'),
    ("ln(p)", 0, "unknown name \"ln\" (there are p, pow, min, max, exp, log, log1p, sqrt, abs); write log"),
    ("1 + pw(p, 2)", 4, 'unknown name "pw" (there are p, pow, min, max, exp, log, log1p, sqrt, abs); did you mean "pow"?'),
    ("__import__(p)", 0, 'unknown name "__import__"'),
    ("p.real", 1, "a character that no formula has"),
    ("p; 1", 1, "a character that no formula has"),
    ("lambda p: p", 0, 'unknown name "lambda"'),
    ("pow(p)", 5, 'expected ",": pow takes 2 arguments, found ")"'),
    ("exp(p, 1)", 5, 'expected ")", found ","'),
    ("exp p", 4, 'expected "(" after exp, found "p"'),
    ("p > 0.5", 0, "a comparison needs a choice: write it as in p > 0.5 ? 1 : 0"),
    ("1 + (p > 0.5)", 4, "a comparison needs a choice"),
    ("p < 0.2 < 0.3 ? 1 : 2", 0, "a comparison needs a choice"),
    ("p ? 1 : 2", 0, "a choice needs a comparison before its ?, as in p > 0.5 ? 1 : 0"),
    ("p > 1 ? 2", 9, 'expected ":", found the end'),
    ("p = 1 ? 1 : 2", 2, '"=" does not fit here; write =='),
    ("010", 1, 'expected an operator, found "10"'),
    ("1e39", 0, "too large a number"),
    ("β * p", 0, "a character that no formula has"),
    ("p \n", 2, "a character that no formula has"),
    ("p" + " + p" * 50, 200, "longer than 200 characters"),
    ("(" * 40 + "p" + ")" * 40, 32, "nested too deeply"),
    ("-" + " -" * 40 + "p", 64, "nested too deeply"),
])
def test_a_mistake_is_one_line_with_a_caret_under_it(text, position, message):
    with pytest.raises(formula.FormulaError) as error:
        formula.parse(text)
    line, shown, caret = str(error.value).split("\n")
    assert message in line and line.startswith(f"formula, character {position + 1}: ")
    assert shown.startswith("    " + text[:200].replace("\n", " ")) and caret == "    " + " " * position + "^"


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.text(max_size=30) | st.text("p01.+-*/()<>?:, epowxlg", max_size=40))
def test_any_text_is_a_formula_or_a_mistake(text):
    try:
        formula.parse(text)(p=np.array([0.5]))
    except formula.FormulaError as error:
        assert str(error).count("\n") == 2


# --- the twin in C++ -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def probe(compiled):
    """A function that takes formulas and returns the C++ parser's answer for each, a line."""
    program = compiled(PROBE)

    def run(formulas: list[str]) -> list[str]:
        lines = "".join(text.replace("\n", "\x1e") + "\n" for text in formulas)
        done = subprocess.run([program, *map(repr, P)], input=lines.encode(), capture_output=True)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.decode(errors="replace").split("\n")[:-1]
        assert len(lines) == len(formulas)
        return lines

    return run


class Random:
    """Random formulas of the grammar, and mutations of them."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def pick(self, choices):
        return choices[self.random.integers(len(choices))]

    def formula(self, depth: int) -> str:
        if depth == 0 or self.random.random() < 0.15:
            return self.pick(["p", "p", "p", "1", "2", "0.5", f"{self.random.uniform(0, 5):.3g}", "1e-3", ".25", "(1 - p)"])
        a, b = (self.formula(depth - 1) for _ in range(2))
        return self.pick([lambda: f"{a} + {b}", lambda: f"{a} * {b}", lambda: f"({a}) * ({b})", lambda: f"({a}) / ({b})",
                          lambda: f"abs({a} - {b})", lambda: f"pow({a}, {b})", lambda: f"exp({a})", lambda: f"log1p({a})",
                          lambda: f"sqrt({a})", lambda: f"min({a}, {b})", lambda: f"max({a}, {b})", lambda: f"-log({a})",
                          lambda: f"(p {self.pick(formula.COMPARISONS)} {self.random.uniform(0, 1):.2f} ? {a} : {b})",
                          lambda: f"exp(-({a}))"])()

    def mutated(self) -> str:
        text = list(self.formula(self.random.integers(1, 5)))
        for _ in range(self.random.integers(1, 4)):
            at = self.random.integers(len(text) + 1)
            what = self.random.integers(3)
            if what == 0 and at < len(text):
                del text[at]
            elif what == 1:
                text.insert(at, self.pick([*"p()+-*/,?:<>=!^&|. 0189eE_xlog;[]{}'\"\\%#@~\t\nβ", "exp(", "pow(", "--", "**"]))
            else:
                text[at:at] = text[self.random.integers(len(text) + 1):][:8]
        return "".join(text)

    def nested(self) -> str:
        opening = self.pick(["(", "exp(", "-(", "pow(p, ", "- "])
        count = int(self.random.integers(1, 60))
        return opening * count + "p" + ")" * (count if opening != "- " else 0)


def expectation(text: str) -> tuple[str, Weighting | None]:
    """Python's answer: an error message without its suggestion, or the weighting."""
    try:
        return "", Weighting(CUSTOM, formula=text)
    except formula.FormulaError as error:
        line, shown, caret = str(error).split("\n")
        return "\x1f".join([line.split("; did you mean")[0], shown, caret]), None
    except ValueError as error:
        return str(error).removeprefix(f"CUSTOM formula {text}: "), None


def check(lines: list[str], formulas: list[str]) -> None:
    """C++ and Python report the same mistakes, and values within 1e-6 where double precision has as many digits."""
    compared = compared_narrow = accepted = 0
    for text, line in zip(formulas, lines, strict=True):
        wrong, weighting = expectation(text)
        if wrong:
            assert line.startswith("error "), (text, wrong, line)
            if text.isascii() and text.isprintable():
                assert line.removeprefix("error ") == wrong, text
            else:
                assert line.split("\x1f")[0].removeprefix("error ") == wrong.split("\x1f")[0], text
            continue
        assert line.startswith("value "), (text, line)
        accepted += 1
        found = np.array(line.split()[1:], float)
        p = np.array(P)
        expected, precise = weighting.multiplier(p), weighting.multiplier(p.astype(np.longdouble)).astype(float)
        sound = abs(expected - precise) <= 1e-9 * abs(precise)
        compared += sound.all()
        np.testing.assert_allclose(found[:-1][sound], expected[sound], rtol=1e-6, atol=1e-300, err_msg=text)
        narrow = float(weighting.multiplier(p[:1].astype(np.float32))[0])
        if abs(narrow - expected[0]) <= 1e-6 * abs(expected[0]):
            compared_narrow += 1
            np.testing.assert_allclose(found[-1], narrow, rtol=1e-5, atol=1e-37, err_msg=text)
    assert compared > 0.95 * accepted > 0 and compared_narrow > 0.8 * accepted


def random_formulas(count: int, seed: int) -> list[str]:
    random = Random(seed)
    kinds = [lambda: random.formula(random.random.integers(1, 5)), random.mutated, random.nested]
    return [random.pick(kinds[:2] * 9 + kinds[2:])() for _ in range(count)]


def test_cpp_says_and_computes_the_same(probe):
    formulas = random_formulas(10_000, 1)
    formulas += ["", "p" * 201, "p\n", "\np", "p + \n1", "1e400", "1e-400", "0 * p", "p - 0.5", "exp(100 * p)",
                 "log(p - 1)", "sqrt(exp(91))", "3 / p", "1e9 * log(1 + 1e-9 * p)"]
    check(probe(formulas), formulas)
