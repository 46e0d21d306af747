"""Read arrays of HDF5 files from people who are not trusted: only data in the file itself, and no links to other files."""

import math

import h5py
from h5py import h5d

from base.errors import InputError

MAX_CHUNK = 1 << 28  # bytes. A chunk is decompressed into memory as a whole, and a small file may declare a large one.


def array(file: h5py.File, name: str) -> h5py.Dataset:
    """The array `name` of a file.

    Raises
    ------
    InputError
        If the file has no such array, or the array's content is in another file.
    """
    if name not in file:
        raise InputError(f"has no variable {name} (it has {', '.join(sorted(file)) or 'none'})")
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise InputError(f"{name} is a link to elsewhere, which is not followed")
    variable = file[name]
    if not isinstance(variable, h5py.Dataset):
        raise InputError(f"{name} is not an array")
    check_stored_inside(variable.id, name)
    return variable


def check_stored_inside(dataset: h5d.DatasetID, name: str) -> None:
    """Raise InputError unless the array `name` has its content in its file, in chunks of at most MAX_CHUNK bytes."""
    properties = dataset.get_create_plist()
    if properties.get_layout() == h5d.VIRTUAL or properties.get_external_count():
        raise InputError(f"{name} is stored in another file, which is not opened")
    if properties.get_layout() == h5d.CHUNKED:
        size = dataset.dtype.itemsize * math.prod(properties.get_chunk())
        if size > MAX_CHUNK:
            raise InputError(f"{name} is stored in chunks of {size} bytes; at most {MAX_CHUNK} are read")
