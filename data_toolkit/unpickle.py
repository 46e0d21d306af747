"""Read CIFAR-100's python form, which is pickled, without running code that a pickle may contain.

While the pickle is read, no NumPy object is made, since a pickle can modify the objects that it has made, for instance an
array's type into one of pointers. Objects of our own stand for arrays and types; only those of whole numbers become arrays.
"""

import math
import pickle
from typing import Any, BinaryIO

import numpy as np

from base.errors import InputError

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
            raise pickle.UnpicklingError("an array of values that are not whole numbers")
        kind = np.dtype(kind.name).newbyteorder(kind.order)
        if type(content) is not bytes or math.prod(shape) * kind.itemsize != len(content):
            raise pickle.UnpicklingError("an array whose number of bytes does not fit its shape")
        return np.frombuffer(content, kind).reshape(shape, order="F" if columns_first else "C")


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _text_to_bytes(text: str, encoding: str) -> bytes:
    """The bytes of Python 3 from a pickle of protocol 2, which stores them as an encoded string."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


# The official files (Python 2, an old NumPy) use the first three names; files pickled again use the others.
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Type,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _text_to_bytes,
}


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler of plain values and arrays. For any other class or function it raises an error with its name."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise InputError(f"the pickle asks for {module}.{name}, which CIFAR-100 has no need of; "
                             "it is not loaded, since it could run anything") from None


def load(file: BinaryIO) -> dict[str, Any]:
    """One of CIFAR-100's pickled dictionaries.

    Parameters
    ----------
    file : binary file
        Pickled by Python 2 (which makes keys and strings bytes) or 3.

    Returns
    -------
    dict
        With str keys, e.g. ``data``, ``fine_labels``, ``coarse_labels``.

    Raises
    ------
    InputError
        If it is not a pickle, or one of anything but plain values and arrays of whole numbers.
    """
    try:
        content = ArrayUnpickler(file, encoding="bytes").load()
        if not isinstance(content, dict):
            raise InputError(f"the pickle holds a {type(content).__name__} instead of a dictionary")
        return {_text(key): value.array() if type(value) is _Array else value for key, value in content.items()}
    except InputError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(f"not a whole pickle of CIFAR-100: {error}") from error
