"""Label noise, drawn as the released MATLAB code drew it (arXiv 1905.11233, section 5.1)."""

import difflib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from data_toolkit.errors import DataError

Labels = NDArray[np.int64]


def symmetric(labels: Labels, rate: float, random: np.random.RandomState, num_classes: int = 100) -> Labels:
    """Each label becomes, with probability `rate`, one of the other classes, all equally likely.

    The loop is the released one: one draw an image in file order, and straight after it a second one for an image that
    is changed. The draws are those of MATLAB's ``rand``; how the original made a class of its second draw is not
    known, so its noisy labels are matched in distribution, not value for value.

    Parameters
    ----------
    labels : (N,) int64
        0 to num_classes - 1.
    rate : float
        0 to 1. The share of labels that change is random around it.
    random : numpy.random.RandomState
    num_classes : int

    Returns
    -------
    (N,) int64
    """
    draw = random.random_sample
    noisy = labels.copy()
    for i, label in enumerate(labels.tolist()):
        if draw() < rate:
            other = int(draw() * (num_classes - 1))
            noisy[i] = other + (other >= label)
    return noisy


NOISE_TYPES: dict[str, Callable[[Labels, float, np.random.RandomState], Labels]] = {"symmetric": symmetric}


def check(noise_type: str, rate: float, seed: int) -> None:
    """Raise DataError, which says what is possible, unless this noise can be injected."""
    if noise_type not in NOISE_TYPES:
        near = difflib.get_close_matches(noise_type, NOISE_TYPES, n=1)
        suggestion = f'; did you mean "{near[0]}"?' if near else ""
        raise DataError(f'noise type "{noise_type}" is not known{suggestion} (there is {", ".join(NOISE_TYPES)})')
    if not 0 <= rate <= 1:  # NaN neither
        raise DataError(f"noise {rate} is not a rate: it must be from 0 to 1")
    if not 0 <= seed < 2**32:
        raise DataError(f"seed {seed} is not possible: it must be from 0 to {2**32 - 1}")


def inject(labels: Labels, rate: float, noise_type: str = "symmetric", seed: int = 123) -> Labels:
    """Labels with noise of one of NOISE_TYPES.

    Parameters
    ----------
    labels : (N,) int64
    rate : float
        0 to 1; the noise type says of what.
    noise_type : str
    seed : int
        Of a Mersenne Twister: MATLAB's ``rand`` with that seed gives the same numbers.

    Returns
    -------
    (N,) int64

    Raises
    ------
    DataError
        If type, rate or seed is not possible.
    """
    check(noise_type, rate, seed)
    return NOISE_TYPES[noise_type](labels, rate, np.random.RandomState(seed))
