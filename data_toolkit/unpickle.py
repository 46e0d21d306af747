"""Read CIFAR-100's python form, which is pickled, without running what else a pickle can ask for."""

import pickle
from typing import Any, BinaryIO

import numpy as np

from data_toolkit.errors import DataError


def _new_array(subtype: type, shape: tuple, typecode: Any) -> np.ndarray:
    """What NumPy's own _reconstruct does for plain arrays; their content comes with __setstate__."""
    if subtype is not np.ndarray:
        raise pickle.UnpicklingError(f"an array of type {subtype!r}")
    return np.ndarray.__new__(np.ndarray, shape, typecode)


def _text_to_bytes(text: str, encoding: str) -> bytes:
    """Protocol 2 writes Python 3's bytes as an encoded string."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


# The official files name the first three (as Python 2 and an old NumPy did), re-pickled ones the others.
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    ("_codecs", "encode"): _text_to_bytes,
}


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler of plain values and NumPy arrays, which refuses every other class or function by its name."""

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
        If it is not a pickle, or one of anything but plain values and arrays of numbers.
    """
    try:
        content = ArrayUnpickler(file, encoding="bytes").load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(f"not a whole pickle of CIFAR-100: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"the pickle holds a {type(content).__name__} instead of a dictionary")
    return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in content.items()}
