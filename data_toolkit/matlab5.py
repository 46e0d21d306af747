"""Read MATLAB files older than v7.3, with SciPy."""

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from base import isolation
from base.errors import InputError


def load(file: BinaryIO, names: list[str]) -> dict[str, NDArray]:
    """The variables with the given names that a file has, read in a separate process.

    Returns
    -------
    dict
        Arrays of numbers or text. A cell array of equal arrays (N x 1) is one array, (N, ...).

    Raises
    ------
    InputError
        If the file is damaged, or a cell array holds anything but equal arrays.
    """
    return isolation.arrays(lambda: variables(file, names), [])


def variables(file: BinaryIO, names: list[str]) -> dict[str, NDArray]:
    """As `load`, but in this process. With a damaged file, SciPy may raise any exception, and has been seen to crash."""
    from scipy.io import loadmat

    found = loadmat(file, variable_names=names)
    return {name: _plain(name, found[name]) for name in names if name in found}


def _plain(name: str, value: NDArray) -> NDArray:
    """A variable as an array of numbers or text: a cell array is stacked into one array."""
    if value.dtype.kind in "biufU":
        return value
    if value.dtype != object or value.size != max(value.shape, default=0):
        raise InputError(f"{name} is neither numbers nor an N x 1 cell array")
    first = value.flat[0] if value.size else np.zeros(0)
    for i, array in enumerate(value.flat):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf" or (array.shape, array.dtype) != (
                first.shape, first.dtype):
            raise InputError(f"{name}{{{i + 1}}} is not an array like the first one")
    return np.array(list(value.flat))
