"""Losses as example weightings: closed forms of p, the probability that a model gives to an example's label.

With P = softmax(scores), p = P[label] and g = P - onehot(label), each of them has over a batch

    gradient of the scores = loss_weight / S * c(p) * g        c: multiplier, S: normaliser
    reported value         = V                                 which never reaches the gradient

As ||g||_1 = 2 (1 - p), the L1 norm of an example's gradient is c(p) * 2 (1 - p): its emphasis. The emphasis density
is that function of p divided by its integral over [0, 1]; its mode, psi, says which examples a loss cares about most.

The formulas stand in table.py. DM: derivative manipulation, arXiv 1905.11233. IMAE, arXiv 1903.12141, is DM with lambda = 1
and beta = T. The twin of layers/native/weighting.hpp, with the same names.
"""

import math
import re

import numpy as np

from base.did_you_mean import did_you_mean
from layers import formula
from layers.table import BY_NAME, CUSTOM, DN, OWN, WEIGHTINGS, Row

FLT_MIN = formula.LEAST  # Caffe's floor under the logarithm, in double precision too
KINKS = frozenset(("min", "max", "abs", "choose"))  # steps of formulas that may have no derivative somewhere


class Weighting:
    """A weighting, as functions of p: a float32 or float64 array of any shape, probabilities in [0, 1].

    multiplier, emphasis, weight, distance and density work element by element and return p's shape and type; normaliser
    and value take p of all the examples that count, any shape, and sum in float64.

    Parameters
    ----------
    name : str
        One of WEIGHTINGS. _DN, derivative normalised: the batch's gradients are divided by the sum of their L1 norms
        instead of by their number. DM always is.
    **given : float or str
        The row's parameters, by name, DM's lambda as `lam`; their defaults where not given. For CUSTOM and CUSTOM_DN the
        formula of p: `formula`, of c(p), or `emphasis`.

    Attributes
    ----------
    name : str
    row : Row
        Of table.py.
    parameters : dict
        Numbers by name, and the text of a formula.

    Raises
    ------
    ValueError
        If the name or a parameter is unknown, a number is out of range, or a formula has a mistake or is negative or not
        finite somewhere on (0, 1).

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
        if not self.row.released:
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
        """Raise a ValueError where c(p) is no weight: negative, infinite or NaN on (0, 1), or 0 on all of it."""
        function, what = (self.emphasis, "the emphasis") if self._emphasis else (self.multiplier, "c(p)")
        values = function(formula.CHECKED)
        largest = values[np.isfinite(values)].max(initial=0)
        with np.errstate(over="ignore"):
            wrong = ~((values >= -1e-9 * largest) & np.isfinite(function(formula.CHECKED.astype(np.float32))))
        if wrong.any():
            at = int(wrong.argmax())
            value = values[at]
            is_what = ("not a number" if np.isnan(value) else f"negative, {value:g}," if -np.inf < value < 0
                       else "too large for single precision")
            raise ValueError(f"{self}: {what} is {is_what} at p = {formula.CHECKED[at]:g}; it must be finite and at least 0 "
                             "on (0, 1)")
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
        return self.name.endswith(DN) or self.row.always_normalised

    def _value(self, function: formula.Formula, p: np.ndarray) -> np.ndarray:
        """A formula's value at p; constants become arrays. A user's need not know 0 and 1."""
        p = np.asarray(p)
        if self.row.name == CUSTOM:
            p = np.clip(p, p.dtype.type(formula.LEAST), p.dtype.type(formula.MOST))
        value = function(p=p, **self.parameters)
        return np.full_like(p, value) if type(value) is float else value

    def multiplier(self, p: np.ndarray) -> np.ndarray:
        """c(p), the factor of g in the gradient. Where the row has an l(p), c(p) * g is its derivative."""
        if self._multiplier:
            return self._value(self._multiplier, p)
        return self.emphasis(p) / (2 - 2 * p + 1e-6)  # the emphasis is chosen, so divide by ||g||_1; 1e-6 keeps p = 1 finite

    def emphasis(self, p: np.ndarray) -> np.ndarray:
        """c(p) * ||g||_1, the L1 norm of an example's gradient before S (for DM up to the 1e-6 in the multiplier)."""
        if self._emphasis:
            return self._value(self._emphasis, p)
        return 2 * self.multiplier(p) * (1 - p)

    def weight(self, p: np.ndarray) -> np.ndarray:
        """What an example adds to S: its emphasis, or 1 where S only counts the examples."""
        return self.emphasis(p) if self.derivative_normalised else np.ones_like(p)

    def distance(self, p: np.ndarray) -> np.ndarray:
        """What is averaged, weighted, to the reported value: the row's distance, and 1 - p for the twins."""
        return 1 - p if self.name.endswith(DN) else self._distance(p=p, **self.parameters)

    def normaliser(self, p: np.ndarray) -> float:
        """S of a batch with label probabilities p; not 0 even if p is empty."""
        return self.normaliser_and_value(p)[0]

    def value(self, p: np.ndarray) -> float:
        """V of a batch, the weighted distances' sum over S; 0 if p is empty."""
        return self.normaliser_and_value(p)[1]

    def normaliser_and_value(self, p: np.ndarray) -> tuple[float, float]:
        """S and V."""
        weight = self.weight(p)
        # CCE's S is stock Caffe's.
        normaliser = float(max(1, p.size)) if self.name == "CCE" else 1e-8 + float(weight.sum(dtype=np.float64))
        return normaliser, float((weight * self.distance(p)).sum(dtype=np.float64)) / normaliser

    def mode(self) -> float:
        """psi, the p of the largest emphasis, by the row's formula or, without one, found within 1e-9.

        Raises
        ------
        ValueError
            Where the emphasis has no peak: DM with beta <= 0.
        """
        if self._peak and not self._peak(**self.parameters) > 0:
            raise ValueError(f"{self} has no mode: its emphasis has a peak only for {self.row.peak} > 0")
        return float(self._mode(**self.parameters)) if self._mode else self._found_mode()

    def _found_mode(self) -> float:
        """The p of the largest emphasis by trying numbers, ever closer to the best so far."""
        low, high = 0.0, 1.0
        while high - low > 1e-9:
            p = np.linspace(low, high, 2001)
            best, step = p[self.emphasis(p).argmax()], p[1] - p[0]
            low, high = max(0.0, best - step), min(1.0, best + step)
        return float(best)

    def gradient_bound(self) -> float:
        """The largest L1 norm of a batch's gradient, sum c(p) ||g||_1 / S, with a loss weight of 1.

        That is 1 where S is the sum of the emphasis, and where S counts the examples the emphasis at psi.
        """
        if self.derivative_normalised:
            return 1.0
        mode = self.mode()
        return float(self.emphasis(np.array([mode, np.nextafter(mode, 1)])).max())  # a formula may begin above its psi

    def density(self, p: np.ndarray) -> np.ndarray:
        """The emphasis density at p: the emphasis divided by its integral over [0, 1]."""
        # Tanh-sinh quadrature: exact to rounding also where p^lambda has no derivative at 0. Kinks elsewhere need many nodes.
        steps = self._emphasis or self._multiplier
        count = 256 if KINKS.isdisjoint(what for what, _ in steps.program) else 65536
        t, step = np.linspace(-4, 4, count + 1, retstep=True)
        nodes = 1 / (1 + np.exp(-np.pi * np.sinh(t)))
        areas = step * np.pi * np.cosh(t) * nodes * (1 - nodes)
        return self.emphasis(p) / float(self.emphasis(nodes) @ areas)


def row_of(name: str) -> Row:
    """The row of a weighting's name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in BY_NAME:
        # difflib would take IMAE for MAE.
        hint = "; IMAE is DM with lambda 1" if name.upper() == "IMAE" else did_you_mean(name, WEIGHTINGS)
        raise ValueError(f"unknown weighting {name!r}{hint} (one of {', '.join(WEIGHTINGS)})")
    return BY_NAME[name]


def chosen(text: str) -> dict[str, str]:
    """What a command line means by a weighting: a name, or a formula of p, which is CUSTOM's.

    Returns
    -------
    dict
        The `weighting`, and the `formula` of CUSTOM.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if re.fullmatch(r"(?!p\b)[A-Za-z_][\w-]*", text, re.ASCII):
        return {"weighting": row_of(text) and text}
    return {"weighting": CUSTOM, "formula": Weighting(CUSTOM, formula=text).parameters["formula"]}


def parameters_of(row: Row) -> tuple[str, ...]:
    """The names of what a row takes, as in param_str."""
    return OWN if row.name == CUSTOM else tuple(parameter.name for parameter in row.parameters)


def weighting_with(name: str, given: dict[str, float | str]) -> Weighting:
    """A weighting from what a layer is given by the names of param_str, some of which may be meant for other weightings.

    Raises
    ------
    ValueError
        As Weighting, and if a formula is given to a weighting other than CUSTOM.
    """
    taken = parameters_of(row_of(name))
    if own := [key for key in OWN if key in given and key not in taken]:
        raise ValueError(f"{name}: a formula or an emphasis is for the weighting {CUSTOM}, but {own[0]} is {given[own[0]]!r}")
    return Weighting(name, **{key: given[key] for key in taken if key in given})
