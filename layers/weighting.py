"""Nine losses as example weightings: closed forms of p, the probability that a model gives to an example's label.

With P = softmax(scores), p = P[label] and g = P - onehot(label), each of the nine has over a batch

    gradient of the scores = loss_weight / S * c(p) * g        c: multiplier, S: normaliser
    reported value         = V                                 which never reaches the gradient

As ||g||_1 = 2 (1 - p), the L1 norm of an example's gradient is c(p) * 2 (1 - p): its emphasis. The emphasis density
is that function of p divided by its integral over [0, 1]; its mode, psi, says which examples a loss cares about most.

DM: derivative manipulation, arXiv 1905.11233. IMAE, arXiv 1903.12141, is DM with lambda = 1 and beta = T.
The twin of layers/native/weighting.hpp, with the same names.
"""

import math
from dataclasses import dataclass

import numpy as np

from layers.did_you_mean import did_you_mean

WEIGHTINGS = ("CCE", "CCE_DN", "MAE", "MAE_DN", "MSE", "MSE_DN", "GCE", "GCE_DN", "DM")
FLT_MIN = float(np.finfo(np.float32).tiny)  # Caffe's floor under the logarithm, in double precision too


@dataclass(frozen=True)
class Weighting:
    """One of the nine, as functions of p: a float32 or float64 array of any shape, probabilities in [0, 1].

    multiplier, emphasis, weight, distance and density work element by element and return p's shape and type; normaliser
    and value take p of all the examples that count, any shape, and sum in float64.

    Parameters
    ----------
    name : str
        One of WEIGHTINGS. _DN, derivative normalised: the batch's gradients are divided by the sum of their L1 norms
        instead of by their number. DM always is.
    q : float
        GCE's exponent, >= 0.
    lam, beta : float
        DM's lambda, >= 0, which places the mode, and beta, which sharpens it. Negative beta turns the emphasis over.

    Raises
    ------
    ValueError
        If the name is unknown or a number is out of range.
    """

    name: str
    q: float = 0.7
    lam: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in WEIGHTINGS:
            # difflib would take IMAE for MAE.
            hint = "; IMAE is DM with lambda 1" if self.name.upper() == "IMAE" else did_you_mean(self.name, WEIGHTINGS)
            raise ValueError(f"unknown weighting {self.name!r}{hint} (one of {', '.join(WEIGHTINGS)})")
        for key, value, least in (("q", self.q, 0), ("lambda", self.lam, 0), ("beta", self.beta, -math.inf)):
            if not (math.isfinite(value) and value >= least):
                raise ValueError(f"{key} is {value}; it must be a finite number" + (" >= 0" if least == 0 else ""))
        for field in ("q", "lam", "beta"):  # a NumPy scalar would widen float32 probabilities to its own type
            object.__setattr__(self, field, float(getattr(self, field)))

    @property
    def loss(self) -> str:
        """The loss that the name speaks of, without _DN."""
        return self.name.removesuffix("_DN")

    @property
    def derivative_normalised(self) -> bool:
        return self.name.endswith("_DN") or self.name == "DM"

    def multiplier(self, p: np.ndarray) -> np.ndarray:
        """c(p), the factor of g in the gradient. For all but DM, c(p) * g is the derivative of the loss named."""
        match self.loss:
            case "CCE":  # -log p
                return np.ones_like(p)
            case "MAE":  # 1 - p, arXiv 1712.09482
                return p
            case "MSE":  # (1 - p)^2
                return 2 * p * (1 - p)
            case "GCE":  # (1 - p^q) / q, arXiv 1805.07836
                return p**self.q
            case _:  # DM: the emphasis is chosen, so divide by ||g||_1; 1e-6 keeps p = 1 finite
                return self.emphasis(p) / (2 - 2 * p + 1e-6)

    def emphasis(self, p: np.ndarray) -> np.ndarray:
        """c(p) * ||g||_1, the L1 norm of an example's gradient before S (for DM up to the 1e-6 in the multiplier)."""
        if self.name == "DM":
            return np.exp(self.beta * p**self.lam * (1 - p))
        return 2 * self.multiplier(p) * (1 - p)

    def weight(self, p: np.ndarray) -> np.ndarray:
        """What an example adds to S: its emphasis, or 1 where S only counts the examples."""
        return self.emphasis(p) if self.derivative_normalised else np.ones_like(p)

    def distance(self, p: np.ndarray) -> np.ndarray:
        """What is averaged, weighted, to the reported value: -log p for CCE and DM, else 1 - p."""
        return -np.log(np.maximum(p, FLT_MIN)) if self.name in ("CCE", "DM") else 1 - p

    def normaliser(self, p: np.ndarray) -> float:
        """S of a batch with label probabilities p; not 0 even if p is empty."""
        if self.name == "CCE":  # stock Caffe's
            return float(max(1, p.size))
        return 1e-8 + float(self.weight(p).sum(dtype=np.float64))

    def value(self, p: np.ndarray) -> float:
        """V of a batch, the weighted distances' sum over S; 0 if p is empty."""
        return float((self.weight(p) * self.distance(p)).sum(dtype=np.float64)) / self.normaliser(p)

    def mode(self) -> float:
        """psi, the p of the largest emphasis: CCE 0, MAE 1/2, MSE 1/3, GCE q/(q + 1), DM lambda/(lambda + 1).

        Raises
        ------
        ValueError
            For DM with beta <= 0, whose emphasis has no peak there.
        """
        if self.name == "DM" and self.beta <= 0:
            raise ValueError(f"DM with beta {self.beta} has no mode: only beta > 0 gives its emphasis a peak")
        odds = {"CCE": 0.0, "MAE": 1.0, "MSE": 0.5, "GCE": self.q, "DM": self.lam}[self.loss]  # psi / (1 - psi)
        return odds / (odds + 1)

    def gradient_bound(self) -> float:
        """The largest L1 norm of a batch's gradient, sum c(p) ||g||_1 / S, with a loss weight of 1.

        That is 1 where S is the sum of the emphasis, and where S counts the examples the emphasis at psi.
        """
        return 1.0 if self.derivative_normalised else float(self.emphasis(np.array(self.mode())))

    def density(self, p: np.ndarray) -> np.ndarray:
        """The emphasis density at p: the emphasis divided by its integral over [0, 1]."""
        # Tanh-sinh quadrature: exact to rounding also where p^lambda has no derivative at 0.
        t, step = np.linspace(-4, 4, 257, retstep=True)
        nodes = 1 / (1 + np.exp(-np.pi * np.sinh(t)))
        areas = step * np.pi * np.cosh(t) * nodes * (1 - nodes)
        return self.emphasis(p) / float(self.emphasis(nodes) @ areas)
