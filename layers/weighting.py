"""Losses as example weightings: functions of p, the probability that a model gives to an example's label.

With P = softmax(scores), p = P[label] and g = P - onehot(label), each loss has for an example of a batch

    gradient of the scores = loss_weight / S * c(p) * g        c: multiplier, S: normaliser
    reported value         = V                                 not used for the gradient

As ||g||_1 = 2 (1 - p), the L1 norm of the gradient c(p) * g is 2 (1 - p) c(p): the example's emphasis. The emphasis density
is the emphasis as a function of p, divided by its integral over [0, 1]. Its mode psi is the p of the examples that count most.

The formulas are in table.py. DM: derivative manipulation, arXiv 1905.11233. IMAE, arXiv 1903.12141, is DM with lambda = 1
and beta = T. layers/native/weighting.hpp computes the same in C++, with the same names.
"""

import math
import re

import numpy as np

from base.did_you_mean import did_you_mean
from layers import formula
from layers.table import BY_NAME, CUSTOM, DN, OWN, WEIGHTINGS, Row

FLT_MIN = formula.LEAST  # Caffe takes logarithms of max(p, FLT_MIN), in double precision too
KINKS = frozenset(("min", "max", "abs", "choose"))  # operations of formulas that are not differentiable everywhere


class Weighting:
    """A weighting, as functions of p: a float32 or float64 array of any shape, probabilities in [0, 1].

    multiplier, emphasis, weight, distance and density work element by element and return p's shape and dtype. normaliser
    and value take p of all examples of a batch that are not ignored, in any shape, and sum in float64.

    Parameters
    ----------
    name : str
        One of WEIGHTINGS. Names with _DN are derivative normalised: S is the batch's sum of emphasis instead of the number of
        examples. DM is always derivative normalised.
    **given : float or str
        The row's parameters by name, DM's lambda as `lam`; those not given have their defaults. For CUSTOM and CUSTOM_DN a
        formula of p: either `formula`, of c(p), or `emphasis`.

    Attributes
    ----------
    name : str
    row : Row
        The weighting's row in table.py.
    parameters : dict
        The numbers, and the text of a user's formula, by name.

    Raises
    ------
    ValueError
        If the name or a parameter is unknown, a number is out of range, or a formula has a mistake or is negative or not
        finite somewhere on (0, 1), or 0 everywhere, in single precision too.

    Examples
    --------
    >>> Weighting("SCE", alpha=6, beta=0.1).multiplier(np.array([0.0, 0.5]))
    array([6.        , 6.46051702])
    """

    def __init__(self, name: str, **given: float | str) -> None:
        self.name, self.row = name, row_of(name)
        keywords = {parameter.keyword: parameter.name for parameter in self.row.parameters if parameter.keyword}
        given = {keywords.get(key, key): value for key, value in given.items()}
        known = parameters_of(self.row)
        for key in given:
            if key not in known:
                raise ValueError(f"{name} has no parameter {key!r}{did_you_mean(key, known)} "
                                 f"({'it has ' + ', '.join(known) if known else 'it has none'})")
        if self.row.name == CUSTOM:
            self._read_own(given)
        else:
            self._read_numbers(given)
        if not self.row.released or self.row.emphasis:  # of those released, only DM can exceed single precision
            self._check()

    def _read_numbers(self, given: dict[str, float]) -> None:
        self.parameters = {parameter.name: given.get(parameter.name, parameter.default) for parameter in self.row.parameters}
        for parameter in self.row.parameters:
            value = self.parameters[parameter.name]
            if not (math.isfinite(value) and parameter.holds(value)):
                raise ValueError(f"{parameter.name} is {value}; it must be {parameter.range}")
            self.parameters[parameter.name] = float(value)  # a NumPy scalar would widen float32 probabilities to its own type
        names = tuple(self.parameters)
        self._multiplier, self._emphasis, self._distance, self._mode, self._peak = (
            formula.parse(text, names) if text else None
            for text in (self.row.multiplier, self.row.emphasis, self.row.distance, self.row.mode, self.row.peak))

    def _read_own(self, given: dict[str, str]) -> None:
        if len(given) != 1:
            raise ValueError(f"{self.name} needs a formula of p or an emphasis, and not both: "
                             'formula: "pow(p, 0.3)" is c(p), emphasis: "1" weighs all examples alike')
        self.parameters = dict(given)
        self._multiplier, self._emphasis = (formula.parse(given[key]) if key in given else None for key in OWN)
        self._distance, self._mode, self._peak = formula.parse(self.row.distance), None, None

    def _check(self) -> None:
        """Raise a ValueError if c(p) or the emphasis is negative, infinite or NaN somewhere on (0, 1), or 0 everywhere."""
        functions = [(self.multiplier, "c(p)"), (self.emphasis, "the emphasis")]
        for function, what in reversed(functions) if self._emphasis else functions:  # the given one first
            values = function(formula.CHECKED)
            with np.errstate(all="ignore"):
                narrow = function(formula.CHECKED.astype(np.float32))
            largest = float(narrow[np.isfinite(narrow)].max(initial=0))
            wrong = ~((values >= -1e-9 * largest) & np.isfinite(narrow))
            if wrong.any():
                at = int(wrong.argmax())
                value = values[at]
                is_what = ("not a number" if np.isnan(value) else f"negative, {value:g}," if -np.inf < value < 0
                           else "too large for single precision")
                raise ValueError(f"{self}: {what} is {is_what} at p = {formula.CHECKED[at]:g}; it must be finite and at "
                                 "least 0 on (0, 1)")
            if largest <= 0:
                raise ValueError(f"{self}: {what} is 0 on all of (0, 1), so that no example counts")

    def __repr__(self) -> str:
        return self.name + "".join(f"{sign} {key} {value if isinstance(value, str) else f'{value:g}'}" for sign, (key, value)
                                   in zip(("", *",,,"), self.parameters.items(), strict=False))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weighting) and (self.name, self.parameters) == (other.name, other.parameters)

    def __hash__(self) -> int:
        return hash((self.name, *self.parameters.items()))

    @property
    def derivative_normalised(self) -> bool:
        """Whether S is the batch's sum of emphasis; else S counts the examples."""
        return self.name.endswith(DN) or self.row.always_normalised

    def _value(self, function: formula.Formula, p: np.ndarray) -> np.ndarray:
        """A formula's value at p, as an array. A user's formula is never evaluated at exactly 0 or 1."""
        p = np.asarray(p)
        if self.row.name == CUSTOM:
            p = np.clip(p, p.dtype.type(formula.LEAST), p.dtype.type(formula.MOST))
        value = function(p=p, **self.parameters)
        return np.full_like(p, value) if type(value) is float else value

    def multiplier(self, p: np.ndarray) -> np.ndarray:
        """c(p), the factor of g in the gradient. For a loss that is a function l(p), c(p) = -p l'(p)."""
        if self._multiplier:
            return self._value(self._multiplier, p)
        return self.emphasis(p) / (2 - 2 * p + 1e-6)  # emphasis / ||g||_1; the 1e-6 keeps it finite at p = 1

    def emphasis(self, p: np.ndarray) -> np.ndarray:
        """c(p) * ||g||_1, the L1 norm of an example's gradient before S (for DM up to the 1e-6 in the multiplier)."""
        if self._emphasis:
            return self._value(self._emphasis, p)
        return 2 * self.multiplier(p) * (1 - p)

    def weight(self, p: np.ndarray) -> np.ndarray:
        """The term of an example in S: its emphasis if S is derivative normalised, else 1, so that S counts the examples."""
        return self.emphasis(p) if self.derivative_normalised else np.ones_like(p)

    def distance(self, p: np.ndarray) -> np.ndarray:
        """The distance, of which V is the weighted mean: the row's formula; 1 - p for names with _DN."""
        return 1 - p if self.name.endswith(DN) else self._distance(p=p, **self.parameters)

    def normaliser(self, p: np.ndarray) -> float:
        """S, the normaliser of a batch with label probabilities p. It is positive even if p is empty."""
        return self.normaliser_and_value(p)[0]

    def value(self, p: np.ndarray) -> float:
        """V, the reported value of a batch: the sum of weight * distance, divided by S; 0 if p is empty."""
        return self.normaliser_and_value(p)[1]

    def normaliser_and_value(self, p: np.ndarray) -> tuple[float, float]:
        """S and V of a batch; see `normaliser` and `value`."""
        weight = self.weight(p)
        # For CCE, S is that of stock Caffe: the number of examples, at least 1.
        normaliser = float(max(1, p.size)) if self.name == "CCE" else 1e-8 + float(weight.sum(dtype=np.float64))
        return normaliser, float((weight * self.distance(p)).sum(dtype=np.float64)) / normaliser

    def mode(self) -> float:
        """psi, the p with the largest emphasis: from the row's formula or, without one, searched to within 1e-9.

        Raises
        ------
        ValueError
            If the emphasis has no peak: DM with beta <= 0.
        """
        if self._peak and not self._peak(**self.parameters) > 0:
            raise ValueError(f"{self} has no mode: its emphasis has a peak only for {self.row.peak} > 0")
        return float(self._mode(**self.parameters)) if self._mode else self._found_mode()

    def _found_mode(self) -> float:
        """Search psi: evaluate a grid of p, and repeat with a finer grid around the best."""
        low, high = 0.0, 1.0
        while high - low > 1e-9:
            p = np.linspace(low, high, 2001)
            best, step = p[self.emphasis(p).argmax()], p[1] - p[0]
            low, high = max(0.0, best - step), min(1.0, best + step)
        return float(best)

    def gradient_bound(self) -> float:
        """The upper bound of the L1 norm of a batch's gradient, sum c(p) ||g||_1 / S, with a loss weight of 1.

        It is 1 if S is the sum of emphasis. If S counts the examples, it is the emphasis at psi.
        """
        if self.derivative_normalised:
            return 1.0
        mode = self.mode()
        return float(self.emphasis(np.array([mode, np.nextafter(mode, 1)])).max())  # GCE_TRUNCATED is 0 at k itself

    def density(self, p: np.ndarray) -> np.ndarray:
        """The emphasis density at p: the emphasis divided by its integral over [0, 1]."""
        # Tanh-sinh quadrature is exact to rounding, even if p^lambda is not differentiable at 0. Kinks need many more nodes.
        steps = self._emphasis or self._multiplier
        count = 256 if KINKS.isdisjoint(what for what, _ in steps.program) else 65536
        t, step = np.linspace(-4, 4, count + 1, retstep=True)
        nodes = 1 / (1 + np.exp(-np.pi * np.sinh(t)))
        areas = step * np.pi * np.cosh(t) * nodes * (1 - nodes)
        return self.emphasis(p) / float(self.emphasis(nodes) @ areas)


def row_of(name: str) -> Row:
    """The row of the weighting with a given name.

    Raises
    ------
    ValueError
        If there is no such weighting.
    """
    if name not in BY_NAME:
        # difflib would suggest MAE for IMAE.
        hint = "; IMAE is DM with lambda 1" if name.upper() == "IMAE" else did_you_mean(name, WEIGHTINGS)
        raise ValueError(f"unknown weighting {name!r}{hint} (one of {', '.join(WEIGHTINGS)})")
    return BY_NAME[name]


def chosen(text: str) -> dict[str, str]:
    """Read the weighting in a command line: a name, or a formula of c(p) for CUSTOM.

    Returns
    -------
    dict
        Its `weighting`, and for CUSTOM its `formula`.

    Raises
    ------
    ValueError
        If the text is neither.
    """
    if re.fullmatch(r"(?!p\b)[A-Za-z_][\w-]*", text, re.ASCII):
        return {"weighting": row_of(text) and text}
    return {"weighting": CUSTOM, "formula": Weighting(CUSTOM, formula=text).parameters["formula"]}


def parameters_of(row: Row) -> tuple[str, ...]:
    """The names of a row's parameters, as in param_str; for CUSTOM those of its formulas."""
    return OWN if row.name == CUSTOM else tuple(parameter.name for parameter in row.parameters)


def weighting_with(name: str, given: dict[str, float | str]) -> Weighting:
    """The weighting `name` with a layer's parameters, by the names of param_str. Those of other weightings are ignored.

    Raises
    ------
    ValueError
        As Weighting, and if a formula is given for a weighting other than CUSTOM.
    """
    taken = parameters_of(row_of(name))
    if own := [key for key in OWN if key in given and key not in taken]:
        raise ValueError(f"{name}: a formula or an emphasis is for the weighting {CUSTOM}, but {own[0]} is {given[own[0]]!r}")
    return Weighting(name, **{key: given[key] for key in taken if key in given})
