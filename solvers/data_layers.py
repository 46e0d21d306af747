"""What Caffe's data layers read: the source that a net names, and the files that this names in turn."""

import os
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from google.protobuf.message import Message

from solvers.engine import caffe
from solvers.errors import SolverError

pb = caffe.proto.caffe_pb2

LMDB = ("data.mdb", "lock.mdb")  # Caffe makes and writes the second
PARAMETERS = {"Data": "data_param", "HDF5Data": "hdf5_data_param", "ImageData": "image_data_param",
              "WindowData": "window_data_param"}
MAX_LIST = 1 << 30  # bytes; ten million names
READ = ("source", "mean_file", "meanfile", "root_folder")  # what Caffe's fields with paths are called


def locate(layer: pb.LayerParameter, folder: Path) -> None:
    """Make the paths in a layer that lead to something in `folder`, the setting's, whole: Caffe itself knows no such folder.

    Others stay as they are, seen from the working directory. So do the names in a list of files, but for those of
    ImageData and WindowData without a root_folder: all are seen from `folder` if the first of them is there.
    """
    for message, name in _fields(layer):
        path = getattr(message, name)
        if not os.path.isabs(path) and (folder / path).exists():
            setattr(message, name, os.path.join(folder, path))  # keeps the slash at the end of a root_folder
    if layer.type in ("ImageData", "WindowData"):
        parameter = getattr(layer, PARAMETERS[layer.type])
        first = next(listed(layer), "")
        if first and not parameter.root_folder and not os.path.isabs(first) and (folder / first).exists():
            parameter.root_folder = os.path.join(folder, "")


def paths(layer: pb.LayerParameter) -> Iterator[str]:
    """All paths in a layer, however deep."""
    return (getattr(message, name) for message, name in _fields(layer))


def _fields(message: Message) -> Iterator[tuple[Message, str]]:
    """The fields of a message with a path, and of those in it, however deep."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if isinstance(value, Iterable) else [value]:
                yield from _fields(inner)
        elif field.name in READ and value:
            yield message, field.name


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
        if not os.path.isfile(file):  # a device or a pipe might never end
            return []
        if os.path.getsize(file) > MAX_LIST:
            raise SolverError(f"{file} has {os.path.getsize(file)} bytes, but a list of files at most {MAX_LIST}")
        return Path(file).read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
