"""Read CIFAR-100's python form, which is pickled, without running what else a pickle can ask for.

No object of NumPy's is made while the pickle is read, as a pickle can change what it has made: an array's type into one of
pointers, say. What stands for arrays and types is inert, and becomes an array only where it is one of whole numbers.
"""

import math
import pickle
from typing import Any, BinaryIO

import numpy as np

from base.errors import DataError

WHOLE = {"b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"}


class _Type:
    """A dtype's name and order of bytes."""

    def __init__(self, name: Any, *_: Any):
        self.name, self.order = _text(name), "|"

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1])


class _Array:
    """An array's shape, type and bytes."""

    def __init__(self, *_: Any):
        self.state = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        _, shape, kind, columns_first, content = self.state
        if type(kind) is not _Type or kind.name not in WHOLE or kind.order not in ("|", "<", ">", "="):
            raise pickle.UnpicklingError("an array of other things than whole numbers")
        kind = np.dtype(kind.name).newbyteorder(kind.order)
        if type(content) is not bytes or math.prod(shape) * kind.itemsize != len(content):
            raise pickle.UnpicklingError("an array whose bytes are not as many as its shape says")
        return np.frombuffer(content, kind).reshape(shape, order="F" if columns_first else "C")


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _text_to_bytes(text: str, encoding: str) -> bytes:
    """Protocol 2 writes Python 3's bytes as an encoded string."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


# The official files name the first three (as Python 2 and an old NumPy did), re-pickled ones the others.
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Type,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _text_to_bytes,
}


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler of plain values and arrays, which refuses every other class or function by its name."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise DataError(f"the pickle asks for {module}.{name}, which CIFAR-100 has no need of; "
                            "it is not loaded, since it could run anything") from None


def load(file: BinaryIO) -> dict[str, Any]:
    """One of CIFAR-100's pickled dictionaries.

    Parameters
    ----------
    file : binary file
        As written by Python 2 (keys and strings are bytes there) or 3.

    Returns
    -------
    dict
        With str keys, e.g. ``data``, ``fine_labels``, ``coarse_labels``.

    Raises
    ------
    DataError
        If it is not a pickle, or one of anything but plain values and arrays of whole numbers.
    """
    try:
        content = ArrayUnpickler(file, encoding="bytes").load()
        if not isinstance(content, dict):
            raise DataError(f"the pickle holds a {type(content).__name__} instead of a dictionary")
        return {_text(key): value.array() if type(value) is _Array else value for key, value in content.items()}
    except DataError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(f"not a whole pickle of CIFAR-100: {error}") from error
