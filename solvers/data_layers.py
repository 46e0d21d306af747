"""What Caffe's data layers read: the source that a net names, and the files that this names in turn."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from solvers.engine import caffe

pb = caffe.proto.caffe_pb2

LMDB = ("data.mdb", "lock.mdb")  # Caffe makes and writes the second
PARAMETERS = {"Data": "data_param", "HDF5Data": "hdf5_data_param", "ImageData": "image_data_param",
              "WindowData": "window_data_param"}


def source(layer: pb.LayerParameter) -> str:
    """The file or folder that a data layer reads; "" for other layers."""
    return getattr(layer, PARAMETERS[layer.type]).source if layer.type in PARAMETERS else ""


def listed(layer: pb.LayerParameter) -> Iterator[str]:
    """The files that the source of a data layer lists, or those in its database; none if it is neither, or not there."""
    match layer.type:
        case "Data":
            yield from (os.path.join(source(layer), name) for name in LMDB)
        case "HDF5Data":
            yield from (name for line in _lines(source(layer)) for name in line.split())
        case "ImageData":  # NAME LABEL
            root = layer.image_data_param.root_folder
            yield from (root + line.rpartition(" ")[0] for line in _lines(source(layer)) if line.strip())
        case "WindowData":  # "# NUMBER", then the name
            root = layer.window_data_param.root_folder
            yield from (root + name for line, name in pairwise(_lines(source(layer))) if line.startswith("#"))


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
