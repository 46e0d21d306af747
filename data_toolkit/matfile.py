"""MATLAB files like those of the released experiments, with `ImageDataCell` and `class_ids`: v7.3 (HDF5), and v5 to read.

A user's own file may also contain `true_labels`, stored like `class_ids`.

MATLAB's ``load`` requires of a v7.3 file: a 512-byte block at its start with MATLAB's header; HDF5 dimensions in reverse
order, since MATLAB is column-major; the attribute MATLAB_class on each array; a cell array as references to arrays in the
group ``#refs#``. (MATLAB also writes their attribute H5PATH, but does not require it.)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from h5py import h5a, h5d, h5o, h5p, h5r, h5s, h5t
from numpy.typing import NDArray

from base import hdf5, isolation
from base.errors import InputError
from base.writing import atomic_writer
from data_toolkit import matlab5

USERBLOCK = 512
# 116 bytes of text, 8 bytes for an unused offset, version 2.0, and the byte order mark. The date is fixed, so that equal
# data give equal files.
HEADER = (b"MATLAB 7.3 MAT-file, Platform: Python, Created on: Thu Jan  1 00:00:00 1970 HDF5 schema 1.00 .".ljust(116)
          + bytes(8) + b"\x00\x02" + b"IM").ljust(USERBLOCK, b"\x00")
IMAGE = (3, 32, 32)  # 32 x 32 x 3 in MATLAB
OPTIONAL = ("true_labels",)
MAX_IMAGES = 1_000_000  # 3 GB. A small file may declare any number.


def _set_attribute(array: h5d.DatasetID, name: bytes, text: str) -> None:
    """Set an attribute to a text of fixed length without a terminating 0, as MATLAB does."""
    kind = h5t.C_S1.copy()
    kind.set_size(len(text))
    # With the same type in memory, HDF5 copies the bytes. Otherwise it would replace the last letter by a terminating 0.
    h5a.create(array, name, kind, h5s.create(h5s.SCALAR)).write(np.array(text.encode("ascii")), kind)


def _write_images(group: h5py.Group, images: NDArray[np.uint8]) -> NDArray[np.object_]:
    """Write each image as a separate array; return references to them, (N,).

    50,000 calls of h5py's ``create_dataset`` take 22 s; this takes 3 s. It writes each image into one template array, which
    HDF5 then copies with its attributes. The images lie in the arrays' headers ("compact"), not in separate blocks.
    """
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_layout(h5d.COMPACT)
    properties.set_obj_track_times(False)
    original = h5d.create(group.id, b"original", h5t.STD_U8LE, h5s.create_simple(IMAGE), properties)
    _set_attribute(original, b"MATLAB_class", "uint8")
    _set_attribute(original, b"H5PATH", group.name)
    references = np.empty(len(images), h5py.ref_dtype)
    reversed_image = np.empty(IMAGE, np.uint8)
    for i, image in enumerate(images):
        reversed_image[...] = image.T
        original.write(h5s.ALL, h5s.ALL, reversed_image, h5t.NATIVE_UINT8)
        h5o.copy(original, b".", group.id, b"%d" % i)
        references[i] = h5r.create(group.id, b"%d" % i, h5r.OBJECT)
    del group["original"]
    return references


def write(path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Write `ImageDataCell` (N x 1 cell of 32 x 32 x 3 uint8) and `class_ids` (N x 1 double). A failure leaves no file.

    Parameters
    ----------
    path : Path
    images : (N, 32, 32, 3) uint8
        Height x width x RGB.
    labels : (N,) int64

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    # HDF5 writes to memory first: it crashes if the disk is full.
    with h5py.File("memory", "w", driver="core", backing_store=False, block_size=1 << 26, userblock_size=USERBLOCK,
                   libver="earliest") as file:
        references = _write_images(file.create_group("#refs#"), images)
        cell = file.create_dataset("ImageDataCell", data=references[np.newaxis], dtype=h5py.ref_dtype)
        _set_attribute(cell.id, b"MATLAB_class", "cell")
        class_ids = file.create_dataset("class_ids", data=labels[np.newaxis].astype("<f8"))
        _set_attribute(class_ids.id, b"MATLAB_class", "double")
        file.flush()
        content = file.id.get_file_image()  # without the 512-byte block at the start
    with atomic_writer(path) as file:
        file.write(HEADER)
        file.write(content)


def _variable(file: h5py.File, name: str) -> h5py.Dataset:
    """A variable with at most one dimension longer than 1, stored in the file itself."""
    variable = hdf5.array(file, name)
    if variable.size != max(variable.shape, default=0):
        raise InputError(f"{name} is not an N x 1 array")
    if variable.size > MAX_IMAGES:
        raise InputError(f"{name} has {variable.size} elements; at most {MAX_IMAGES} are read")
    return variable


def _labels(values: NDArray, name: str = "class_ids") -> NDArray[np.int64]:
    if values.dtype.kind not in "iuf":
        raise InputError(f"{name} are not numbers")
    if values.size != max(values.shape, default=0):
        raise InputError(f"{name} is not an N x 1 array")
    values = values.ravel()
    with np.errstate(invalid="ignore"):  # the comparison below finds NaN and infinity
        labels = values.astype(np.int64)
    if not np.array_equal(labels, values) or labels.min(initial=0) < 0:
        raise InputError(f"{name} are not all whole numbers from 0 on")
    return labels


def _read_images(file: h5py.File) -> NDArray[np.uint8]:
    cell = _variable(file, "ImageDataCell")
    if h5py.check_ref_dtype(cell.dtype) is not h5py.Reference:
        raise InputError("ImageDataCell is not a cell array")
    references = cell[()].ravel()
    images = np.empty((len(references), *IMAGE), np.uint8)
    for i, reference in enumerate(references):
        array = h5r.dereference(reference, file.id) if reference else None
        if not isinstance(array, h5d.DatasetID) or array.shape != IMAGE or array.dtype != np.uint8:
            raise InputError(f"ImageDataCell{{{i + 1}}} is not a 32 x 32 x 3 array of uint8")
        hdf5.check_stored_inside(array, f"ImageDataCell{{{i + 1}}}")
        array.read(h5s.ALL, h5s.ALL, images[i], h5t.NATIVE_UINT8)
    return np.ascontiguousarray(images.transpose(0, 3, 2, 1))


def _read_v5(path: Path, names: list[str]) -> dict[str, NDArray]:
    """The variables with the given names in a file older than v7.3."""
    with open(path, "rb") as file:
        variables = matlab5.load(file, names)
    if missing := [name for name in names if name not in variables and name not in OPTIONAL]:
        raise InputError(f"has no variable {missing[0]}")
    return variables


def _images_of_v5(images: NDArray) -> NDArray[np.uint8]:
    if images.shape[1:] != IMAGE[::-1] or images.dtype != np.uint8:
        raise InputError("ImageDataCell is not a cell array of 32 x 32 x 3 arrays of uint8, but "
                         f"{images.dtype} {images.shape}")
    return images


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the name of the file before the text of an error. A pipe is refused: reading it may never end."""
    if Path(path).exists() and not Path(path).is_file():
        raise InputError(f"{path} is not a file")
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _is_v5(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(20).startswith(b"MATLAB 5.0")


def _read_v7_3(path: Path, names: list[str]) -> dict[str, NDArray]:
    """The variables with the given names in a file of v7.3, read in a separate process."""
    def read() -> dict[str, NDArray]:
        if not h5py.is_hdf5(path):
            raise InputError("is not a MATLAB file of version 5 or 7.3")
        with h5py.File(path, "r") as file:
            return {name: _read_images(file) if name == "ImageDataCell" else _labels(_variable(file, name)[()], name)
                    for name in names if name not in OPTIONAL or name in file}

    return isolation.arrays(read, [path])


def _read_labels(path: Path, names: list[str]) -> dict[str, NDArray[np.int64]]:
    if _is_v5(path):
        return {name: _labels(values, name) for name, values in _read_v5(path, names).items()}
    return _read_v7_3(path, names)


def read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the images and labels of a file that MATLAB, the released code or `write` made, chunked or compressed in any way.

    Returns
    -------
    images : (N, 32, 32, 3) uint8
        Height x width x RGB.
    labels : (N,) int64

    Raises
    ------
    InputError
        If the file is missing or damaged, lacks a variable, or refers to other files.
    """
    with _naming(path):
        names = ["ImageDataCell", "class_ids"]
        if _is_v5(path):
            variables = _read_v5(path, names)
            images, labels = _images_of_v5(variables["ImageDataCell"]), _labels(variables["class_ids"])
        else:
            images, labels = map(_read_v7_3(path, names).get, names)
        if len(images) != len(labels):
            raise InputError(f"has {len(images)} images but {len(labels)} class_ids")
        return images, labels


def read_labels(path: Path) -> NDArray[np.int64]:
    """Only the labels of a MATLAB file, (N,); see `read` for errors."""
    with _naming(path):
        return _read_labels(path, ["class_ids"])["class_ids"]


def read_true_labels(path: Path) -> NDArray[np.int64] | None:
    """The `true_labels` of a MATLAB file, (N,), or None if it has none; see `read` for errors."""
    with _naming(path):
        found = _read_labels(path, ["class_ids", "true_labels"])
        if "true_labels" in found and found["true_labels"].shape != found["class_ids"].shape:
            raise InputError(f"has {len(found['class_ids'])} class_ids but {len(found['true_labels'])} true_labels")
        return found.get("true_labels")
