"""Read MATLAB files older than v7.3 with SciPy, in a process of its own: what a damaged file makes SciPy do stays there.

Mutations of a file have been seen to crash SciPy's reader. The process gets the file as its standard input and gives back
plain arrays; nothing that it returns is unpickled.
"""

import io
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from data_toolkit.errors import DataError

REFUSED = 3  # exit code of the process whose standard error says what is wrong
MAX_SECONDS = 600
MAX_BYTES = 4 << 30  # of memory: compressed variables may unpack to any size


def load(file: BinaryIO, names: Iterable[str]) -> dict[str, NDArray]:
    """The variables of these names that a file has.

    Parameters
    ----------
    file : binary file
        With a descriptor of its own, at its beginning.
    names : iterable of str

    Returns
    -------
    dict
        Arrays of numbers or text. A cell array of equal arrays (N x 1) is one array, (N, ...).

    Raises
    ------
    DataError
        If it is damaged, or a cell array holds anything else.
    """
    command = [sys.executable, "-c", f"from {__name__} import answer; answer({list(names)!r}, {MAX_BYTES})"]
    try:
        done = subprocess.run(command, stdin=file, capture_output=True, timeout=MAX_SECONDS)
    except subprocess.TimeoutExpired:
        raise DataError(f"cannot be read within {MAX_SECONDS} s") from None
    if done.returncode == REFUSED:
        raise DataError(done.stderr.decode(errors="replace").strip())
    try:
        if done.returncode:
            raise ValueError(f"its reader ended with code {done.returncode}")
        with np.load(io.BytesIO(done.stdout), allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"is damaged: {error}") from error


def answer(names: list[str], memory: int) -> None:
    """In the process, with at most so many bytes of `memory`: read standard input, write an .npz to standard output."""
    from scipy.io import loadmat

    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    try:
        variables = loadmat(io.BytesIO(sys.stdin.buffer.read()), variable_names=names)
        arrays = {name: _plain(name, variables[name]) for name in names if name in variables}
    except Exception as error:  # a damaged file may raise anything
        print(error if isinstance(error, DataError) else f"is damaged: {error or type(error).__name__}", file=sys.stderr)
        sys.exit(REFUSED)
    np.savez(sys.stdout.buffer, **arrays)


def _plain(name: str, value: NDArray) -> NDArray:
    """A cell array as one array; others as they are."""
    if value.dtype.kind in "biufU":
        return value
    if value.dtype != object or value.size != max(value.shape, default=0):
        raise DataError(f"{name} is neither numbers nor an N x 1 cell array")
    first = value.flat[0] if value.size else np.zeros(0)
    for i, array in enumerate(value.flat):
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf" or (array.shape, array.dtype) != (
                first.shape, first.dtype):
            raise DataError(f"{name}{{{i + 1}}} is not an array as the first one")
    return np.array(list(value.flat))
